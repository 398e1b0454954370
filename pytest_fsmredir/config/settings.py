"""Convert the texts of all options into validated :class:`Settings`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from pytest_fsmredir.config import options, parsing
from pytest_fsmredir.config.identity import Identity
from pytest_fsmredir.config.nodes import nodes_named
from pytest_fsmredir.config.options import IMPLEMENTATION, OPTIONS, Given, Layer
from pytest_fsmredir.config.options_file import OptionsFile, read_options_file, read_waivers_file
from pytest_fsmredir.config.rerun import repeated
from pytest_fsmredir.config.waivers import Waiver
from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.model.outcomes import Variant
from pytest_fsmredir.text import nearest

_DEFAULT_IMPL = next(option.default for option in OPTIONS if option.name == "impl")

_NOTHING = Given("", "", Path())

NETNS, KIND, CLUSTER = "netns", "kind", "cluster"
BACKENDS = (NETNS, KIND, CLUSTER)
BY_WEBHOOK = "webhook"
"""Replaces the iptables variant if the mesh of a cluster programs the pods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSettings:
    """The user's settings for the backends in Kubernetes.

    Attributes:
        inject: How pods get init container and sidecar: ``auto``, ``manual`` or ``webhook``.
        init_image: Image of the init container; empty for the pods' image.
        pod_image: Image of the pods' other containers; empty to build ours, on kind.
        sidecar: The program in the sidecar: ``auto``, ``recorder`` or ``pipy``.
        pipy_image: Image of Pipy; empty for FSM's image.
        agent: Where the probe agent runs in pods of the mesh: ``container`` or ``ephemeral``.
        app_image: Image of the application, if the probe agent runs next to it.
        nodes: Names of the nodes to run on, or ``all``; empty to let the scheduler choose.
        mesh_name: The mesh whose webhook injects pods.
        mesh_namespace: The namespace of that mesh.
        kubeconfig: Kubeconfig of the backend ``cluster``; None for the default path.
        context: Context in that kubeconfig; empty for the current one.
        kind_config: Configuration of a new kind cluster; None for ours.
        keep: Whether to leave the pods in the cluster.
        pytest_kind: The options of pytest-kind, by their names there.
    """

    inject: str
    init_image: str
    pod_image: str
    sidecar: str
    pipy_image: str
    agent: str
    app_image: str
    nodes: tuple[str, ...]
    mesh_name: str
    mesh_namespace: str
    kubeconfig: Path | None
    context: str
    kind_config: Path | None
    keep: bool
    pytest_kind: Mapping[str, Any]

    def names_one(self, backends: Iterable[str]) -> bool:
        """Whether the settings for Kubernetes name the implementation under test."""
        return bool(self.init_image) or any(map(self.by_webhook, backends))

    def by_webhook(self, backend: str) -> bool:
        """Whether the installed mesh of the cluster injects the pods of a backend."""
        return backend != NETNS and (
            self.inject == "webhook" or (self.inject == "auto" and backend == CLUSTER)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The user's settings.

    Attributes:
        conformance: Whether to run the packaged suite.
        backends: Names of the backends, in the user's order.
        kubernetes: The settings for the backends in Kubernetes.
        impl: Name of the implementation under test; empty if ``init_cmd`` or ``rules`` is given.
        init_cmd: The shell command under test; empty for none.
        init_cmd_base: The directory that a relative path of its program starts from.
        rules: The rules template under test; None for none.
        features: The claims about features, by source, lowest precedence first; each is a list of
            features, which may be empty, or of changes such as ``("+ipv6", "-removal")``.
        checks: Globs of check ids; empty for all.
        profiles: Names of profiles; empty for all.
        waivers: The accepted failures.
        identity: The identity of the implementation under test.
        iptables: ``auto``, ``nft``, ``legacy``, ``native`` or ``both``.
        families: IP versions.
        exhaustive: Whether to test whole ranges instead of samples.
        strict: Whether a violated SHOULD is a failure.
        require: The verdict that exit status 0 requires.
        pipy: The Pipy program that serves as sidecar; None for the recorder.
        report: The directory of the report; None for no report.
        privilege: ``auto``, ``rootless`` or ``root``.
        timeout_s: Seconds after which a flow counts as unanswered.
        init_timeout_s: Seconds after which an init command is killed.
        init_privileged: Whether the init container is privileged.
        fuzz: How many policies to generate for each variant; 0 for none.
        seed: Seed of the generated policies.
        where: The source of each option that is not a default, for messages.
        texts: The text of every option that is not a default.
        repeat: Arguments that the command to re-run a check must repeat.
    """

    conformance: bool
    backends: tuple[str, ...]
    kubernetes: KubernetesSettings
    impl: str
    init_cmd: str
    init_cmd_base: Path
    rules: Path | None
    features: Mapping[str, tuple[str, ...]]
    checks: tuple[str, ...]
    profiles: tuple[str, ...]
    waivers: tuple[Waiver, ...]
    identity: Identity
    iptables: str
    families: tuple[int, ...]
    exhaustive: bool
    strict: bool
    require: str
    pipy: Path | None
    report: Path | None
    privilege: str
    timeout_s: float
    init_timeout_s: float
    init_privileged: bool
    fuzz: int
    seed: int
    where: Mapping[str, str]
    texts: Mapping[str, str]
    repeat: tuple[str, ...]

    @property
    def names_no_implementation(self) -> bool:
        """Whether no option names an implementation, so that the default one is tested."""
        return self.impl == _DEFAULT_IMPL

    def selects(self, check_id: str, profile: str) -> bool:
        """Whether the settings select a check by id and by profile."""
        by_id = not self.checks or any(fnmatchcase(check_id, glob) for glob in self.checks)
        return by_id and (not self.profiles or profile in self.profiles)

    def variants(
        self, default_iptables: str, nodes: Mapping[str, Sequence[str]] = MappingProxyType({})
    ) -> tuple[Variant, ...]:
        """Return the points of the matrix.

        Args:
            default_iptables: The variant that ``auto`` selects on this machine.
            nodes: Names of the nodes to run on, by backend; none if the scheduler chooses.
        """
        return tuple(
            Variant(backend, kind, family, node)
            for backend in self.backends
            for node in nodes.get(backend, ("",))
            for kind in self._iptables(backend, default_iptables)
            for family in self.families
        )

    def again(self, check_id: str, variant: Variant) -> str:
        """Return the command that re-runs one check on one variant."""
        words = ["pytest", "--fsm-conformance", *self.repeat]
        if variant.backend != NETNS:
            words += ["--fsm-backend", variant.backend]
        if variant.backend == KIND:
            words += options.repeat_pytest_kind(self.kubernetes.pytest_kind)
        if variant.node:
            words += ["--fsm-nodes", variant.node]
        if self.iptables != "auto" and variant.iptables != BY_WEBHOOK:
            words += ["--fsm-iptables", variant.iptables]
        return shlex.join([*words, "--fsm-ip", str(variant.family), "--fsm-check", check_id])

    def _iptables(self, backend: str, default: str) -> tuple[str, ...]:
        if self.kubernetes.by_webhook(backend):
            return (BY_WEBHOOK,)
        # In Kubernetes, the default of the init image applies. Ours has the default of Debian.
        auto = default if backend == NETNS else "nft"
        return {"auto": (auto,), "both": ("nft", "legacy")}.get(self.iptables, (self.iptables,))


def read_settings(config: pytest.Config) -> Settings:
    """Return the settings of this run; the options file is read for a conformance run only.

    Raises:
        SettingsError: A value is invalid; the message names the value and its source.
    """
    layers = _layers(config)
    if not parsing.boolean(_first(layers)["conformance"]):
        return _settings(layers, None, config)
    return read_all_settings(config)


def read_all_settings(config: pytest.Config) -> Settings:
    """Return the settings of this run, including those of the options file.

    Raises:
        SettingsError: A value is invalid; the message names the value and its source.
    """
    upper, *lower = _layers(config)
    named = parsing.not_empty(_first([upper, *lower])["options"])
    if not named.text:
        named = options.default_file(config)
    upper = {**upper, "options": named} if named.transient else upper
    file = read_options_file(named.base / named.text) if named.text else None
    layers = [upper, *([file.layer] if file else []), *lower]
    return _settings(layers, file, config)


def _layers(config: pytest.Config) -> list[Layer]:
    """Return the values of every source except the options file, highest precedence first."""
    return [
        options.command_line(config),
        options.environment(config),
        options.ini(config),
        options.defaults(config),
    ]


def _first(layers: Sequence[Layer]) -> dict[str, Given]:
    """Return the value of each option from the layer of the highest precedence that has it."""
    return {name: given for layer in reversed(layers) for name, given in layer.items()}


def _settings(layers: Sequence[Layer], file: OptionsFile | None, config: pytest.Config) -> Settings:
    named = _implementation(layers[:-1])
    given = _first(layers) | named | _waivers_file(layers, file)
    features = [layer["features"] for layer in reversed(layers[:-1]) if "features" in layer]
    conformance, backends = parsing.boolean(given["conformance"]), _backends(given["backend"])
    kubernetes = _kubernetes(given, options.pytest_kind(config))
    report = parsing.path(given["report"])
    if file is not None and report is not None:
        file.identity.require_complete(str(file.path))
    if file is not None and conformance and not named and not kubernetes.names_one(backends):
        _require_implementation(file)
    return Settings(
        conformance=conformance,
        backends=backends,
        kubernetes=kubernetes,
        impl=given["impl"].text,
        init_cmd=given["init-cmd"].text,
        init_cmd_base=given["init-cmd"].base,
        rules=parsing.path(given["rules"]),
        features={each.where: parsing.items(each) for each in features},
        checks=parsing.items(given["check"]),
        profiles=parsing.items(given["profile"]),
        waivers=_waivers(given["waivers"], file),
        identity=file.identity if file else Identity(),
        iptables=parsing.choice("iptables", given),
        families={"4": (4,), "6": (6,), "both": (4, 6)}[parsing.choice("ip", given)],
        exhaustive=parsing.boolean(given["exhaustive"]),
        strict=parsing.boolean(given["strict"]),
        require=parsing.choice("require", given),
        pipy=_pipy(given, backends),
        report=report,
        privilege=parsing.choice("privilege", given),
        timeout_s=parsing.seconds(given["timeout"]),
        init_timeout_s=parsing.seconds(given["init-timeout"]),
        init_privileged=parsing.boolean(given["init-privileged"]),
        fuzz=parsing.whole_number(given["fuzz"]),
        seed=parsing.whole_number(given["seed"]),
        where={name: each.where for name, each in given.items() if each.where},
        texts=_texts(given),
        repeat=tuple(repeated(given, features, config.invocation_params.dir)),
    )


def _require_implementation(file: OptionsFile) -> None:
    """Reject a report that would name a vendor but test the reference implementation."""
    if file.identity.stated:
        raise SettingsError(
            f"{file.path}: the implementation block describes {file.identity.project} but not how"
            " to run it: add init-cmd, rules or impl"
        )


def _backends(given: Given) -> tuple[str, ...]:
    named = tuple(dict.fromkeys(parsing.items(given)))
    for name in named:
        if name not in BACKENDS:
            raise SettingsError(
                f"{given.where}: no backend is called {name!r}{nearest(name, BACKENDS)}"
                f" (known: {', '.join(BACKENDS)})"
            )
    if not named:
        raise SettingsError(f"{given.where}: name a backend: {', '.join(BACKENDS)}")
    return named


def _kubernetes(given: Mapping[str, Given], pytest_kind: Mapping[str, Any]) -> KubernetesSettings:
    return KubernetesSettings(
        inject=parsing.choice("inject", given),
        init_image=parsing.not_empty(given["init-image"]).text,
        pod_image=given["pod-image"].text,
        sidecar=parsing.choice("sidecar", given),
        pipy_image=given["pipy-image"].text,
        agent=_agent(given),
        app_image=given["app-image"].text,
        nodes=nodes_named(
            parsing.items(given["nodes"]), _backends(given["backend"]), given["nodes"].where
        ),
        mesh_name=given["mesh-name"].text,
        mesh_namespace=given["mesh-namespace"].text,
        kubeconfig=parsing.path(given["kubeconfig"]),
        context=given["context"].text,
        kind_config=parsing.path(given["kind-config"]),
        keep=_keep(given),
        pytest_kind=pytest_kind,
    )


def _keep(given: Mapping[str, Given]) -> bool:
    keep, typed = parsing.boolean(given["keep"]), given["keep"].transient
    if keep and typed and _backends(given["backend"]) == (NETNS,):
        raise SettingsError(
            f"{given['keep'].where}: a pod on network namespaces ends with the process and cannot"
            " be kept; leave the option out, or add --fsm-backend kind"
        )
    return keep


def _implementation(layers: Sequence[Layer]) -> dict[str, Given]:
    """Return the option that names the implementation, from the first layer that has one.

    An init command on the command line therefore overrides a rules file in the options file.

    Args:
        layers: All layers except the defaults, highest precedence first.
    """
    for layer in layers:
        named = {name: parsing.not_empty(layer[name]) for name in IMPLEMENTATION if name in layer}
        if len(named) > 1:
            both = " and ".join(given.where for given in named.values())
            raise SettingsError(f"{both} each name an implementation: give one")
        if named:
            return dict.fromkeys(IMPLEMENTATION, _NOTHING) | named
    return {}


def _waivers_file(layers: Sequence[Layer], file: OptionsFile | None) -> dict[str, Given]:
    """Return an empty value for the waivers file if the options file lists waivers itself."""
    listed = file is not None and file.waivers and "waivers" not in layers[0]
    return {"waivers": _NOTHING} if listed else {}


def _waivers(given: Given, file: OptionsFile | None) -> tuple[Waiver, ...]:
    if given.text:
        return read_waivers_file(given.base / given.text)
    return file.waivers if file else ()


def _texts(given: Mapping[str, Given]) -> dict[str, str]:
    return {
        option.name: given[option.name].text
        for option in OPTIONS
        if option.name != "conformance" and given[option.name].text != option.default
    }


def _pipy(given: Mapping[str, Given], backends: Sequence[str]) -> Path | None:
    if parsing.choice("sidecar", given) != "pipy" or NETNS not in backends:
        return None
    program = parsing.path(given["pipy-bin"])
    if program is None:
        raise SettingsError(f"{given['sidecar'].where}: pipy on netns requires --fsm-pipy-bin PATH")
    return program


def _agent(given: Mapping[str, Given]) -> str:
    chosen = parsing.choice("agent", given)
    if given["app-image"].text and chosen != "ephemeral":
        raise SettingsError(
            f"{given['app-image'].where} requires --fsm-agent=ephemeral: the probe agent cannot run"
            " inside another image"
        )
    return chosen

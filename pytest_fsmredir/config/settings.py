"""The user's settings: one validated value for each option."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pytest_fsmredir.config.identity import Identity
from pytest_fsmredir.config.options import OPTIONS
from pytest_fsmredir.config.parsing import CLUSTER, KIND, NETNS
from pytest_fsmredir.config.rerun import repeat_pytest_kind
from pytest_fsmredir.config.waivers import Waiver
from pytest_fsmredir.model.outcomes import Variant

_DEFAULT_IMPL = next(option.default for option in OPTIONS if option.name == "impl")

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
        impl: Name of the implementation under test; empty if another option names
            it.
        init_cmd: The shell command under test; empty for none.
        init_cmd_base: The directory that a relative path of its program starts from.
        rules: The rules template under test; None for none.
        replay: The file of the captured pod under test; None for none.
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
        pipy_bin: The Pipy program for network namespaces; None if no option names one.
        report: The directory of the report; None for no report.
        pause_on_fail: Whether to open a shell in the pod of each failed check.
        evidence: Which checks leave a directory of evidence: ``on-failure``, ``all`` or ``off``.
        privilege: ``auto``, ``rootless`` or ``root``.
        timeout_s: Seconds after which a flow counts as unanswered.
        init_timeout_s: Seconds after which an init command is killed.
        init_privileged: Whether the init container is privileged.
        fuzz: Which generated policies to try on each variant, counted from 0; empty for none.
        seed: Seed of the generated policies.
        benchmark: Whether to measure what the implementation costs.
        benchmark_entries: Numbers of list entries to measure with.
        benchmark_rounds: Rounds of measurements at most.
        benchmark_time_s: Seconds after which the benchmark makes no further pods.
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
    replay: Path | None
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
    pipy_bin: Path | None
    report: Path | None
    pause_on_fail: bool
    evidence: str
    privilege: str
    timeout_s: float
    init_timeout_s: float
    init_privileged: bool
    fuzz: range
    seed: int
    benchmark: bool
    benchmark_entries: tuple[int, ...]
    benchmark_rounds: int
    benchmark_time_s: float
    where: Mapping[str, str]
    texts: Mapping[str, str]
    repeat: tuple[str, ...]

    @property
    def names_no_implementation(self) -> bool:
        """Whether no option names an implementation, so that the default one is tested."""
        return self.impl == _DEFAULT_IMPL

    @property
    def pipy(self) -> Path | None:
        """The Pipy program that serves as sidecar on network namespaces; None for the recorder."""
        wanted = self.kubernetes.sidecar == "pipy" and NETNS in self.backends
        return self.pipy_bin if wanted else None

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
            words += repeat_pytest_kind(self.kubernetes.pytest_kind)
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

"""Build the Pod objects of a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pytest_fsmredir.backends.kubernetes.agents.archive import template_libraries
from pytest_fsmredir.backends.kubernetes.agents.manifests import (
    AGENT,
    AGENT_CONTAINER,
    APP,
    HEALTH,
    MOUNTED,
    PYTHON,
    SIDECAR,
)
from pytest_fsmredir.backends.kubernetes.cluster.client import Object
from pytest_fsmredir.backends.kubernetes.cluster.namespaces import MANAGED_BY, OURS
from pytest_fsmredir.backends.kubernetes.pods.injection import (
    INJECTION,
    SIDECAR_NAME,
    Parts,
    injected,
)
from pytest_fsmredir.errors import PreflightError
from pytest_fsmredir.implementations.base import Implementation, IptablesVariant
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.implementations.reference.programming import Reference
from pytest_fsmredir.implementations.rules_file import RulesFile
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.sidecars.recorder import HEALTH_UID

_LIBRARIES, _SOCKETS = "libraries.zip", "sockets"
_VARIANT_FIRST = """
export PATH="$PATH:/usr/sbin:/sbin"
tools=/tmp/fsmredir-tools
mkdir -p $tools
[ $FSM_IPTABLES = native ] || for family in iptables ip6tables; do
  for tool in '' -save -restore; do
    ln -sf "$(command -v $family-$FSM_IPTABLES$tool)" $tools/$family$tool
  done
done
export PATH="$tools:$PATH"
"""
"""Put the iptables programs of the variant in FSM_IPTABLES first on PATH.

The variant native has no such programs; its nft is on PATH in the image.
"""

_WITH_VARIANT_FIRST = [
    "/bin/sh",
    "-c",
    f"""{_VARIANT_FIRST}
cd "$(mktemp -d)" || exit
exec "$@" </dev/null
""",
    "sh",
]
"""Run the remaining arguments with the iptables programs of the wanted variant first on PATH."""


def shell_command(iptables: IptablesVariant, prompt: str) -> list[str]:
    """Return the command of an interactive shell with the programs of a variant first on PATH."""
    settings = f"export FSM_IPTABLES={iptables.value} PS1={shlex.quote(prompt)} HOME=/"
    return ["/bin/sh", "-c", f"{settings}\n{_VARIANT_FIRST}\ncd /; exec /bin/sh -i"]


class AgentIn(StrEnum):
    """The kind of container that runs the agent in a pod of the mesh."""

    CONTAINER = "container"
    EPHEMERAL = "ephemeral"


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """The images of the containers.

    Attributes:
        pod: Image with Python and both variants of iptables.
        init: Image of the implementation; empty to run a command in the pod image.
        init_privileged: The init container is privileged.
        agent_in: Whether the agent runs as the application's container or in an ephemeral
            container.
        app: Image of the application if the agent runs in an ephemeral container; empty for an
            application that does nothing.
        sidecar: Fields of the container (``image``, ``command`` and others) of a foreign sidecar,
            which reports nothing; empty for ours.
    """

    pod: str
    init: str = ""
    init_privileged: bool = False
    agent_in: AgentIn = AgentIn.CONTAINER
    app: str = ""
    sidecar: Mapping[str, object] = field(default_factory=dict)

    @property
    def needed(self) -> tuple[str, ...]:
        """Every image that the pods use."""
        named = (self.pod, self.init, self.app, str(self.sidecar.get("image", "")))
        return tuple(dict.fromkeys(filter(None, named)))

    @property
    def sidecar_is_ours(self) -> bool:
        """Whether the sidecar is our recorder, which reports what it accepts."""
        return not self.sidecar and self.agent_in is AgentIn.CONTAINER


def place(name: str, images: Images, *, host_network: bool = False) -> Object:
    """Return a pod outside the mesh, where flows start and arrive."""
    made = _pod(name, {INJECTION: "disabled"}, images.pod)
    made["spec"]["hostNetwork"] = host_network
    return made


def plain_pod(name: str, configuration: Configuration, images: Images) -> Object:
    """Return a pod of the mesh as its user writes it."""
    pod = _pod(name, configuration.annotations, images.pod)
    if images.agent_in is AgentIn.EPHEMERAL:
        pod["spec"] |= {"containers": [_application(images)], "volumes": []}
    return pod


def mesh_pod(
    pod: Object,
    configuration: Configuration,
    *,
    images: Images,
    init_command: Sequence[str] | None,
    iptables: IptablesVariant,
    bare: bool = False,
) -> Object:
    """Return a pod that this package injects.

    A bare pod has the sidecar and no init container, so it has no rules. In a pod with lists, our
    sidecar is a process of the application's container: a container of its own would cost the node
    a fifth of the pod, and no rule can tell the two from each other. Pods without lists, and those
    with more containers, have all containers as FSM injects them.
    """
    parts = _parts(images, init_command, iptables)
    made = injected(_with_agent(pod), configuration.mesh_config_document(), parts)
    if bare:
        del made["spec"]["initContainers"]
    if images.sidecar_is_ours and any(configuration.effective().values()):
        _move_in(made["spec"])
    return made


def _move_in(spec: Object) -> None:
    """Move the sidecar into the container of the application, if these are all containers."""
    if [each["name"] for each in spec["containers"]] != [SIDECAR_NAME, AGENT_CONTAINER]:
        return
    sidecar, app = spec["containers"]
    app |= {"command": [*app["command"], SIDECAR], "env": sidecar["env"]}
    app["volumeMounts"] = [each for each in app["volumeMounts"] if each["name"] != _SOCKETS]
    spec["volumes"] = [each for each in spec["volumes"] if each["name"] != _SOCKETS]
    spec["containers"] = [app]


@dataclass(frozen=True, slots=True)
class InitProgram:
    """The program that sets the rules of a pod, in an init container of our image.

    Attributes:
        command: The command line.
        files: Files that it needs in addition to the agent, by name.
    """

    command: Sequence[str]
    files: Mapping[str, bytes] = field(default_factory=dict)


def init_program(implementation: Implementation) -> InitProgram:
    """Return the init container's program for an implementation.

    Raises:
        PreflightError: The implementation can only program pods of this machine.
    """
    if isinstance(implementation, Reference):
        return InitProgram([*PYTHON, "reference", "apply"])
    if isinstance(implementation, InitCommand):
        return InitProgram(["/bin/sh", "-c", implementation.command])
    if isinstance(implementation, RulesFile):
        texts = {name: text.encode() for name, text in implementation.sources.items()}
        return InitProgram(
            [*PYTHON, "rules", f"{MOUNTED}/{_LIBRARIES}", f"{MOUNTED}/{next(iter(texts))}"],
            {_LIBRARIES: template_libraries(), **texts},
        )
    raise PreflightError(
        f"{implementation.name} cannot run in an init container; give an image that holds it:"
        " --fsm-init-image IMAGE"
    )


def _parts(images: Images, init_command: Sequence[str] | None, iptables: IptablesVariant) -> Parts:
    return Parts(
        init=_init(images, init_command, iptables),
        privileged=images.init_privileged,
        sidecar=images.sidecar or _agent(images.pod, SIDECAR),
        health={
            **_agent(images.pod, HEALTH),
            "securityContext": {"runAsUser": HEALTH_UID},
        },
        iptables=iptables.value,
    )


def _init(
    images: Images, command: Sequence[str] | None, iptables: IptablesVariant
) -> Mapping[str, object]:
    if command is None:
        return {"image": images.init, "imagePullPolicy": "IfNotPresent"}
    return {
        "image": images.init or images.pod,
        "imagePullPolicy": "IfNotPresent",
        # The kubelet expands $(NAME) in a command (Container.command), so escape it.
        "command": [word.replace("$(", "$$(") for word in [*_WITH_VARIANT_FIRST, *command]],
        "volumeMounts": [_agent_mount()],
    }


def _pod(name: str, annotations: Mapping[str, str], image: str) -> Object:
    app = {
        "name": AGENT_CONTAINER,
        **_agent(image, APP),
        "command": [*PYTHON, "stdio", APP],
        "stdin": True,
        "securityContext": {"runAsUser": 0, "runAsGroup": 0},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": dict(annotations), "labels": {MANAGED_BY: OURS}},
        "spec": {
            "containers": [app],
            "volumes": _volumes(),
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
        },
    }


def _application(images: Images) -> Object:
    """Return the container of an application without an agent."""
    made: Object = {"name": AGENT_CONTAINER, "image": images.app or images.pod}
    made["imagePullPolicy"] = "IfNotPresent"
    if not images.app:
        made["command"] = ["sh", "-c", "trap 'exit 0' TERM; sleep 86400 & wait"]
    return made


def _agent(image: str, name: str) -> dict[str, object]:
    return {
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [*PYTHON, "serve", name],
        "volumeMounts": [_agent_mount(), {"name": _SOCKETS, "mountPath": "/run/fsmredir"}],
    }


def _with_agent(pod: Object) -> Object:
    """Return a pod with the volumes that the injected containers need."""
    own = pod["spec"].get("volumes", [])
    names = {volume["name"] for volume in own}
    added = [volume for volume in _volumes() if volume["name"] not in names]
    return {**pod, "spec": {**pod["spec"], "volumes": [*own, *added]}}


def _volumes() -> list[Object]:
    return [
        {"name": "agent", "configMap": {"name": AGENT}},
        {"name": _SOCKETS, "emptyDir": {}},
    ]


def _agent_mount() -> dict[str, object]:
    return {"name": "agent", "mountPath": MOUNTED, "readOnly": True}

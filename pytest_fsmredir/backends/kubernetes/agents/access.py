"""Reach the agents of a pod: in its own containers, or in an ephemeral container added to it.

An ephemeral container needs nothing from the pod: no image of ours, no volume, no restart. So any
running pod can be judged. The container shares the pod's network namespace, so the mesh captures
its clients and listeners like those of the application. Kubernetes cannot remove an ephemeral
container, so its command ends together with the agent.
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from pytest_fsmredir.backends.kubernetes.agents.archive import agent_archive
from pytest_fsmredir.backends.kubernetes.agents.manifests import AGENT_CONTAINER
from pytest_fsmredir.backends.kubernetes.cluster.client import ApiError, Cluster, ExecStream, Object
from pytest_fsmredir.backends.kubernetes.cluster.containers import hopeless
from pytest_fsmredir.errors import BackendError, DeadlineError

CONTAINER_READY_S = 120.0
"""Seconds that an ephemeral container may take to start: its image may have to be pulled."""

START_S = 300
"""Seconds after which a container without an agent ends: the run that added it may be dead."""

LIFE_S = 6 * 3600
"""Seconds after which a container asks whether its agent still runs, and ends if it does not."""

_AGENT = ("SETUID", "SETGID", "NET_RAW", "NET_BIND_SERVICE", "CHOWN")
"""Capabilities of an agent; all others are dropped. SETUID and SETGID make sockets of any user
(xt_owner compares the file system user), NET_RAW sends ICMP echo, NET_BIND_SERVICE listens below
port 1024, CHOWN hands a socket over to another user."""

READING = ("NET_ADMIN", "NET_RAW")
"""Capabilities to list rules: iptables-legacy-save opens a raw socket, the others ask netlink."""

_BY_POLICY = (400, 403, 422)
_RIGHT = "cannot patch resource"  # of a refusal by the authoriser, which comes before policies

_LOOK_S = 0.3
_CHUNK = 32 * 1024  # bytes of the encoded archive in one message

_WAIT = f"""
import signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
waiting = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
waiting.bind("\\0" + sys.argv[1])
for patience in ({START_S}, {LIFE_S}):
    waiting.settimeout(patience)
    try:
        waiting.recv(1)
        break
    except TimeoutError:
        try:
            waiting.sendto(b".", "\\0" + sys.argv[1] + "-agent")
        except OSError:
            break  # there is no agent
"""
"""Program of the ephemeral container: wait for a datagram at the abstract address in argv[1].

Abstract addresses belong to the pod's network namespace (unix(7)), so the program writes no file
and the agent need not know its process id. It installs a handler for SIGTERM, because process 1 of
a container ignores SIGTERM otherwise (pid_namespaces(7)).
"""

BOOTSTRAP = """
import base64, os, runpy, socket, sys
def take(count):
    taken = b""
    while len(taken) < count:
        more = os.read(0, count - len(taken))
        if not more:
            sys.exit("the archive ended early")
        taken += more
    return taken
waiting = "\\0" + sys.argv.pop(1)
own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
own.bind(waiting + "-agent")
try:
    archive = os.memfd_create("agent")
    with open(archive, "wb", closefd=False) as file:
        file.write(base64.b64decode(take(int(take(12)))))
    runpy.run_path(f"/proc/self/fd/{archive}", run_name="__main__")
finally:
    try:
        own.sendto(b".", waiting)
    except OSError:
        pass  # the waiting program has ended already
"""
"""Program that reads the agent's archive from standard input and runs it.

The length of the encoded archive comes first, in twelve digits. The agent ends at the end of its
standard input, at the latest when the run's process ends. Then this program tells the container
named in argv[1] to end.
"""


@dataclass(frozen=True, slots=True)
class Rights:
    """What a container that is added to a pod may do.

    Attributes:
        capabilities: Its capabilities.
        uid: Its user. Only root keeps capabilities, and may make sockets of other users.
    """

    capabilities: tuple[str, ...]
    uid: int = 0


AGENT_RIGHTS = Rights(_AGENT)


class Access(Protocol):
    """A way to the agents of a pod."""

    def open(self, pod: str, agents: Sequence[str]) -> ExecStream:
        """Return a stream to the agents of a running pod.

        Raises:
            BackendError: The agents cannot be reached.
        """
        ...


@dataclass(frozen=True, slots=True)
class Attached:
    """Agents in the pod's regular containers; the application's passes lines on to the others."""

    cluster: Cluster
    namespace: str

    def open(self, pod: str, agents: Sequence[str]) -> ExecStream:
        """Attach to the application's agent, and return its streams."""
        del agents
        return self.cluster.attach(self.namespace, pod, AGENT_CONTAINER)


@dataclass(frozen=True, slots=True)
class Ephemeral:
    """One agent, streamed into a container that is added to the pod.

    Attributes:
        cluster: Where.
        namespace: Of the pods.
        image: Holds Python 3.11 or later, and nothing of ours.
        rights: What the container may do.
    """

    cluster: Cluster
    namespace: str
    image: str
    rights: Rights = AGENT_RIGHTS

    def open(self, pod: str, agents: Sequence[str]) -> ExecStream:
        """Add a container, send the agent into it, and return its streams.

        Raises:
            BackendError: The pod takes no such container, or the container cannot start.
            DeadlineError: The container does not run in time.
        """
        (agent,) = agents
        return self.stream(pod, self.add(pod), agent)

    def add(self, pod: str) -> str:
        """Add a container, wait until it runs, and return its name.

        Raises:
            BackendError: The pod takes no such container, or the container cannot start.
            DeadlineError: The container does not run in time.
        """
        name = f"fsmredir-{secrets.token_hex(3)}"
        added = added_container(name, self.image, self.rights)
        add_container(self.cluster, self.namespace, pod, added)
        self._await(pod, name)
        return name

    def stream(self, pod: str, name: str, agent: str) -> ExecStream:
        """Send the agent into a container that was added, and return its streams.

        Raises:
            ApiError: The agent could not be started.
        """
        argv = ["python3", "-I", "-S", "-c", BOOTSTRAP, name, "stdio", agent]
        stream = self.cluster.exec(self.namespace, pod, name, argv)
        for part in pieces(agent_archive()):
            stream.write(part)
        return stream

    def _await(self, pod: str, name: str) -> None:
        retrying = Retrying(
            stop=stop_after_delay(CONTAINER_READY_S),
            wait=wait_fixed(_LOOK_S),
            retry=retry_if_result(lambda running: not running),
        )
        try:
            retrying(self._runs, pod, name)
        except RetryError:
            raise DeadlineError(
                f"the container {name} does not run in pod {pod} after {CONTAINER_READY_S:.0f} s;"
                f" last seen: {self._state(pod, name) or 'nothing of it'}"
            ) from None

    def _runs(self, pod: str, name: str) -> bool:
        state = self._state(pod, name)
        if why := hopeless([{"name": name, "state": state}]):
            raise BackendError(f"pod {pod}: {why}")
        if "terminated" in state:
            raise BackendError(f"pod {pod}: {name} ended: {state['terminated']}")
        return "running" in state

    def _state(self, pod: str, name: str) -> Mapping[str, Any]:
        return container_state(self.cluster, self.namespace, pod, name)


class NotAdmittedError(BackendError):
    """A pod takes no such ephemeral container.

    Attributes:
        by_policy: A policy of the cluster refused the container; one with fewer rights may pass.
    """

    def __init__(self, message: str, *, by_policy: bool) -> None:
        super().__init__(message)
        self.by_policy = by_policy


def add_container(cluster: Cluster, namespace: str, pod: str, container: Object) -> None:
    """Add an ephemeral container to a pod.

    Raises:
        NotAdmittedError: The pod takes no such container.
    """
    path = f"{_path(namespace, pod)}/ephemeralcontainers"
    try:
        cluster.patch(path, {"spec": {"ephemeralContainers": [container]}}, by_key=True)
    except ApiError as error:
        capabilities = container["securityContext"]["capabilities"]["add"]
        user = f"user {container['securityContext']['runAsUser']}"
        what = f"the capabilities {', '.join(capabilities)}" if capabilities else user
        raise NotAdmittedError(
            f"pod {pod} takes no ephemeral container: {error}; it takes the right to patch"
            f" pods/ephemeralcontainers, and a namespace whose Pod Security allows {what}",
            by_policy=error.status in _BY_POLICY and _RIGHT not in str(error),
        ) from None


def container_state(cluster: Cluster, namespace: str, pod: str, name: str) -> Mapping[str, Any]:
    """Return the state of an ephemeral container; empty if there is none yet.

    Raises:
        BackendError: The pod has ended.
    """
    status = cluster.get(_path(namespace, pod)).get("status", {})
    if status.get("phase") in ("Failed", "Succeeded"):
        raise BackendError(f"pod {pod} has ended: {status.get('reason', status['phase'])}")
    found = status.get("ephemeralContainerStatuses", [])
    states = (each.get("state", {}) for each in found if each["name"] == name)
    return next(states, {})


def _path(namespace: str, pod: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{pod}"


def ephemeral_container(name: str, image: str, command: Sequence[str], rights: Rights) -> Object:
    """Return an ephemeral container with some rights and no others."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "securityContext": {
            "runAsUser": rights.uid,
            "runAsGroup": 0,
            "runAsNonRoot": rights.uid != 0,
            "capabilities": {"drop": ["ALL"], "add": list(rights.capabilities)},
            **({} if rights.uid == 0 else _STRICT),
        },
    }


_STRICT = {"allowPrivilegeEscalation": False, "seccompProfile": {"type": "RuntimeDefault"}}
"""What the strictest level of Pod Security asks for besides."""


def added_container(name: str, image: str, rights: Rights = AGENT_RIGHTS) -> Object:
    """Return the ephemeral container, which waits for an agent."""
    command = ["python3", "-I", "-S", "-c", _WAIT, name]
    return ephemeral_container(name, image, command, rights)


def pieces(archive: bytes) -> list[str]:
    """Return an archive in the text form that ``BOOTSTRAP`` reads, in pieces."""
    encoded = b64encode(archive).decode()
    text = f"{len(encoded):012d}{encoded}"
    return [text[at : at + _CHUNK] for at in range(0, len(text), _CHUNK)]

"""A fault during a run becomes a prompt, precise error, and the run leaves nothing behind."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_fsmredir.backends.base import Place
from pytest_fsmredir.backends.kubernetes.agents.access import Ephemeral
from pytest_fsmredir.backends.kubernetes.agents.link import GRACE_S
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.cluster.kind import in_node, kind_site
from pytest_fsmredir.backends.kubernetes.kind_backend import KindBackend
from pytest_fsmredir.backends.kubernetes.mesh.mesh import KubeMesh
from pytest_fsmredir.backends.kubernetes.mesh.pods import KubePod
from pytest_fsmredir.backends.kubernetes.pods.injectors import by_hand
from pytest_fsmredir.backends.kubernetes.pods.manifests import AgentIn
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.implementations.reference.programming import Reference

if TYPE_CHECKING:
    from tests.kube.conftest import Judge

pytestmark = pytest.mark.kube

NFT = IptablesVariant.NFT
KILL = """
import os, pathlib, signal, sys
for line in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if {word!r} in line.read_text().split("\\0"):
        os.kill(int(line.parent.name), signal.SIGKILL)
print("done", flush=True)
sys.stdin.read()
"""


def mesh_of(backend: KindBackend) -> AbstractContextManager[KubeMesh]:
    """Return a mesh that the block closes."""
    return closing(backend.mesh(4, NFT, exhaustive=False))


def namespaces(cluster: Cluster) -> set[str]:
    """Return the namespaces of runs, without those that are being deleted."""
    found = cluster.get("/api/v1/namespaces")["items"]
    names = (each["metadata"] for each in found if "deletionTimestamp" not in each["metadata"])
    return {each["name"] for each in names if each["name"].startswith("fsmredir-")}


def kill(cluster: Cluster, pod: str, container: str, word: str) -> None:
    """Kill the process of a pod that has a word on its command line."""
    (namespace,) = namespaces(cluster)
    argv = ["python3", "-c", KILL.format(word=word)]
    with closing(cluster.exec(namespace, pod, container, argv)) as stream:
        assert stream.read_line(GRACE_S) == "done"


def kill_in_node(node: str, pod: str, command: str) -> None:
    """Kill a first process of a container, which no process of the container can."""
    script = """
    for process in /proc/[0-9]*; do
      tr '\\0' '\\n' <$process/environ | grep -qx "HOSTNAME=$0" || continue
      tr '\\0' ' ' <$process/cmdline | grep -q " $1 " && kill -9 "${process#/proc/}"
    done 2>/dev/null || true
    """
    in_node(node, ["sh", "-c", script, pod, command])


def connect_until_it_fails(pod: KubePod, to: Place) -> None:
    """Connect again and again until the kubelet has ended the pod."""
    while True:
        pod.connect(to, 8080)


def test_pod_that_is_deleted_during_the_run(judge: Judge, cluster: Cluster) -> None:
    """Catches: after a user deletes a pod, the run hangs or fails the implementation."""
    with judge.backend(by_hand(Reference())) as backend, mesh_of(backend) as mesh:
        pod = mesh.pod()
        assert pod.connect(mesh.server, 8080).captured_outbound
        (namespace,) = namespaces(cluster)
        cluster.delete(f"/api/v1/namespaces/{namespace}/pods/{pod.site.name}")
        with pytest.raises(BackendError, match=f"the line to pod {pod.site.name} was lost"):
            connect_until_it_fails(pod, mesh.server)
        with pytest.raises(BackendError, match="there is no line to"):
            pod.connect(mesh.server, 8080)
    assert not namespaces(cluster)


def test_agent_that_is_killed(judge: Judge, cluster: Cluster) -> None:
    """Catches: after an agent has ended, the run hangs, or mixes up the replies to flows."""
    with kind_site(replace(judge.options, keep=True)) as site:
        (node, *_) = site.nodes
    with judge.backend(by_hand(Reference())) as backend, mesh_of(backend) as mesh:
        pod = mesh.pod()
        assert pod.connect(mesh.server, 8080).captured_outbound
        kill_in_node(node, pod.site.name, "serve sidecar")
        with pytest.raises(BackendError, match=f"pod {pod.site.name} was lost: .* has ended"):
            connect_until_it_fails(pod, mesh.server)
    assert not namespaces(cluster)


def test_ephemeral_agent_that_is_killed(judge: Judge, cluster: Cluster) -> None:
    """Catches: a killed agent in an ephemeral container makes the run hang."""
    guest = replace(judge, agent_in=AgentIn.EPHEMERAL)
    with guest.backend(by_hand(Reference())) as backend, mesh_of(backend) as mesh:
        pod = mesh.pod()
        assert pod.connect(mesh.server, 8080).captured_outbound
        (namespace,) = namespaces(cluster)
        (status,) = cluster.get(f"/api/v1/namespaces/{namespace}/pods/{pod.site.name}")["status"][
            "ephemeralContainerStatuses"
        ]
        kill(cluster, pod.site.name, status["name"], "stdio")
        with pytest.raises(BackendError, match=f"pod {pod.site.name} was lost: .* ended"):
            pod.connect(mesh.server, 8080)
    assert not namespaces(cluster)


def test_ephemeral_container_that_cannot_start(judge: Judge, cluster: Cluster) -> None:
    """Catches: a run waits for its full timeout for an image that does not exist."""
    with judge.backend(by_hand(Reference())) as backend, mesh_of(backend) as mesh:
        pod = mesh.pod()
        (namespace,) = namespaces(cluster)
        access = Ephemeral(cluster, namespace, "fsmredir-no-such-image:1")
        with pytest.raises(BackendError, match=f"pod {pod.site.name}: fsmredir-.*(Pull|pull)"):
            access.open(pod.site.name, ("app",))
        with pytest.raises(BackendError, match="takes no ephemeral container"):
            access.open("pod-that-is-not", ("app",))


def test_image_without_python(judge: Judge, cluster: Cluster, pause: str) -> None:
    """Catches: an agent cannot start, and the error does not say why."""
    with judge.backend(by_hand(Reference())) as backend, mesh_of(backend) as mesh:
        pod = mesh.pod()
        (namespace,) = namespaces(cluster)
        access = Ephemeral(cluster, namespace, pause)
        with pytest.raises(BackendError, match=f"pod {pod.site.name}: .*python3"):
            access.open(pod.site.name, ("app",))

"""Idle connections: this file runs last, while they are idle, and holds no other check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from pytest_fsmredir import Connection, FarEnds, Mesh, Pod, Profile, Section, Sidecars

section = Section(15, Profile.CORE)

PORT = 20091
QUESTION, NEWS = b"still there?", b"something new"


def _port(mesh: Mesh) -> int:
    """Return a port for each iptables variant: the server listens on them at the same time."""
    return PORT + list(type(mesh.iptables)).index(mesh.iptables)


def _opened(
    mesh: Mesh, pod: Pod, sidecars: Sidecars, held: ExitStack
) -> tuple[Connection, Connection]:
    """Return a connection out of the pod and one into it, both through the sidecar."""
    port = _port(mesh)
    with sidecars.forwarding(pod):
        leaving = held.enter_context(pod.open(mesh.server, port))
        assert leaving.fate.captured_outbound
        entering = held.enter_context(mesh.client.open(pod, port))
        assert entering.fate.captured_inbound
    return leaving, entering


@section.check("CT-010", "15.7")
def test_idle_connections_carry_data_again(
    mesh: Mesh, sidecars: Sidecars, far_ends: FarEnds
) -> Iterator[None]:
    """A captured connection that was idle for seconds MUST carry data again in either direction,
    whichever end speaks first, and half-closed too."""
    pod = mesh.pod(fresh=True)
    with ExitStack() as held:
        pairs = [_opened(mesh, pod, sidecars, held) for _ in ("asking", "listening", "half-closed")]
        for connection in pairs[-1]:
            far_ends.half_close(connection)
        idle = far_ends.idling(pod, [connection for pair in pairs for connection in pair])
        yield
        for connection in idle.over():
            if connection in pairs[0]:
                assert connection.echoes(QUESTION, mesh.timeout_s)
            else:
                assert far_ends.hears(connection, NEWS, mesh.timeout_s)

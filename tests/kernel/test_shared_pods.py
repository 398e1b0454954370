"""In a shared pod, the flows of one check must not affect those of the next."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.implementations.reference.programming import Reference
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Address, Direction, Fate, Flow
from pytest_fsmredir.model.reserved import SIDECAR_UID
from pytest_fsmredir.traffic.host import SIDECAR_PORTS, Host

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]


SETTING = Path("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close")


def test_connections_that_were_reset_are_soon_forgotten() -> None:
    """Catches: a source port reused within ten seconds follows the path of the old flow."""
    with closing(NetnsBackend(Reference(), families=(4,), timeout_s=5.0)) as backend:
        site = backend.shared_site(Configuration(), IptablesVariant.NFT, second_interface=False)
        remembered_s = site.namespace.run(SETTING.read_text)

    assert remembered_s.strip() == "1"


@pytest.mark.parametrize("family", [4, 6])
def test_application_never_gets_a_source_port_of_the_sidecar(family: int) -> None:
    """Catches: an application's flow that follows the sidecar's, which the server has reset."""
    with (
        closing(NetnsBackend(Reference(), families=(4, 6), timeout_s=5.0)) as backend,
        closing(backend.mesh(family, IptablesVariant.NFT, exhaustive=False)) as mesh,
    ):
        pod = mesh.pod()
        own = [pod.connect(mesh.server, 8080, uid=SIDECAR_UID) for _ in range(3)]
        swept = list(pod.connect_all(mesh.server, [8080] * 3, uid=SIDECAR_UID))
        others = [pod.connect(mesh.server, 8080, uid=uid) for uid in (0, 1000)]

    assert all(fate.direct for fate in [*own, *swept])
    assert [_port(fate) for fate in [*own, *swept]] == list(SIDECAR_PORTS[:6])
    assert all(fate.captured_outbound for fate in others)
    assert not {_port(fate) for fate in others} & set(SIDECAR_PORTS)


def test_forwarded_flow_does_not_block_the_port_of_a_flow_of_uid_1500() -> None:
    """Catches: the sidecar and the agent of a pod, two processes, connect from the same port."""
    with (
        closing(NetnsBackend(Reference(), families=(4,), timeout_s=5.0)) as backend,
        closing(backend.mesh(4, IptablesVariant.NFT, exhaustive=False)) as mesh,
    ):
        site = backend.shared_site(Configuration(), IptablesVariant.NFT, second_interface=False)
        flow = Flow(Direction.OUTBOUND, Address(mesh.server.address, 8080), uid=SIDECAR_UID)
        sidecar, agent = (Host(site.host.engine, site.namespace.socket, 5.0) for _ in range(2))
        with closing(backend.outside.listen(flow.destination)):
            forwarded = sidecar.stream(flow)
            assert forwarded is not None
            with closing(forwarded), closing(agent.open(flow)) as connection:
                fate = connection.fate

    assert fate.direct


def _port(fate: Fate) -> int:
    assert fate.client is not None
    return fate.client.port

"""How a team tests what its own pods rely on, with the fixtures of pytest-fsmredir.

Run it here with ``pytest``, or in real pods with ``pytest --fsm-backend kind``.
"""

import pytest

from pytest_fsmredir import Acceptor, Mesh, Pod

DATABASE, CACHE, API = 5432, 6379, 8080


@pytest.mark.fsm_pod(
    annotations={"flomesh.io/outbound-port-exclusion-list": f"{DATABASE}, {CACHE}"},
    mesh_config={"inboundPortExclusionList": [9090]},
)
class TestPayments:
    """The pod of the payments service."""

    def test_database_and_cache_are_reached_directly(self, fsm_pod: Pod, fsm_mesh: Mesh) -> None:
        assert fsm_pod.connect(fsm_mesh.server, DATABASE).direct
        assert fsm_pod.connect(fsm_mesh.server, CACHE).direct

    def test_everything_else_passes_the_sidecar(self, fsm_pod: Pod, fsm_mesh: Mesh) -> None:
        fate = fsm_pod.connect(fsm_mesh.server, API)

        assert fate.captured_outbound
        assert fate.accepted.by is Acceptor.SIDECAR_OUTBOUND
        assert fate.accepted.destination == (fsm_mesh.server.address, API)
        assert fate.accepted.peer.host == fsm_pod.address

    def test_metrics_are_scraped_without_the_sidecar(self, fsm_pod: Pod, fsm_mesh: Mesh) -> None:
        assert fsm_mesh.client.connect(fsm_pod, 9090).direct
        assert fsm_mesh.client.connect(fsm_pod, API).captured_inbound

    def test_sidecar_does_not_loop(self, fsm_pod: Pod, fsm_mesh: Mesh) -> None:
        assert fsm_pod.connect(fsm_mesh.server, API, uid=1500).direct


@pytest.mark.parametrize("port", [22, 443, 15000])
def test_pods_without_settings_have_no_exceptions(fsm_mesh: Mesh, port: int) -> None:
    assert fsm_mesh.pod().connect(fsm_mesh.server, port).captured_outbound

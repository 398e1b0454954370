"""Handles on pods of a cluster and their sidecars, for one check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_fsmredir.agent.forms import Json
from pytest_fsmredir.backends.base import Place
from pytest_fsmredir.backends.kubernetes.agents.manifests import SIDECAR
from pytest_fsmredir.backends.kubernetes.mesh.places import KubePlace
from pytest_fsmredir.backends.kubernetes.pods.pool import PooledPod
from pytest_fsmredir.backends.places import APP_UID, SIDECAR_PORTS, not_offered
from pytest_fsmredir.backends.pod_parts import Idling, Steps, Tap
from pytest_fsmredir.backends.programming import Programming, Sabotage
from pytest_fsmredir.implementations.base import Completed
from pytest_fsmredir.model.flow import Acceptance
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.correspondent import Correspondent
from pytest_fsmredir.traffic.tap import PacketLog

if TYPE_CHECKING:
    from pytest_fsmredir.backends.kubernetes.mesh.mesh import KubeMesh


class KubePod(KubePlace):
    """A handle on a pod for one check."""

    def __init__(self, mesh: KubeMesh, site: PooledPod) -> None:
        super().__init__(mesh, site, mesh.own_address(site), APP_UID)
        self.sidecar = KubeSidecar(mesh, site)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address of the pod, IPv4 first."""
        return self.site.addresses

    @property
    def second_address(self) -> str:
        """Not offered here."""
        not_offered("a second interface")

    @property
    def second_interface_address(self) -> str:
        """Not offered here."""
        not_offered("a second interface")

    def program(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> None:
        """Not offered here: an init container runs once."""
        not_offered("programming a pod again")

    def try_program(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        capabilities: frozenset[int] | None = None,
        kill_after_s: float | None = None,
        sabotage: Sabotage | None = None,
    ) -> Programming:
        """Not offered here: an init container runs once."""
        not_offered("programming a pod again")

    def programming(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> AbstractContextManager[Steps]:
        """Not offered here: an init container runs once."""
        not_offered("programming a pod again")

    def holding_xtables_lock(self) -> AbstractContextManager[None]:
        """Not offered here."""
        not_offered("sabotage")

    def nested(self) -> Place:
        """Not offered here."""
        not_offered("nested containers")

    def corresponding(self, to: Place | str, port: int) -> AbstractContextManager[Correspondent]:
        """Not offered here."""
        not_offered("packets made by hand")

    def tap(self) -> AbstractContextManager[Tap]:
        """Not offered here."""
        not_offered("seeing packets")

    def idling(self, connections: Sequence[Connection]) -> Idling:
        """Not offered here."""
        not_offered("the far ends of connections")

    def receiving(
        self, protocols: Iterable[int], groups: Iterable[str] = ()
    ) -> AbstractContextManager[PacketLog]:
        """Not offered here."""
        not_offered("seeing packets")

    def run(self, argv: Sequence[str], stdin: str = "") -> Completed:
        """Not offered here."""
        not_offered("running programs in a pod")

    def kernel_settings(self, values: Mapping[str, str]) -> AbstractContextManager[None]:
        """Not offered here."""
        not_offered("kernel settings")

    def forget_gateway(self) -> None:
        """Not offered here."""
        not_offered("kernel settings")

    def acceptances(self) -> tuple[Acceptance, ...]:
        """Every acceptance of the run so far."""
        self._mesh.fetch()
        return tuple(self._mesh.backend.acceptance_log.log)

    def is_own(self, host: str) -> bool:
        """Whether an address belongs to this pod."""
        return host in self.site.addresses

    def _answer_tcp(self, port: int) -> None:
        if port not in SIDECAR_PORTS:
            self.listen(port)

    @property
    def _is_shared(self) -> bool:
        """Whether a listener of the user's application may serve instead of ours."""
        return self._mesh.fates.sees_others


class KubeSidecar:
    """A handle on a pod's sidecar."""

    def __init__(self, mesh: KubeMesh, site: PooledPod) -> None:
        self._mesh, self._site = mesh, site

    @contextmanager
    def forwarding(self, services: Mapping[str, str] = MappingProxyType({})) -> Iterator[None]:
        """Make the sidecar forward captured flows for the block."""
        self._ask("forward", on=True, services=dict(services))
        self._mesh.forwarding += 1
        try:
            yield
        finally:
            self._mesh.forwarding -= 1
            self._ask("forward", on=False, services={})

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the sidecar for the block."""
        self._ask("stop")
        try:
            yield
        finally:
            self._ask("start")

    def _ask(self, name: str, **arguments: Json) -> None:
        self._mesh.backend.link(self._site).ask(SIDECAR, name, **arguments)

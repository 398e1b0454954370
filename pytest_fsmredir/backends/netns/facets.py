"""The facets that network namespaces make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_network

from pytest_fsmredir.backends.base import Pod
from pytest_fsmredir.backends.facets import (
    NestedContainers,
    SecondInterface,
    Sidecars,
    SingleFamily,
)
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.backends.netns.packets import NetnsFarEnds, NetnsForgedPackets, NetnsTaps
from pytest_fsmredir.backends.netns.places import NetnsPlace
from pytest_fsmredir.backends.netns.pods import NetnsPod, own_pod
from pytest_fsmredir.backends.netns.programming import (
    NetnsForeignPrograms,
    NetnsKernelSettings,
    NetnsProgrammer,
    NetnsSabotage,
)
from pytest_fsmredir.backends.netns.wiring import (
    BEHIND_SECOND_INTERFACE,
    SECOND_INTERFACE,
    wire_nested,
)
from pytest_fsmredir.backends.places import APP_UID
from pytest_fsmredir.traffic.host import Host


class NetnsSidecars(Sidecars):
    """Controls the sidecars of pods."""

    def __init__(self, mesh: NetnsMesh) -> None:
        self._mesh = mesh

    @contextmanager
    def forwarding(self, pod: Pod, services: Mapping[str, str] | None = None) -> Iterator[None]:
        """Forward captured flows for the block."""
        process = own_pod(pod).site.sidecar
        process.forwarding, process.services = True, services or {}
        try:
            yield
        finally:
            process.forwarding, process.services = False, {}

    @contextmanager
    def stopped(self, pod: Pod) -> Iterator[None]:
        """Stop the sidecar for the block."""
        process = own_pod(pod).site.sidecar
        process.stop()
        try:
            yield
        finally:
            process.start()


class NetnsSecondInterface(SecondInterface):
    """Makes pods with a second interface and a second address on the first one."""

    def __init__(self, mesh: NetnsMesh) -> None:
        self._mesh = mesh

    def pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        fresh: bool = False,
    ) -> NetnsPod:
        """Return a programmed pod."""
        return self._mesh.programmed_pod(
            annotations, mesh_config, fresh=fresh, second_interface=True
        )

    def bare_pod(self, *, interface: str = SECOND_INTERFACE) -> NetnsPod:
        """Return an unprogrammed pod."""
        return self._mesh.new_pod(second_interface=True, interface=interface)

    def address(self, pod: Pod) -> str:
        """Return the second address on the first interface."""
        return own_pod(pod).address_on(0, 1)

    def interface_address(self, pod: Pod) -> str:
        """Return the address of the second interface."""
        return own_pod(pod).address_on(1, 0)

    def remote_address(self) -> str:
        """Return a remote address that the second interface leads to."""
        return str(ip_network(BEHIND_SECOND_INTERFACE[self._mesh.family])[10])


class NetnsSingleFamily(SingleFamily):
    """Makes pods that have addresses of the check's IP version only."""

    def __init__(self, mesh: NetnsMesh) -> None:
        self._mesh = mesh

    def bare_pod(self) -> NetnsPod:
        """Return an unprogrammed pod."""
        return self._mesh.new_pod(single_family=True)


class NetnsNestedContainers(NestedContainers):
    """Nests containers in pods; they are removed when the check ends."""

    def __init__(self, mesh: NetnsMesh) -> None:
        self._mesh = mesh

    def inside(self, pod: Pod) -> NetnsPlace:
        """Return a container nested in the pod."""
        mesh, site = self._mesh, own_pod(pod).site
        namespace = Namespace()
        mesh.undo.callback(namespace.close)
        # An implementation may have switched the other family off in the pod.
        link = wire_nested(namespace, site.namespace, mesh.backend.world, site.link.of(mesh.family))
        host = Host(site.host.engine, namespace.socket, mesh.timeout_s)
        return NetnsPlace(mesh, host, link.addresses[0], APP_UID)


FACETS = (
    NetnsProgrammer,
    NetnsSabotage,
    NetnsSidecars,
    NetnsTaps,
    NetnsForgedPackets,
    NetnsFarEnds,
    NetnsForeignPrograms,
    NetnsKernelSettings,
    NetnsSecondInterface,
    NetnsSingleFamily,
    NetnsNestedContainers,
)

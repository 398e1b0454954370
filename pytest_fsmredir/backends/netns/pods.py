"""Handles of one check on pods that are namespaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_fsmredir.backends.base import Place, Pod
from pytest_fsmredir.backends.configurations import asked_for
from pytest_fsmredir.backends.netns.places import NetnsPlace, NetnsSurroundings
from pytest_fsmredir.backends.netns.sandbox import Sandbox
from pytest_fsmredir.backends.places import APP_UID, SIDECAR_PORTS
from pytest_fsmredir.backends.transcripts import environment, transcript
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Acceptance, Address


class NetnsPod(NetnsPlace):
    """A handle on a pod for one check.

    Attributes:
        site: The pod behind this handle.
    """

    def __init__(self, mesh: NetnsSurroundings, site: Sandbox) -> None:
        address = next(a for a in site.addresses if Address(a, 0).family == mesh.family)
        super().__init__(mesh, site.host, address, APP_UID)
        self.site = site

    @property
    def name(self) -> str:
        """The pod's name, as passed to the implementation."""
        return self.site.link.outside

    @property
    def configuration(self) -> Configuration:
        """The configuration of the last programming."""
        return self.site.configuration

    @property
    def interfaces(self) -> dict[str, tuple[str, ...]]:
        """The pod's addresses by interface."""
        return {link.interface: link.addresses for link in self.site.links}

    @property
    def earlier(self) -> tuple[Configuration, ...]:
        """The configurations of earlier programmings."""
        return tuple(self.site.history[:-1])

    @property
    def outcome(self) -> str:
        """How the last run of the implementation ended."""
        return repr(self.site.programming)

    def implementation_files(self) -> dict[str, str]:
        """Return what the implementation ran last, and its environment, as files by name.

        Raises:
            BackendError: It did not run on this pod.
        """
        run = self.site.last_run
        if run is None:
            raise BackendError("the implementation did not run on this pod")
        return {
            "implementation.txt": transcript(run.ran),
            "environment.txt": environment(run.environment),
        }

    def losses(self) -> list[str]:
        """Return the links, addresses and routes that the implementation removed."""
        return self.site.losses()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address of the pod, IPv4 first."""
        return self.site.addresses

    def acceptances(self) -> tuple[Acceptance, ...]:
        """Every acceptance of the run so far."""
        return tuple(self.host.engine.log)

    def is_own(self, host: str) -> bool:
        """Whether an address leads back to this pod."""
        return host in self.site.addresses

    def configure(
        self,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> None:
        """Change the configuration of the next programming; None keeps the present lists."""
        old = self.site.configuration
        self.site.configuration = asked_for(
            old.annotations if annotations is None else annotations,
            old.traffic if mesh_config is None else mesh_config,
        )

    def address_on(self, link: int, index: int) -> str:
        """Return an address of the check's IP version on one of the pod's links."""
        addresses = self.site.links[link].addresses
        return [a for a in addresses if Address(a, 0).family == self._mesh.family][index]

    def _answer_tcp(self, port: int) -> None:
        if port not in SIDECAR_PORTS:
            self.listen(port)


def own_place(place: Place) -> NetnsPlace:
    """Return a place of this backend.

    Raises:
        BackendError: It is another backend's.
    """
    if not isinstance(place, NetnsPlace):
        raise BackendError(f"{place!r} is not a place of network namespaces")
    return place


def own_pod(pod: Pod) -> NetnsPod:
    """Return a pod of this backend.

    Raises:
        BackendError: It is another backend's.
    """
    if not isinstance(pod, NetnsPod):
        raise BackendError(f"{pod!r} is not a pod of network namespaces")
    return pod

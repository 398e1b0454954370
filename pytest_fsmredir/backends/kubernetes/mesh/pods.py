"""Handles on pods of a cluster, for one check."""

from __future__ import annotations

from pytest_fsmredir.backends.base import Pod
from pytest_fsmredir.backends.kubernetes.agents.guest import Guest
from pytest_fsmredir.backends.kubernetes.mesh.places import KubePlace, KubeSurroundings
from pytest_fsmredir.backends.kubernetes.pods.orders import PooledPod
from pytest_fsmredir.backends.places import APP_UID, SIDECAR_PORTS
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Acceptance


class KubePod(KubePlace):
    """A handle on a pod for one check."""

    def __init__(self, mesh: KubeSurroundings, site: PooledPod, address: str) -> None:
        super().__init__(mesh, site, address, APP_UID)

    @property
    def guest(self) -> Guest:
        """Our container for evidence in the pod.

        Raises:
            BackendError: The pod takes no such container, or the container cannot start.
        """
        return self._mesh.backend.pool.guest(self.site)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address of the pod, IPv4 first."""
        return self.site.addresses

    @property
    def interfaces(self) -> dict[str, tuple[str, ...]]:
        """The pod's addresses by interface."""
        return {"eth0": self.site.addresses}

    @property
    def configuration(self) -> Configuration:
        """The pod's configuration."""
        order = self.site.order
        return Configuration() if order is None else order.configuration

    @property
    def earlier(self) -> tuple[Configuration, ...]:
        """Nothing: a pod is programmed once."""
        return ()

    @property
    def outcome(self) -> str:
        """How the run of the implementation ended."""
        return repr(self.site.programming)

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


def own_pod(pod: Pod) -> KubePod:
    """Return a pod of this backend.

    Raises:
        BackendError: It is another backend's.
    """
    if not isinstance(pod, KubePod):
        raise BackendError(f"{pod!r} is not a pod of this cluster")
    return pod

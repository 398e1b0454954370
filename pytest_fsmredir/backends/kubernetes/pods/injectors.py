"""Inject the pods of the mesh: by this package, or by the cluster's webhook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from pytest_fsmredir.backends.kubernetes.agents.manifests import APP, SIDECAR
from pytest_fsmredir.backends.kubernetes.cluster.client import ApiError, Cluster, Object
from pytest_fsmredir.backends.kubernetes.pods import manifests
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images, InitProgram
from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.implementations.base import Implementation

if TYPE_CHECKING:
    from pytest_fsmredir.backends.kubernetes.pods.orders import Order

Traffic = Mapping[str, Sequence[object]]
"""Lists of a MeshConfig by their key in ``spec.traffic``."""


class Injection(Protocol):
    """Turns orders into pods of the mesh.

    Attributes:
        agents: Names of the agents in each pod.
        files: Files that init containers need in addition to the agent, by name.
        granted: Needs of checks that only such pods meet.
        withheld: Needs of checks that such pods cannot meet.
        mesh_namespace: Namespace of the MeshConfig whose lists the run changes; empty for none.
    """

    agents: tuple[str, ...]
    files: Mapping[str, bytes]
    granted: frozenset[Need]
    withheld: frozenset[Need]
    mesh_namespace: str

    @property
    def installed(self) -> Traffic:
        """The lists in the MeshConfig of the installed mesh, without empty ones."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """Notes on the mesh that belong next to the verdict."""
        ...

    def begin(self, namespace: str) -> None:
        """Prepare the namespace of a run."""
        ...

    def configure(self, traffic: Traffic) -> str:
        """Set the mesh's lists for the pods that are made next.

        Returns:
            Why the lists were refused; empty when they are in force.
        """
        ...

    def injected(self, pod: Object, order: Order) -> Object:
        """Return the pod to create: injected by us, or plain for the webhook to inject."""
        ...

    def made(self, sent: Object, got: Object) -> None:
        """Note how the admission changed a pod."""
        ...

    def refusal(self, error: ApiError, path: str, sent: Object) -> str | None:
        """Return why the implementation refused a pod; None if something else refused it.

        Args:
            error: The error of the request.
            path: Path of the pods in the API.
            sent: The pod.
        """
        ...

    def check(self) -> None:
        """Check that the mesh takes part in making the pods.

        Raises:
            BackendError: It does not, for a reason that is not the implementation's fault.
        """
        ...

    def end(self) -> None:
        """Undo the changes to the cluster; do nothing if there are none."""
        ...


Inject = Callable[[Cluster, Images], Injection]
"""Returns the injection for the pods of a run."""


def by_hand(implementation: Implementation | None) -> Inject:
    """Run an implementation in init containers that this package injects.

    Args:
        implementation: The implementation; None if the entrypoint of the init image runs it.

    Raises:
        PreflightError: The implementation can only program pods of this machine.
    """
    program = None if implementation is None else manifests.init_program(implementation)
    return lambda _cluster, images: Manual(images, program)


class Manual:
    """Injection by this package, with the implementation in the init container.

    Args:
        images: The images of the containers.
        program: The program of the init container; None for the image's entrypoint.
    """

    granted: frozenset[Need] = frozenset()
    withheld: frozenset[Need] = frozenset()
    mesh_namespace = ""
    installed: Traffic = MappingProxyType({})
    remarks: Sequence[str] = ()

    def __init__(self, images: Images, program: InitProgram | None) -> None:
        self._images, self._program = images, program
        self.files = program.files if program else {}
        self.agents: tuple[str, ...] = (APP, SIDECAR) if images.sidecar_is_ours else (APP,)

    def begin(self, namespace: str) -> None:
        """Do nothing."""

    def configure(self, traffic: Traffic) -> str:
        """Accept the lists: each pod carries its mesh's lists in its own files."""
        del traffic
        return ""

    def injected(self, pod: Object, order: Order) -> Object:
        """Return the injected pod."""
        return manifests.mesh_pod(
            pod,
            order.configuration,
            images=self._images,
            init_command=self._program.command if self._program else None,
            iptables=order.iptables,
            bare=order.bare,
        )

    def made(self, sent: Object, got: Object) -> None:
        """Do nothing: no webhook changes these pods."""

    def refusal(self, error: ApiError, path: str, sent: Object) -> str | None:
        """Return None: the implementation runs later, in the init container."""
        del error, path, sent
        return None

    def check(self) -> None:
        """Do nothing: this package made the pods."""

    def end(self) -> None:
        """Do nothing."""

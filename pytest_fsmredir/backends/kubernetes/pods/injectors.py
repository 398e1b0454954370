"""How pods of the mesh come by their redirection: by our own hand, or by the cluster's webhook."""

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
    from pytest_fsmredir.backends.kubernetes.pods.pool import Order

Traffic = Mapping[str, Sequence[object]]
"""Lists of a MeshConfig by their key in ``spec.traffic``."""


class Injection(Protocol):
    """Turns what is ordered into pods.

    Attributes:
        agents: The agents in each of its pods.
        files: What its init containers find beside the agent, by name.
        granted: Needs of checks that only such pods meet.
        withheld: Needs of checks that such pods cannot meet.
        mesh_namespace: Where the MeshConfig is whose lists a run changes; empty if it changes none.
    """

    agents: tuple[str, ...]
    files: Mapping[str, bytes]
    granted: frozenset[Need]
    withheld: frozenset[Need]
    mesh_namespace: str

    @property
    def installed(self) -> Traffic:
        """The lists that the cluster's mesh is configured with, empty ones left out."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """What a reader of the verdict should know about the mesh."""
        ...

    def begin(self, namespace: str) -> None:
        """Prepare the namespace of a run."""
        ...

    def configure(self, traffic: Traffic) -> str:
        """Have the mesh's lists be these for the pods that are made next.

        Returns:
            Why the lists were refused; empty when they are in force.
        """
        ...

    def injected(self, pod: Object, order: Order) -> Object:
        """Return a pod as it is to be made: with what we put in, or as its user wrote it."""
        ...

    def made(self, sent: Object, got: Object) -> None:
        """Learn what became of a pod at its admission."""
        ...

    def refusal(self, error: ApiError, path: str, sent: Object) -> str | None:
        """Return why the implementation refused a pod; None where it was not the implementation.

        Args:
            error: What came of the request.
            path: Where the pod was to be made.
            sent: The pod.
        """
        ...

    def check(self) -> None:
        """See that the pods made so far are what they are to be.

        Raises:
            BackendError: They cannot be, for a reason that is none of the implementation's.
        """
        ...

    def end(self) -> None:
        """Leave the cluster as it was; harmless when nothing was begun."""
        ...


Inject = Callable[[Cluster, Images], Injection]
"""Makes what injects the pods of a run."""


def by_hand(implementation: Implementation | None) -> Inject:
    """Have an implementation run in the init containers that we put into pods.

    Args:
        implementation: Which; None where the init image runs it by itself.

    Raises:
        PreflightError: It can only program pods of this machine.
    """
    program = None if implementation is None else manifests.init_program(implementation)
    return lambda _cluster, images: Manual(images, program)


class Manual:
    """Our own mutation, with the implementation in the init container.

    Args:
        images: Where containers come from.
        program: What the init container runs; None for the image's own entrypoint.
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
        """Nothing has to be prepared."""

    def configure(self, traffic: Traffic) -> str:
        """Each pod brings its mesh's lists along."""
        del traffic
        return ""

    def injected(self, pod: Object, order: Order) -> Object:
        """Return a pod with what we put in."""
        return manifests.mesh_pod(
            pod,
            order.configuration,
            images=self._images,
            init_command=self._program.command if self._program else None,
            iptables=order.iptables,
            bare=order.bare,
        )

    def made(self, sent: Object, got: Object) -> None:
        """Nobody changes our pods."""

    def refusal(self, error: ApiError, path: str, sent: Object) -> str | None:
        """The implementation has no say yet: it refuses in the init container."""
        del error, path, sent
        return None

    def check(self) -> None:
        """They are as we made them."""

    def end(self) -> None:
        """Nothing has to be undone."""

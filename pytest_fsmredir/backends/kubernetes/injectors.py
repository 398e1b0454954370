"""How pods of the mesh come by their redirection: by our own hand, or by the cluster's webhook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from pytest_fsmredir.backends.base import Need
from pytest_fsmredir.backends.kubernetes import manifests
from pytest_fsmredir.backends.kubernetes.client import ApiError, Object
from pytest_fsmredir.backends.kubernetes.manifests import APP, SIDECAR, Images

if TYPE_CHECKING:
    from pytest_fsmredir.backends.kubernetes.fleet import Order

Traffic = Mapping[str, Sequence[object]]
"""Lists of a MeshConfig by their key in ``spec.traffic``."""


class Injection(Protocol):
    """Turns what is ordered into pods.

    Attributes:
        agents: The agents in each of its pods.
        withheld: Needs of checks that such pods cannot meet.
    """

    agents: tuple[str, ...]
    withheld: frozenset[Need]

    def begin(self, namespace: str) -> None:
        """Prepare the namespace of a run."""
        ...

    def configure(self, traffic: Traffic) -> str:
        """Have the mesh's lists be these for the pods that are made next.

        Returns:
            Why the lists were refused; empty when they are in force.
        """
        ...

    def pod(self, name: str, order: Order) -> Object:
        """Return the pod that is to be made."""
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


class Manual:
    """Our own mutation, with the implementation in the init container.

    Args:
        images: Where containers come from.
        init_command: What the init container runs; None for the image's own entrypoint.
    """

    withheld: frozenset[Need] = frozenset()

    def __init__(self, images: Images, init_command: Sequence[str] | None) -> None:
        self._images, self._init_command = images, init_command
        self.agents: tuple[str, ...] = (APP,) if images.sidecar else (APP, SIDECAR)

    def begin(self, namespace: str) -> None:
        """Nothing has to be prepared."""

    def configure(self, traffic: Traffic) -> str:
        """Each pod brings its mesh's lists along."""
        del traffic
        return ""

    def pod(self, name: str, order: Order) -> Object:
        """Return the pod that is to be made."""
        return manifests.mesh_pod(
            name,
            order.configuration,
            images=self._images,
            init_command=self._init_command,
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

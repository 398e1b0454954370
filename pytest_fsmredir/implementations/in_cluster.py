"""An implementation that exists in a cluster only: an init image, or the installed mesh."""

from __future__ import annotations

from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.implementations.base import Target
from pytest_fsmredir.model.features import ALL_FEATURES, Feature


class InCluster:
    """Programs pods as the init container of a foreign image.

    Attributes:
        name: The image, or a name for the installed mesh.
        features: The optional features that it claims; all by default.
    """

    features: frozenset[Feature] = ALL_FEATURES

    def __init__(self, name: str) -> None:
        self.name = name

    def program(self, target: Target) -> None:
        """Raise: only the cluster can program its pods.

        Raises:
            BackendError: Always. The backends of such a run do not call this.
        """
        raise BackendError(f"{self.name} programs pods of a cluster, not {target.name}")

"""An implementation that exists in a cluster only: an init image, or the mesh that is installed."""

from __future__ import annotations

from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.implementations.base import Target
from pytest_fsmredir.model.features import ALL_FEATURES, Feature


class InCluster:
    """Programs pods as the init container of somebody else's image.

    Attributes:
        name: The image's, or what stands for the installed mesh.
        features: What it claims; everything by default.
    """

    features: frozenset[Feature] = ALL_FEATURES

    def __init__(self, name: str) -> None:
        self.name = name

    def program(self, target: Target) -> None:
        """Refuse to: nobody but the cluster can.

        Raises:
            BackendError: Always; the backends of a run are chosen so that this is not asked.
        """
        raise BackendError(f"{self.name} programs pods of a cluster, not {target.name}")

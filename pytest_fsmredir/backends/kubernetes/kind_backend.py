"""The backend ``kind``: a cluster of pytest-kind for the length of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fsmredir.backends.kubernetes.backend import KubernetesBackend
from pytest_fsmredir.backends.kubernetes.cluster.kind import (
    KindOptions,
    KindSite,
    handle_of,
    image_in_nodes,
    kind_site,
    preflight,
    running_site,
)
from pytest_fsmredir.backends.kubernetes.cluster.nodes import require_nodes
from pytest_fsmredir.backends.kubernetes.cluster.remote import remote_ranges, unused_ranges
from pytest_fsmredir.backends.kubernetes.pods.injectors import Inject
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images

if TYPE_CHECKING:
    from pytest_kind import KindCluster

FindImages = Callable[[], Images]


@dataclass(frozen=True, slots=True)
class ClusterContext:
    """A kind cluster with all that pods of a run need.

    Attributes:
        site: The cluster.
        images: Where containers come from; the nodes have them.
        answered: Returns the ranges outside the cluster that its nodes answer for from then on, and
            until the ground is left; it waits for a pod to have an address.
    """

    site: KindSite
    images: Images
    answered: Callable[[], Sequence[str]]


@contextmanager
def kind_cluster_context(
    options: KindOptions, find_images: FindImages, *, handle: KindCluster | None = None
) -> Iterator[ClusterContext]:
    """Have a cluster for the block, which is made if it does not run already.

    Args:
        options: Pytest-kind's.
        find_images: Says where containers come from; Docker has the images then.
        handle: A cluster that somebody has brought up, to be used instead.

    Raises:
        PreflightError: Something is missing; the message says how to get it.
        BackendError: The cluster could not be made.
    """
    preflight(options)
    images = find_images()
    needed = images.needed
    with ExitStack() as undo:
        made = kind_site(options, needed) if handle is None else running_site(handle)
        site = undo.enter_context(made)
        for image in needed:
            image_in_nodes(site, image)
        yield ClusterContext(site, images, lambda: undo.enter_context(remote_ranges(site)))


@contextmanager
def shared_cluster_context(
    options: KindOptions, find_images: FindImages
) -> Iterator[ClusterContext]:
    """Use, for the block, what another process of the run got from :func:`kind_ground`."""
    with running_site(handle_of(options)) as site:
        yield ClusterContext(site, find_images(), lambda: unused_ranges(site))


class KindBackend(KubernetesBackend):
    """Pods of a kind cluster.

    Args:
        inject: Makes what injects the pods.
        ground: The cluster; it lasts until the backend is closed.
        timeout_s: How long a flow may take.
        init_timeout_s: How long the init container may take.
        keep: Leave the namespace behind.
        nodes: Names of the nodes that meshes can be asked for; none for any.
    """

    def __init__(
        self,
        inject: Inject,
        cluster_context: AbstractContextManager[ClusterContext],
        *,
        timeout_s: float,
        init_timeout_s: float = 30.0,
        keep: bool = False,
        nodes: Sequence[str] = (),
    ) -> None:
        with ExitStack() as undo:
            had = undo.enter_context(cluster_context)
            require_nodes(had.site.cluster, nodes)
            # It is the pod's own node that answers for them, which is not known where the scheduler
            # chooses among several.
            answers = bool(nodes) or len(had.site.nodes) == 1
            super().__init__(
                had.site.cluster,
                inject,
                images=had.images,
                timeout_s=timeout_s,
                init_timeout_s=init_timeout_s,
                name="kind",
                answered=had.answered if answers else tuple,
                keep=keep,
                nodes=nodes,
            )
            self._ground_undo = undo.pop_all()

    def close(self) -> None:
        """Remove everything, the cluster too if it was made for this run."""
        with self._ground_undo:
            super().close()

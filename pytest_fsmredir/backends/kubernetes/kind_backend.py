"""The backend ``kind``: a cluster that pytest-kind makes for one run, or one that runs already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
        images: The images of the containers; the nodes have them.
        answered: Makes the nodes answer for ranges outside the cluster until the context ends, and
            returns the ranges. It waits until a pod has an address.
    """

    site: KindSite
    images: Images
    answered: Callable[[], Sequence[str]]


@contextmanager
def kind_cluster_context(
    options: KindOptions, find_images: FindImages, *, handle: KindCluster | None = None
) -> Iterator[ClusterContext]:
    """Provide a cluster for the block; make it if it does not run already.

    Args:
        options: The options of pytest-kind.
        find_images: Returns the images of the containers, after it has put them into Docker.
            Another thread calls it, so that a cluster can be made meanwhile.
        handle: A running cluster of the caller, to use instead.

    Raises:
        PreflightError: Something is missing; the message says how to get it.
        BackendError: The cluster could not be made.
    """
    preflight(options)
    with ExitStack() as undo:
        builder = undo.enter_context(ThreadPoolExecutor(1, thread_name_prefix="fsmredir-build"))
        finding = builder.submit(find_images)
        made = (
            kind_site(options, lambda: finding.result().needed)
            if handle is None
            else running_site(handle)
        )
        site = undo.enter_context(made)
        images = finding.result()
        for image in images.needed:
            image_in_nodes(site, image)
        yield ClusterContext(site, images, lambda: undo.enter_context(remote_ranges(site)))


@contextmanager
def shared_cluster_context(
    options: KindOptions, find_images: FindImages
) -> Iterator[ClusterContext]:
    """Use the cluster that another process of the run got from :func:`kind_cluster_context`."""
    with running_site(handle_of(options)) as site:
        yield ClusterContext(site, find_images(), lambda: unused_ranges(site))


class KindBackend(KubernetesBackend):
    """Run checks in pods of a kind cluster.

    Args:
        inject: Returns the injection that puts the sidecar and the init container into pods.
        cluster_context: Provides the cluster; entered here, and left when the backend is closed.
        timeout_s: Seconds that a flow may take.
        init_timeout_s: Seconds that the init container may take.
        keep: Do not delete the namespace at the end.
        nodes: Names of the nodes that a mesh can be pinned to; empty to let the scheduler choose.
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
            context = undo.enter_context(cluster_context)
            require_nodes(context.site.cluster, nodes)
            # Only the pod's own node can answer for outside addresses, and that node is unknown
            # when the scheduler chooses among several.
            answers = bool(nodes) or len(context.site.nodes) == 1
            super().__init__(
                context.site.cluster,
                inject,
                images=context.images,
                timeout_s=timeout_s,
                init_timeout_s=init_timeout_s,
                name="kind",
                answered=context.answered if answers else tuple,
                keep=keep,
                fleeting=context.site.fleeting,
                nodes=nodes,
            )
            self._context_undo = undo.pop_all()

    def close(self) -> None:
        """Remove everything, and also the cluster if it was made for this run."""
        with self._context_undo:
            super().close()

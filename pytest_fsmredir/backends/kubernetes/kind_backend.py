"""The backend ``kind``: a cluster of pytest-kind for the length of a run."""

from __future__ import annotations

from contextlib import ExitStack

from pytest_fsmredir.backends.kubernetes.backend import KubernetesBackend
from pytest_fsmredir.backends.kubernetes.images import pod_image
from pytest_fsmredir.backends.kubernetes.kind import (
    KindOptions,
    image_in_nodes,
    kind_site,
    preflight,
    remote_ranges,
)
from pytest_fsmredir.backends.kubernetes.manifests import Images
from pytest_fsmredir.implementations.base import Implementation


class KindBackend(KubernetesBackend):
    """Pods of a kind cluster, which is made if it does not run already.

    Args:
        implementation: What is judged; None where ``init_image`` holds it.
        options: pytest-kind's.
        timeout_s: How long a flow may take.
        init_timeout_s: How long the init container may take.
        image: Image of the pods' own containers; empty to build ours.
        init_image: Image of the init container; empty for the pods' image.
        keep: Leave the namespace behind.

    Raises:
        PreflightError: Something is missing; the message says how to get it.
        BackendError: The cluster could not be made.
    """

    def __init__(
        self,
        implementation: Implementation | None,
        *,
        options: KindOptions,
        timeout_s: float,
        init_timeout_s: float = 30.0,
        image: str = "",
        init_image: str = "",
        keep: bool = False,
    ) -> None:
        preflight(options)
        images = Images(pod=pod_image(image), init=init_image)
        with ExitStack() as undo:
            site = undo.enter_context(kind_site(options))
            for needed in filter(None, (images.pod, images.init)):
                image_in_nodes(site, options, needed)
            ranges = undo.enter_context(remote_ranges(site))
            super().__init__(
                site.cluster,
                implementation,
                images=images,
                timeout_s=timeout_s,
                init_timeout_s=init_timeout_s,
                name="kind",
                remote_ranges=ranges,
                keep=keep,
            )
            self._cluster_undo = undo.pop_all()

    def close(self) -> None:
        """Remove everything, the cluster too if it was made for this run."""
        with self._cluster_undo:
            super().close()

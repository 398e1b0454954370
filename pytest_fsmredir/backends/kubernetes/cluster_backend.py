"""The backend ``cluster``: any cluster that a kubeconfig names."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from pytest_fsmredir.backends.kubernetes.backend import KubernetesBackend
from pytest_fsmredir.backends.kubernetes.cluster.client import ApiError, Cluster
from pytest_fsmredir.backends.kubernetes.cluster.nodes import require_nodes
from pytest_fsmredir.backends.kubernetes.pods.injectors import Inject
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images
from pytest_fsmredir.errors import PreflightError

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_WANTED = (("create", "namespaces"), ("create", "pods"), ("create", "configmaps"))


class ClusterBackend(KubernetesBackend):
    """Run checks in an existing cluster, and make only a namespace in it.

    Args:
        inject: Returns the injection that puts the sidecar and the init container into pods.
        kubeconfig: Path of the kubeconfig; None for the user's default.
        context: Context in the kubeconfig; None for the current one.
        timeout_s: Seconds that a flow may take.
        init_timeout_s: Seconds that the init container may take.
        images: The images of the containers; the nodes have them or can pull them.
        keep: Do not delete the namespace at the end.
        nodes: Names of the nodes that a mesh can be pinned to; empty to let the scheduler choose.

    Raises:
        PreflightError: The cluster does not answer, no image is given, or a right is missing.
    """

    def __init__(
        self,
        inject: Inject,
        *,
        kubeconfig: Path | None = None,
        context: str | None = None,
        timeout_s: float,
        init_timeout_s: float = 30.0,
        images: Images,
        keep: bool = False,
        nodes: Sequence[str] = (),
    ) -> None:
        if not images.pod:
            raise PreflightError(
                "the cluster's nodes need an image that holds Python 3.11 or later and iptables;"
                " build fixtures/images/pod, push it where they can pull it, and name it:"
                " --fsm-pod-image IMAGE"
            )
        cluster = Cluster(kubeconfig, context)
        with ExitStack() as undo:
            undo.callback(cluster.close)
            _require_rights(cluster)
            require_nodes(cluster, nodes)
            super().__init__(
                cluster,
                inject,
                images=images,
                timeout_s=timeout_s,
                init_timeout_s=init_timeout_s,
                name="cluster",
                keep=keep,
                nodes=nodes,
            )
            undo.pop_all()


def _require_rights(cluster: Cluster) -> None:
    for verb, resource in _WANTED:
        attributes = {"verb": verb, "resource": resource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        try:
            allowed = cluster.create(_REVIEWS, review)["status"]["allowed"]
        except ApiError as error:
            raise PreflightError(f"the cluster does not answer: {error}") from None
        if not allowed:
            raise PreflightError(
                f"this user may not {verb} {resource} in the cluster; see: kubectl auth can-i"
                f" {verb} {resource}"
            )

"""The backend ``cluster``: any cluster that a kubeconfig leads to."""

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
    """Pods of somebody's cluster; nothing but a namespace is made in it.

    Args:
        inject: Makes what injects the pods.
        kubeconfig: Its kubeconfig; None for the user's own.
        context: The context in it; None for the current one.
        timeout_s: How long a flow may take.
        init_timeout_s: How long the init container may take.
        images: Where containers come from; its nodes have or can pull them.
        keep: Leave the namespace behind.
        nodes: Names of the nodes that meshes can be asked for; none for any.

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

"""The command line options that name a cluster and the image of containers that are added to it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.cluster.kind import image_in_nodes, named_site
from pytest_fsmredir.backends.kubernetes.cluster.remote import remote_ranges
from pytest_fsmredir.backends.kubernetes.pods.images import pod_image
from pytest_fsmredir.errors import SettingsError


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """A cluster, and the means to make our pods there.

    Attributes:
        cluster: The API of the cluster.
        image: The image of our pods and of the agent; the nodes have or can pull it.
        ranges: Addresses outside the cluster that its nodes answer for.
    """

    cluster: Cluster
    image: str
    ranges: Sequence[str] = ()


def cluster_access(
    arguments: argparse.Namespace, undo: ExitStack, *, answering: bool
) -> ClusterAccess:
    """Return the cluster that the options name.

    Args:
        arguments: The parsed options.
        undo: Closes what this function opens.
        answering: Let the nodes of a kind cluster answer for addresses outside of it.

    Raises:
        SettingsError: The options contradict each other, or no image is given.
        PreflightError: The cluster cannot be reached.
    """
    if arguments.kind_cluster:
        if arguments.kubeconfig or arguments.context:
            raise SettingsError("give --kind-cluster, or --kubeconfig and --context: not both")
        site = undo.enter_context(named_site(arguments.kind_cluster))
        image = pod_image(arguments.pod_image)
        image_in_nodes(site, image)
        ranges = undo.enter_context(remote_ranges(site)) if answering else ()
        return ClusterAccess(site.cluster, image, ranges)
    if not arguments.pod_image:
        raise SettingsError(
            "the container that is added to the pod needs an image that holds Python 3.11 or later,"
            " and that the nodes have or can pull: --pod-image IMAGE (a kind cluster:"
            " --kind-cluster NAME brings one)"
        )
    cluster = Cluster(arguments.kubeconfig, arguments.context)
    return ClusterAccess(undo.enter_context(closing(cluster)), arguments.pod_image)

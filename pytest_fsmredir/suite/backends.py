"""Make backends from the settings, and the cluster that all processes of a session share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_fsmredir.backends.measuring import Amounts, Bench
from pytest_fsmredir.backends.protocols import Backend
from pytest_fsmredir.config.parsing import CLUSTER, KIND, NETNS
from pytest_fsmredir.config.rerun import DEFAULT_CLUSTER
from pytest_fsmredir.config.settings import KubernetesSettings, Settings
from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.implementations.base import Implementation, IptablesVariant
from pytest_fsmredir.implementations.circuit_breaker import CircuitBreaker
from pytest_fsmredir.implementations.in_cluster import InCluster
from pytest_fsmredir.implementations.replayed.pod import ReplayedPod
from pytest_fsmredir.suite.nodes import choose, require_ready

if TYPE_CHECKING:
    from pytest_kind import KindCluster

    from pytest_fsmredir.backends.kubernetes.cluster.kind import KindOptions
    from pytest_fsmredir.backends.kubernetes.cluster.nodes import Node
    from pytest_fsmredir.backends.kubernetes.kind_backend import ClusterContext
    from pytest_fsmredir.backends.kubernetes.pods.injectors import Inject
    from pytest_fsmredir.backends.kubernetes.pods.manifests import Images
    from pytest_fsmredir.backends.netns.backend import NetnsBackend
    from pytest_fsmredir.backends.netns.replaying import ReplayBackend
    from pytest_fsmredir.model.capture import Capture


def make_backend(
    name: str,
    settings: Settings,
    implementation: Implementation,
    *,
    is_worker: bool,
    nodes: Sequence[str] = (),
) -> Backend:
    """Make a backend; the caller closes it.

    Args:
        name: Name of the backend on the command line.
        settings: The user's settings.
        implementation: The implementation under test.
        is_worker: Whether this is a worker of xdist. The controller owns the kind cluster: see
            :func:`shared_cluster`.
        nodes: Names of the nodes that meshes can use; empty for any.

    Raises:
        PreflightError: A prerequisite is missing; the message says how to install it.
        BackendError: The creation fails.
    """
    if name == NETNS:
        return _netns(settings, implementation)
    if name == KIND:
        return _kind(
            settings, implementation, _cluster_context(settings, is_worker=is_worker), nodes
        )
    return _cluster(settings, implementation, nodes)


def replay_backend(
    pod: ReplayedPod, *, families: tuple[int, ...], timeout_s: float
) -> ReplayBackend:
    """Make a backend whose one pod is a captured one; the caller closes it."""
    from pytest_fsmredir.backends.netns.replaying import ReplayBackend

    return ReplayBackend(pod.capture, pod, families=families, timeout_s=timeout_s)


def rebuilding(file: Path, timeout_s: float) -> tuple[Capture, Callable[[str], ReplayBackend]]:
    """Return the captured pod in a file, and what makes its backend for a default variant.

    Raises:
        CaptureError: The file is malformed.
    """
    from pytest_fsmredir.model.capture_file import read_capture  # loads the YAML library

    pod = ReplayedPod(read_capture(file))

    def make(default: str) -> ReplayBackend:
        backend = replay_backend(pod, families=pod.capture.families, timeout_s=timeout_s)
        backend.iptables = pod.iptables or IptablesVariant(default)
        return backend

    return pod.capture, make


def backend_on(
    handle: KindCluster,
    settings: Settings,
    implementation: Implementation,
    nodes: Sequence[str] = (),
) -> Backend:
    """Make a backend on a running kind cluster; the caller closes it.

    Args:
        handle: The cluster object of pytest-kind.
        settings: The user's settings.
        implementation: The implementation under test.
        nodes: Names of the nodes that meshes can use; empty for any.

    Raises:
        PreflightError: A prerequisite is missing; the message says how to install it.
        BackendError: The creation fails.
    """
    return _kind(settings, implementation, _cluster_context(settings, handle=handle), nodes)


@contextmanager
def shared_cluster(settings: Settings) -> Iterator[None]:
    """Provide the kind cluster that all processes of a session share, if the run uses kind.

    Raises:
        SettingsError: Several processes would test a mesh that only one process can test.
        PreflightError: A prerequisite is missing; the message says how to install it.
        BackendError: The creation fails.
    """
    if any(settings.kubernetes.by_webhook(name) for name in settings.backends):
        raise SettingsError(
            "-n: in webhook mode a run changes the lists of the MeshConfig for one group of pods"
            " after another, so several processes would disturb each other; run it without -n"
        )
    with ExitStack() as undo:
        if KIND in settings.backends:
            undo.enter_context(_cluster_context(settings)).answered()
        yield


@contextmanager
def benchmark_backend(
    settings: Settings, implementation: Implementation, amounts: Amounts
) -> Iterator[Callable[[int, IptablesVariant], Bench]]:
    """Provide what makes the benchmark's pods of an IP version and an iptables variant.

    Args:
        settings: The user's settings.
        implementation: The implementation under test.
        amounts: How much one measurement sends.

    Raises:
        BackendError: The creation fails.
    """
    from pytest_fsmredir.backends.netns.measuring import NetnsBench

    # A thread that makes pods in advance would disturb the measurements.
    with closing(_netns(settings, implementation, in_advance=False)) as backend:

        def bench(family: int, iptables: IptablesVariant) -> Bench:
            return NetnsBench(
                backend,
                family,
                iptables,
                amounts=amounts,
                timeout_s=settings.timeout_s,
                with_sidecar=settings.pipy is not None,
            )

        yield bench


def nodes_to_run_on(settings: Settings, *, ready: bool) -> dict[str, list[str]]:
    """Return the names of the nodes to run on, by backend; empty if the options name no nodes.

    Args:
        settings: The user's settings.
        ready: Whether to require that pods can run on the nodes.

    Raises:
        SettingsError: A named node does not exist.
        PreflightError: The nodes cannot be listed, or one of them cannot run pods.
    """
    asked = settings.kubernetes.nodes
    if not asked:
        return {}
    there = {name: _nodes(name, settings) for name in settings.backends if name != NETNS}
    chosen = choose(asked, there)
    if ready:
        require_ready(chosen)
    return {backend: [node.name for node in nodes] for backend, nodes in chosen.items()}


def _nodes(name: str, settings: Settings) -> tuple[Node, ...]:
    if name == KIND:
        from pytest_fsmredir.backends.kubernetes.cluster.kind import kind_nodes

        return kind_nodes(kind_options(settings))
    from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
    from pytest_fsmredir.backends.kubernetes.cluster.nodes import nodes_of

    asked = settings.kubernetes
    with closing(Cluster(asked.kubeconfig, asked.context or None)) as cluster:
        return nodes_of(cluster)


def _netns(
    settings: Settings, implementation: Implementation, *, in_advance: bool = True
) -> NetnsBackend:
    from pytest_fsmredir.backends.netns.backend import NetnsBackend

    if isinstance(implementation, ReplayedPod):
        return replay_backend(
            implementation, families=settings.families, timeout_s=settings.timeout_s
        )
    deadline_s = settings.init_timeout_s
    return NetnsBackend(
        CircuitBreaker(implementation, deadline_s),
        families=settings.families,
        timeout_s=settings.timeout_s,
        init_timeout_s=deadline_s,
        privileged=settings.init_privileged,
        pipy=settings.pipy,
        in_advance=in_advance,
    )


def _kind(
    settings: Settings,
    implementation: Implementation,
    cluster_context: AbstractContextManager[ClusterContext],
    nodes: Sequence[str] = (),
) -> Backend:
    from pytest_fsmredir.backends.kubernetes.kind_backend import KindBackend

    return KindBackend(
        _inject(KIND, settings, implementation),
        cluster_context,
        timeout_s=settings.timeout_s,
        init_timeout_s=settings.init_timeout_s,
        keep=settings.kubernetes.keep,
        nodes=nodes,
    )


def _cluster(settings: Settings, implementation: Implementation, nodes: Sequence[str]) -> Backend:
    from pytest_fsmredir.backends.kubernetes.cluster_backend import ClusterBackend
    from pytest_fsmredir.backends.kubernetes.pods.pipy import pipy_container

    asked = settings.kubernetes
    pipy = pipy_container(asked.pipy_image) if asked.pipy_image else {}
    return ClusterBackend(
        _inject(CLUSTER, settings, implementation),
        kubeconfig=asked.kubeconfig,
        context=asked.context or None,
        timeout_s=settings.timeout_s,
        init_timeout_s=settings.init_timeout_s,
        images=_images(settings, asked.pod_image, pipy),
        keep=asked.keep,
        nodes=nodes,
    )


def _inject(backend: str, settings: Settings, implementation: Implementation) -> Inject:
    """Return who injects the pods of a backend."""
    from pytest_fsmredir.backends.kubernetes.pods.injectors import by_hand
    from pytest_fsmredir.backends.kubernetes.pods.webhook import by_webhook

    asked = settings.kubernetes
    if asked.by_webhook(backend):
        return by_webhook(asked.mesh_name, asked.mesh_namespace)
    return by_hand(None if isinstance(implementation, InCluster) else implementation)


def _cluster_context(
    settings: Settings, *, is_worker: bool = False, handle: KindCluster | None = None
) -> AbstractContextManager[ClusterContext]:
    from pytest_fsmredir.backends.kubernetes.kind_backend import (
        kind_cluster_context,
        shared_cluster_context,
    )

    options, find_images = kind_options(settings), partial(_kind_images, settings)
    if is_worker:
        return shared_cluster_context(options, find_images)
    return kind_cluster_context(options, find_images, handle=handle)


def _kind_images(settings: Settings) -> Images:
    """Return the images of containers on kind, after pulling or building them with Docker."""
    from pytest_fsmredir.backends.kubernetes.pods.images import pod_image

    asked = settings.kubernetes
    return _images(settings, pod_image(asked.pod_image), _kind_sidecar(asked))


def _images(settings: Settings, pod: str, sidecar: Mapping[str, object]) -> Images:
    from pytest_fsmredir.backends.kubernetes.pods.manifests import AgentIn, Images

    asked = settings.kubernetes
    return Images(
        pod=pod,
        init=asked.init_image,
        init_privileged=settings.init_privileged,
        agent_in=AgentIn(asked.agent),
        app=asked.app_image,
        sidecar=sidecar,
    )


def _kind_sidecar(asked: KubernetesSettings) -> Mapping[str, object]:
    """Return the foreign sidecar of pods that we inject on kind; empty for our recorder."""
    from pytest_fsmredir.backends.kubernetes.pods.pipy import pipy_here, pipy_if_here

    if asked.by_webhook(KIND) or asked.sidecar == "recorder":
        return {}
    if asked.sidecar == "pipy" or asked.pipy_image:
        return pipy_here(asked.pipy_image)
    return pipy_if_here()


def kind_options(settings: Settings) -> KindOptions:
    """Return the options of pytest-kind."""
    from pytest_fsmredir.backends.kubernetes.cluster.kind import KindOptions

    given = settings.kubernetes.pytest_kind
    kubeconfig = given.get("kubeconfig")
    return KindOptions(
        name=given.get("cluster_name", DEFAULT_CLUSTER),
        keep=bool(given.get("keep_cluster")),
        image=given.get("kind_image", ""),
        kind=given.get("kind_bin", ""),
        kubectl=given.get("kind_kubectl_bin", ""),
        kubeconfig=Path(kubeconfig) if kubeconfig else None,
        config=settings.kubernetes.kind_config,
    )

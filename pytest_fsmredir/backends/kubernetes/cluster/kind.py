"""Make or find a kind cluster by pytest-kind, and load the images of a run into its nodes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import yaml
from tenacity import (
    RetryError,
    Retrying,
    retry_if_exception_type,
    retry_if_result,
    sleep_using_event,
    stop_when_event_set,
    wait_fixed,
)

from pytest_fsmredir import layout, procs, scratch
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.cluster.nodes import Node, names_in_kind, nodes_of
from pytest_fsmredir.errors import (
    BackendError,
    CommandError,
    FsmRedirError,
    PreflightError,
)

if TYPE_CHECKING:
    from pytest_kind import KindCluster

CREATE_S = 300.0
"""Seconds that kind may take to make a cluster; kind's own timeouts are longer."""

COMMAND_S = 120.0
"""Seconds that any other command of kind or docker may take; loading an image takes longest."""

IMAGE_LIMIT = 8 * 1024**3
"""Maximum size in bytes of the file by which kind loads an image into the nodes."""

_LOOK_S = 0.5  # seconds between two looks whether new nodes accept images

_OUR_CONFIG = layout.fixtures() / "manifests" / "kind.yaml"

_REMEDIES = {
    "docker": "install Docker: https://docs.docker.com/engine/install/",
    "kind": "install kind: https://kind.sigs.k8s.io/docs/user/quick-start/#installation",
    "kubectl": "install kubectl: https://kubernetes.io/docs/tasks/tools/",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KindOptions:
    """The options of pytest-kind.

    Attributes:
        name: ``--cluster-name``.
        keep: ``--keep-cluster``.
        image: ``--kind-image``; empty for kind's default.
        kind: ``--kind-bin``; empty for the one on PATH.
        kubectl: ``--kind-kubectl-bin``; empty for the one on PATH.
        kubeconfig: ``--kubeconfig``; None for pytest-kind's default path.
        config: Configuration file of a new cluster; None for ours.
    """

    name: str = "pytest-kind"
    keep: bool = False
    image: str = ""
    kind: str = ""
    kubectl: str = ""
    kubeconfig: Path | None = None
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class KindSite:
    """A running kind cluster.

    Attributes:
        handle: The handle of pytest-kind.
        cluster: The API of the cluster.
        nodes: Names of its node containers.
        fleeting: It is deleted at the end, so nothing in it has to be removed before.
    """

    handle: KindCluster
    cluster: Cluster
    nodes: tuple[str, ...]
    fleeting: bool = False


def preflight(options: KindOptions) -> None:
    """Check that the programs are installed and Docker runs; change nothing.

    Raises:
        PreflightError: Something is missing; the message says how to get it.
    """
    for given, name in ((options.kind, "kind"), (options.kubectl, "kubectl"), ("", "docker")):
        _program(given, name)
    try:
        import pytest_kind  # noqa: F401
    except ImportError:
        raise PreflightError(
            "pytest-kind is missing; install it: pip install 'pytest-fsmredir[kind]'"
        ) from None
    try:
        procs.run(["docker", "info", "--format", "{{.ID}}"], timeout_s=COMMAND_S)
    except CommandError as error:
        raise PreflightError(f"Docker does not answer; start it: {error}") from None


@contextmanager
def kind_site(
    options: KindOptions, images: Callable[[], Sequence[str]] = tuple
) -> Iterator[KindSite]:
    """Provide a kind cluster for the block; use a running one and leave it as it was.

    Args:
        options: The options of pytest-kind.
        images: Returns images in Docker that :func:`image_in_nodes` will need. If the cluster has
            to be made, another thread calls it and loads them while kind makes the cluster.

    Raises:
        BackendError: kind could not make the cluster.
    """
    made = options.name not in _running(options)
    handle = handle_of(options)
    with ExitStack() as undo:
        if made and not options.keep:
            delete = [str(handle.kind_path), "delete", "cluster", "--name", handle.name]
            undo.enter_context(procs.guarded(delete))
            undo.callback(handle.delete)
        with _loading(handle, images) if made else nullcontext():
            _bring_up(handle, options.config or _OUR_CONFIG, made=made)
        yield undo.enter_context(running_site(handle, fleeting=made and not options.keep))


def kind_nodes(options: KindOptions) -> tuple[Node, ...]:
    """Return the nodes that a kind cluster has, or will have when it is made.

    Raises:
        PreflightError: Something is missing; the message says how to get it.
    """
    preflight(options)
    if options.name in _running(options):
        with kind_site(replace(options, keep=True)) as site:
            return nodes_of(site.cluster)
    config = options.config or _OUR_CONFIG
    try:
        document = yaml.safe_load(config.read_text(encoding="utf-8"))
        roles = [node["role"] for node in document.get("nodes") or [{"role": "control-plane"}]]
    except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise PreflightError(f"{config} is not a kind configuration: {error}") from None
    return tuple(Node(name) for name in names_in_kind(options.name, roles))


@contextmanager
def named_site(name: str, *, kind: str = "", kubectl: str = "") -> Iterator[KindSite]:
    """Use a running kind cluster of this machine for the block.

    Args:
        name: Name of the cluster.
        kind: Path of kind; empty for the one on PATH.
        kubectl: Path of kubectl; empty for the one on PATH.

    Raises:
        PreflightError: No kind cluster of that name runs.
    """
    kubeconfig = scratch.directory("kind") / "kubeconfig"
    options = KindOptions(name=name, keep=True, kubeconfig=kubeconfig, kind=kind, kubectl=kubectl)
    preflight(options)
    running = _running(options)
    if name not in running:
        raise PreflightError(
            f"no kind cluster {name!r} runs on this machine (running:"
            f" {', '.join(running) or 'none'}); make it: kind create cluster --name {name}"
        )
    with kind_site(options) as site:
        yield site


@contextmanager
def running_site(handle: KindCluster, *, fleeting: bool = False) -> Iterator[KindSite]:
    """Use a running kind cluster for the block, given its handle."""
    with closing(Cluster(handle.kubeconfig_path)) as cluster:
        cluster.kubectl = (str(handle.kubectl_path), *cluster.options)
        # Name the cluster and not its kubeconfig, which may be a temporary file.
        programs = ("--kind-bin", str(handle.kind_path), "--kind-kubectl-bin")
        cluster.options = ("--kind-cluster", handle.name, *programs, str(handle.kubectl_path))
        yield KindSite(handle, cluster, _node_names(handle), fleeting)


def handle_of(options: KindOptions) -> KindCluster:
    """Return pytest-kind's handle on a cluster, with the paths of kind and kubectl.

    Raises:
        PreflightError: A program is missing.
    """
    from pytest_kind import KindCluster

    return KindCluster(
        options.name,
        options.kubeconfig,
        image=options.image or None,
        kind_path=Path(_program(options.kind, "kind")),
        kubectl_path=Path(_program(options.kubectl, "kubectl")),
    )


def image_in_nodes(site: KindSite, image: str) -> None:
    """Load an image from Docker into the nodes, unless they have it.

    Raises:
        PreflightError: Neither the nodes nor Docker have it.
    """
    if all(_has(node, image) for node in site.nodes):
        return
    require_image(image)
    _load(site.handle, image)


def require_image(image: str) -> None:
    """Check that Docker has an image.

    Raises:
        PreflightError: Docker does not have it; the message contains the command to pull it.
    """
    try:
        procs.run(["docker", "image", "inspect", "--format", "{{.Id}}", image])
    except CommandError:
        raise PreflightError(
            f"the image {image} is not on this machine; get it: docker pull {image}"
        ) from None


def _running(options: KindOptions) -> list[str]:
    """Return the names of the kind clusters of this machine."""
    kind = _program(options.kind, "kind")
    return procs.run([kind, "get", "clusters"], timeout_s=COMMAND_S).split()


def _bring_up(handle: KindCluster, config: Path, *, made: bool) -> None:
    if not made:
        path, kind = str(handle.kubeconfig_path), str(handle.kind_path)
        argv = [kind, "export", "kubeconfig", "--name", handle.name, "--kubeconfig", path]
        procs.run(argv, timeout_s=COMMAND_S)
    try:
        handle.create(config if made else None)
    except Exception as error:
        raise BackendError(f"kind could not make the cluster {handle.name}: {error}") from error


@contextmanager
def _loading(handle: KindCluster, images: Callable[[], Sequence[str]]) -> Iterator[None]:
    """Load images while kind makes a cluster in the block.

    Nodes accept images long before the cluster is up. Errors are ignored here: the caller gets
    those of ``images`` itself, and :func:`image_in_nodes` loads what is missing.
    """
    over = Event()
    loader = Thread(target=_load_early, args=(handle, images, over), name="fsmredir-images")
    loader.start()
    try:
        yield
    finally:
        over.set()
        loader.join()


def _load_early(handle: KindCluster, images: Callable[[], Sequence[str]], over: Event) -> None:
    retrying = Retrying(
        stop=stop_when_event_set(over),
        sleep=sleep_using_event(over),
        wait=wait_fixed(_LOOK_S),
        retry=retry_if_exception_type(CommandError) | retry_if_result(lambda ready: not ready),
    )
    with suppress(FsmRedirError, RetryError):
        needed = images()
        retrying(_takes_images, handle)
        for image in needed:
            _load(handle, image)


def _takes_images(handle: KindCluster) -> bool:
    """Whether the cluster has nodes that accept images.

    Raises:
        CommandError: The image store of a node does not answer yet.
    """
    nodes = _node_names(handle)
    for node in nodes:
        _images_of(node)
    return bool(nodes)


def _load(handle: KindCluster, image: str) -> None:
    argv = [str(handle.kind_path), "load", "docker-image", "--name", handle.name, image]
    procs.run(argv, timeout_s=COMMAND_S, file_limit=IMAGE_LIMIT)  # kind saves the image to a file


def _node_names(handle: KindCluster) -> tuple[str, ...]:
    argv = [str(handle.kind_path), "get", "nodes", "--name", handle.name]
    return tuple(procs.run(argv, timeout_s=COMMAND_S).split())


def in_node(node: str, argv: Sequence[str]) -> str:
    """Run a program in a node, and return its standard output."""
    return procs.run(["docker", "exec", node, *argv], timeout_s=COMMAND_S)


def _has(node: str, image: str) -> bool:
    # containerd lists an image by its full name, with the registry.
    return any(name == image or name.endswith(f"/{image}") for name in _images_of(node))


def _images_of(node: str) -> list[str]:
    return in_node(node, ["ctr", "--namespace", "k8s.io", "images", "ls", "--quiet"]).split()


def _program(given: str, name: str) -> str:
    found = shutil.which(given or name)
    if found is None:
        raise PreflightError(f"the program {given or name!r} is not installed; {_REMEDIES[name]}")
    return os.path.abspath(found)  # noqa: PTH100 - keep the symbolic link of a version manager

"""``mesh install|remove|image``: manage the reference mesh from the command line.

Exit status: 0 done, 1 not done (the reason is on standard error), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.cluster.kind import image_in_nodes, named_site
from pytest_fsmredir.backends.kubernetes.pods.images import mesh_image
from pytest_fsmredir.errors import FsmRedirError, PreflightError, SettingsError
from pytest_fsmredir.reference_mesh.install import install, remove
from pytest_fsmredir.reference_mesh.lists import lists_of


def main(argv: Sequence[str]) -> int:
    """Run one action, and return the exit status."""
    actions: Mapping[str, Callable[[argparse.Namespace], None]] = {
        "install": _install,
        "remove": _remove,
        "image": _image,
    }
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as end:  # argparse has printed the reason
        return int(end.code or 0)
    try:
        actions[arguments.action](arguments)
    except SettingsError as why:
        sys.stderr.write(f"{why}\n")
        return 2
    except FsmRedirError as why:
        sys.stderr.write(f"not done: {why}\n")
        return 1
    return 0


def _install(arguments: argparse.Namespace) -> None:
    lists = lists_of(arguments.set)
    _refuse_two_clusters(arguments)
    with ExitStack() as undo:
        if arguments.kind_cluster:
            site = undo.enter_context(named_site(arguments.kind_cluster))
            image = mesh_image(arguments.image)
            image_in_nodes(site, image)
            cluster = site.cluster
        else:
            image = arguments.image or _no_image()
            cluster = _cluster(undo, arguments)
        install(cluster, image, lists, _say)


def _remove(arguments: argparse.Namespace) -> None:
    _refuse_two_clusters(arguments)
    with ExitStack() as undo:
        if arguments.kind_cluster:
            cluster = undo.enter_context(named_site(arguments.kind_cluster)).cluster
        else:
            cluster = _cluster(undo, arguments)
        remove(cluster, _say)


def _image(arguments: argparse.Namespace) -> None:
    _say(mesh_image("", arguments.tag))


def _refuse_two_clusters(arguments: argparse.Namespace) -> None:
    if arguments.kind_cluster and (arguments.kubeconfig or arguments.context):
        raise SettingsError("give --kind-cluster, or --kubeconfig and --context: not both")


def _cluster(undo: ExitStack, arguments: argparse.Namespace) -> Cluster:
    cluster = Cluster(arguments.kubeconfig, arguments.context)
    undo.callback(cluster.close)
    return cluster


def _no_image() -> str:
    raise PreflightError(
        "the cluster's nodes need the mesh's image; build it, push it where they can pull it, and"
        " name it: python -m pytest_fsmredir mesh image --tag IMAGE, docker push IMAGE, then"
        " mesh install --image IMAGE (a kind cluster: --kind-cluster NAME does all that)"
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_fsmredir mesh",
        description="A small mesh in FSM's group and shape, to try --fsm-inject=webhook on.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    installing = actions.add_parser("install", help="install it, or upgrade one that is there")
    removing = actions.add_parser("remove", help="remove it and everything of it")
    for each in (installing, removing):
        each.add_argument("--kubeconfig", type=Path, help="default: as kubectl has it")
        each.add_argument("--context", help="context in it; default: the current one")
        each.add_argument("--kind-cluster", metavar="NAME", help="a kind cluster of this machine")
    installing.add_argument(
        "--image", default="", help="of the mesh; with --kind-cluster it is built if left out"
    )
    installing.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=LIST",
        help='such as fsm.outboundIPRangeExclusionList="{1.1.1.1/32,2.2.2.2/24}"',
    )
    building = actions.add_parser("image", help="build the mesh's image, and print its name")
    building.add_argument("--tag", default="", help="what to call it; default: by its content")
    return parser

"""``clean``: remove what killed runs left in a cluster.

Exit status: 0 done, 1 not done (the reason is on standard error), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.cluster.kind import named_site
from pytest_fsmredir.backends.kubernetes.cluster.remote import forget_routes
from pytest_fsmredir.backends.kubernetes.leftovers import clean
from pytest_fsmredir.errors import FsmRedirError


def main(argv: Sequence[str]) -> int:
    """Clean a cluster, list what was removed, and return the exit status."""
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
        if arguments.kind_cluster and (arguments.kubeconfig or arguments.context):
            parser.error("give --kind-cluster, or --kubeconfig and --context: not both")
    except SystemExit as end:  # argparse has printed the reason already
        return int(end.code or 0)
    try:
        removed = _removed(arguments)
    except FsmRedirError as why:
        sys.stderr.write(f"not done: {why}\n")
        return 1
    for what in removed or ["nothing: no ended run left anything"]:
        sys.stdout.write(f"removed: {what}\n")
    return 0


def _removed(arguments: argparse.Namespace) -> list[str]:
    if not arguments.kind_cluster:
        with closing(Cluster(arguments.kubeconfig, arguments.context)) as cluster:
            return clean(cluster, arguments.mesh_namespace)
    programs = {"kind": arguments.kind_bin, "kubectl": arguments.kind_kubectl_bin}
    with named_site(arguments.kind_cluster, **programs) as site:
        removed = clean(site.cluster, arguments.mesh_namespace)
        ranges = forget_routes(site)
        return removed + [f"{each}, which the nodes answered for" for each in ranges]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_fsmredir clean",
        description="Remove what killed conformance runs left in a cluster: their"
        " namespaces, and lists that they set in a MeshConfig. Running runs are not affected.",
    )
    parser.add_argument("--kubeconfig", type=Path, help="default: as kubectl")
    parser.add_argument("--context", help="kubeconfig context (default: current)")
    parser.add_argument("--kind-cluster", metavar="NAME", help="a kind cluster of this machine")
    parser.add_argument("--kind-bin", default="", metavar="PATH", help="default: kind on PATH")
    parser.add_argument(
        "--kind-kubectl-bin", default="", metavar="PATH", help="default: kubectl on PATH"
    )
    parser.add_argument(
        "--mesh-namespace", default="fsm-system", metavar="NAME", help="where the MeshConfig is"
    )
    return parser

"""Declare the command line options that name a cluster; needs no client of clusters."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

TIMEOUT_S: Final = 5.0
"""When the answer to a flow of a command counts as missing: the default of --fsm-timeout."""


def add_cluster_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the options that :func:`~pytest_fsmredir.cli.cluster_access.cluster_access` reads."""
    parser.add_argument(
        "--kubeconfig", type=Path, help="kubeconfig (default: KUBECONFIG or ~/.kube/config)"
    )
    parser.add_argument("--context", help="kubeconfig context (default: current)")
    parser.add_argument(
        "--kind-cluster",
        metavar="NAME",
        help="use this kind cluster of this machine instead of a kubeconfig",
    )
    parser.add_argument(
        "--pod-image",
        default="",
        metavar="IMAGE",
        help="of the added container, with Python 3.11; with --kind-cluster it is built if left"
        " out",
    )
    parser.add_argument(
        "--mesh-namespace",
        default="fsm-system",
        metavar="NAME",
        help="namespace of the MeshConfig (default: fsm-system)",
    )

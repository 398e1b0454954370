"""``selfcheck print``: print the check with the lists of a pod.

Exit status: 0 printed, 2 wrong input (the reason is on standard error).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pytest_fsmredir.cli.rules.options import configuration
from pytest_fsmredir.cli.selfcheck.joining import joined
from pytest_fsmredir.errors import FsmRedirError, SettingsError


def main(argv: Sequence[str]) -> int:
    """Print the check, and return the exit status."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as end:  # argparse has printed the reason already
        return int(end.code or 0)
    try:
        given = configuration(arguments, _annotations(arguments.annotations))
        given.policy()  # refuses malformed items
        lists = {name.value: list(items) for name, items in given.effective().items() if items}
        sys.stdout.write(joined(lists))
    except FsmRedirError as why:
        sys.stderr.write(f"not printed: {why}\n")
        return 2
    return 0


def _annotations(file: Path | None) -> dict[str, str]:
    """Return the annotations of a Pod, or of the pods of a Deployment, Job or the like.

    Raises:
        SettingsError: The file is no such object.
    """
    if file is None:
        return {}
    try:
        found = [each for each in yaml.safe_load_all(file.read_text()) if _pod_of(each)]
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as why:
        raise SettingsError(f"--annotations {file}: {why}") from None
    if len(found) != 1:
        raise SettingsError(f"--annotations {file}: it holds {len(found)} pods or workloads, not 1")
    return dict((_pod_of(found[0]).get("metadata") or {}).get("annotations") or {})


def _pod_of(document: object) -> dict[str, Any]:
    """Return a Pod or the template of its pods; nothing for other objects."""
    if not isinstance(document, dict):
        return {}
    if document.get("kind") == "Pod":
        return document
    spec = document.get("spec")
    if document.get("kind") == "CronJob" and isinstance(spec, dict):
        return _pod_of({**(spec.get("jobTemplate") or {}), "kind": "Job"})
    template = spec.get("template") if isinstance(spec, dict) else None
    return template if isinstance(template, dict) else {}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_fsmredir selfcheck",
        description="Print a check that a pod runs in itself: one file for Python 3.8 or newer,"
        " which needs no package and no privilege. It also takes the lists in the variables"
        " FSM_..._LIST of its environment, such as those of the downward API.",
    )
    parser.add_argument("action", choices=["print"])
    parser.add_argument(
        "--annotations", type=Path, metavar="FILE", help="a Pod, Deployment or the like as YAML"
    )
    parser.add_argument(
        "--annotation", action="append", default=[], metavar="NAME=VALUE", help="an annotation"
    )
    parser.add_argument(
        "--mesh-config", type=Path, metavar="FILE", help="a MeshConfig as YAML or JSON"
    )
    return parser

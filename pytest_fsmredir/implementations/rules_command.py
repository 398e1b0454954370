"""``rules FILE``: run a rules template as an init command of the contract.

Exit status: 0 done, 1 refused (the reason is on standard error).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.implementations.base import Completed, IptablesVariant, Refused
from pytest_fsmredir.implementations.rules_file import RulesFile
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.procs import run_any


@dataclass(frozen=True, slots=True)
class ThisPod:
    """The pod of this process; see :class:`pytest_fsmredir.implementations.base.Target`."""

    name: str
    addresses: tuple[str, ...]
    configuration: Configuration
    iptables: IptablesVariant

    def run(self, argv: Sequence[str], stdin: str = "") -> Completed:
        """Run a program."""
        return Completed(*run_any(argv, stdin=stdin))


def main(argv: Sequence[str]) -> int:
    """Program the network namespace of this process.

    Args:
        argv: The path of the template.

    Returns:
        Exit status: 0 done, 1 refused.
    """
    (file,) = argv
    try:
        RulesFile(Path(file)).program(_this_pod(os.environ))
    except (Refused, SettingsError) as why:
        sys.stderr.write(f"refused: {why}\n")
        return 1
    return 0


def _this_pod(environment: Mapping[str, str]) -> ThisPod:
    pod = _document(environment["FSM_POD"])
    return ThisPod(
        pod["metadata"].get("name", ""),
        tuple(environment["POD_IPS"].split(",")),
        Configuration.of(pod, _document(environment["FSM_MESH_CONFIG"])),
        IptablesVariant(environment["FSM_IPTABLES"]),
    )


def _document(path: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return document

"""Volatile facts of a run: time, machine, command. No verdict depends on them."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from importlib.metadata import version
from typing import Any

import pytest

from pytest_fsmredir.backends.netns.programs import iptables_version
from pytest_fsmredir.config.options import arguments
from pytest_fsmredir.errors import FsmRedirError
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.outcomes import Variant
from pytest_fsmredir.report.hygiene import Hygiene
from pytest_fsmredir.suite.plan import Plan
from pytest_fsmredir.suite.results import Results


class Ended(StrEnum):
    """How a run ended."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    BROKEN = "broken"


@cache
def suite_version() -> str:
    """Return the version of this package."""
    return version("pytest-fsmredir")


def iptables_versions(variants: Iterable[Variant]) -> dict[str, str]:
    """Return the version of each iptables variant that is used on this machine.

    It is "unknown" if the program does not print one.
    """
    kinds = {variant.iptables for variant in variants if not variant.in_kubernetes}
    return {kind: _version(kind) for kind in sorted(kinds)}


def ended(results: Results) -> Ended:
    """Return how a run ended."""
    if results.trouble:
        return Ended.BROKEN
    return Ended.INTERRUPTED if results.interrupted else Ended.FINISHED


def facts(plan: Plan, results: Results, hygiene: Hygiene, config: pytest.Config) -> dict[str, Any]:
    """Return the volatile facts as plain values."""
    seconds = (datetime.now(UTC) - results.started).total_seconds()
    return {
        "ended": ended(results).value,
        **({"trouble": results.trouble} if results.trouble else {}),
        **({"remarks": list(results.remarks)} if results.remarks else {}),
        "started": results.started.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "seconds": round(seconds, 2),
        "host": {
            "kernel": platform.release(),
            "arch": platform.machine(),
            "iptables": iptables_versions(plan.variants),
            "python": platform.python_version(),
            "pytest": pytest.__version__,
            "privilege": results.privilege,
            **({"sidecar": results.sidecar} if results.sidecar else {}),
            **({"undenied": list(results.undenied)} if results.undenied else {}),
        },
        "argv": ["pytest", *arguments(config)],
        "options": dict(plan.settings.texts),
        "seed": plan.settings.seed,
        "attempts": 1,
        "hygiene": hygiene.as_dict(results.reruns),
    }


@cache
def _version(kind: str) -> str:
    try:
        return iptables_version(IptablesVariant(kind))
    except (FsmRedirError, ValueError):
        return "unknown"

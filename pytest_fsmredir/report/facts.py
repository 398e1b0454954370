"""Volatile facts of a run: time, machine, command. No verdict depends on them."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest

from pytest_fsmredir.config.sources import arguments
from pytest_fsmredir.report.hygiene import Hygiene
from pytest_fsmredir.report.rules import variant_document
from pytest_fsmredir.suite.plan import Plan
from pytest_fsmredir.suite.results import Results

_SLOWEST = 10  # checks


class Ended(StrEnum):
    """How a run ended."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    BROKEN = "broken"


def ended(results: Results) -> Ended:
    """Return how a run ended."""
    if results.trouble:
        return Ended.BROKEN
    return Ended.INTERRUPTED if results.interrupted else Ended.FINISHED


def _slowest(results: Results) -> list[dict[str, Any]]:
    rows = sorted(results.rows.values(), key=lambda row: -row.seconds)[:_SLOWEST]
    return [
        {"id": row.check, **variant_document(row.variant), "seconds": row.seconds}
        for row in rows
        if row.seconds
    ]


def _again(plan: Plan) -> list[dict[str, Any]]:
    """Return the command that re-runs a check on each variant, without the id of the check."""
    return [
        {
            **variant_document(variant),
            "command": plan.settings.again("ID", variant).removesuffix("ID"),
        }
        for variant in plan.variants
    ]


def facts(plan: Plan, results: Results, hygiene: Hygiene, config: pytest.Config) -> dict[str, Any]:
    """Return the volatile facts as plain values."""
    seconds = (datetime.now(UTC) - results.started).total_seconds()
    return {
        "ended": ended(results).value,
        **({"trouble": results.trouble} if results.trouble else {}),
        **({"remarks": list(results.remarks)} if results.remarks else {}),
        **({"slowest": slowest} if (slowest := _slowest(results)) else {}),
        "again": _again(plan),
        **({"evidence": found} if (found := results.evidence) else {}),
        "started": results.started.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "seconds": round(seconds, 2),
        "host": {
            "kernel": platform.release(),
            "arch": platform.machine(),
            "iptables": dict(results.iptables),
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
        **({"benchmark": dict(results.benchmark)} if results.benchmark else {}),
        "hygiene": hygiene.as_dict(results.reruns),
    }

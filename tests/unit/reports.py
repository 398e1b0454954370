"""Reports of runs that did not take place, with the catalogue of this version."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pytest_fsmredir.config.waivers import Waiver
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.implementations.select import claims
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.report.document import canonical
from pytest_fsmredir.report.known import present
from pytest_fsmredir.report.sums import SUMS, digests_of, sums_text
from pytest_fsmredir.report.write import write_report
from pytest_fsmredir.suite.judgement import judge_run
from pytest_fsmredir.suite.plan import Plan
from pytest_fsmredir.suite.results import Results

if TYPE_CHECKING:
    from tests.unit.conftest import Project

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the C version if libyaml is present
V4 = Variant("netns", "nft", 4)
FACTS = {
    "ended": "finished",
    "started": "2026-11-20T10:00:00Z",
    "seconds": 9.5,
    "host": {
        "kernel": "6.1", "arch": "x86_64", "iptables": {"nft": "1.8.9"}, "python": "3.12.1",
        "pytest": "9.0.0", "privilege": "root",
    },
    "argv": ["pytest", "--fsm-conformance"],
    "options": {"init-cmd": "sh init.sh", "timeout": "9"},
    "seed": 0,
    "attempts": 1,
    "hygiene": {
        "deselected": 0, "reruns": 0, "reordered": False, "workers": 0, "plugins": ["other 1"],
        "foreignConftests": [], "settings": {},
    },
}  # fmt: skip


def write(
    project: Project,
    name: str = "report",
    outcomes: Mapping[str, Outcome] = {},
    waivers: tuple[Waiver, ...] = (),
    *,
    rows: Iterable[Row] = (),
    variants: tuple[Variant, ...] = (V4,),
    facts: Mapping[str, Any] = FACTS,
) -> Path:
    """Write the report of a run in which every check passes, but for some.

    Args:
        project: Where to write.
        name: The directory.
        outcomes: The outcome of checks that do not pass, by id.
        waivers: The waivers.
        rows: Other rows, in the place of those of the same check and variant.
        variants: The points of the matrix.
        facts: The facts of the run.
    """
    families = {variant.family for variant in variants}
    settings = project.settings(init_cmd="sh init.sh", ip="4" if families == {4} else "both")
    settings = replace(settings, waivers=waivers)
    release = present()
    implementation = InitCommand(settings.init_cmd)
    plan = Plan(
        settings=settings,
        catalogue=release.catalogue,
        implementation=implementation,
        variants=variants,
        claims=claims(implementation, settings.features, inferred=True),
    )
    results = Results("root")
    given = {(row.check, row.variant): row for row in rows}
    for check in release.catalogue.checks:
        for variant in plan.variants_of(check):
            if not plan.unclaimed(check, variant):
                made = _row(check.id, variant, outcomes.get(check.id, Outcome.PASS))
                results.record(given.get((check.id, variant), made))
    directory = project.path / name
    directory.mkdir()
    write_report(plan, judge_run(plan, results), facts, directory)
    return directory


def _row(check: str, variant: Variant, outcome: Outcome) -> Row:
    row = Row(check=check, variant=variant, outcome=outcome, probes=1)
    if outcome is Outcome.PASS:
        return row
    return replace(row, reason="x: expected a; seen b", flow="x", expected="a", seen="b")


def forge(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a report in all its files, with fresh digests."""
    document = json.loads((directory / "report.json").read_text())
    change(document)
    (directory / "report.json").write_text(canonical(document) + "\n")
    (directory / "report.yaml").write_text(yaml.dump(document, Dumper=DUMPER, sort_keys=False))
    seal(directory)


def seal(directory: Path) -> None:
    """Write fresh digests."""
    every = [file for file in directory.rglob("*") if file.is_file()]
    files = [file for file in every if not file.name.startswith(SUMS)]
    (directory / SUMS).write_text(sums_text(digests_of(files, directory)))


def row_of(document: dict[str, Any], check: str) -> dict[str, Any]:
    """Return the first row of a check."""
    row: dict[str, Any] = next(each for each in document["checks"] if each["id"] == check)
    return row

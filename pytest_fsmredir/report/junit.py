"""Write the results as JUnit XML, for tools that need this format."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from pytest_fsmredir.model.checks import Catalogue, Profile
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.report.suites import SKIPPED, suite_name
from pytest_fsmredir.suite.deciding import explanation
from pytest_fsmredir.text import printable


def junit(catalogue: Catalogue, rows: Iterable[tuple[Profile, Row]], trouble: str = "") -> str:
    """Return the document: a suite for each variant, a case for each check.

    Args:
        catalogue: All checks.
        rows: One row for each check and variant, with its profile.
        trouble: Why the harness broke; it becomes a separate case with an error.
    """
    by_variant: dict[Variant, list[tuple[Profile, Row]]] = {}
    for profile, row in rows:
        by_variant.setdefault(row.variant, []).append((profile, row))
    root = ET.Element("testsuites", name="pytest-fsmredir")
    for variant in sorted(by_variant):
        root.append(_suite(catalogue, variant, by_variant[variant]))
    if trouble:
        root.append(_trouble(trouble))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(catalogue: Catalogue, variant: Variant, rows: list[tuple[Profile, Row]]) -> ET.Element:
    outcomes = [row.outcome for _, row in rows]
    suite = ET.Element(
        "testsuite",
        name=suite_name(variant),
        tests=str(len(rows)),
        failures=str(outcomes.count(Outcome.FAIL)),
        errors=str(outcomes.count(Outcome.ERROR)),
        skipped=str(sum(outcome in SKIPPED for outcome in outcomes)),
        time=f"{sum(row.seconds for _, row in rows):.3f}",
    )
    for profile, row in rows:
        suite.append(_case(f"{row.check} {catalogue[row.check].title}", profile, row))
    return suite


def _case(name: str, profile: Profile, row: Row) -> ET.Element:
    case = ET.Element("testcase", name=name, classname=profile.value, time=f"{row.seconds:.3f}")
    reason = printable(row.reason)
    if row.outcome is Outcome.FAIL:
        ET.SubElement(case, "failure", message=reason).text = _reasons(row)
    elif row.outcome is Outcome.ERROR:
        ET.SubElement(case, "error", message=reason)
    elif row.outcome in SKIPPED:
        ET.SubElement(case, "skipped", message=f"{row.outcome}: {reason}".rstrip(": "))
    elif reason:
        ET.SubElement(case, "system-out").text = f"{row.outcome}: {reason}"
    return case


def _reasons(row: Row) -> str | None:
    """Return what the rules say about the flow of a failed check, as the terminal shows it."""
    lines = [f"{name:<12} {text}" for name, text in explanation(row)]
    return printable("\n".join(lines)) or None


def _trouble(trouble: str) -> ET.Element:
    suite = ET.Element(
        "testsuite", name="harness", tests="1", failures="0", errors="1", skipped="0"
    )
    case = ET.SubElement(suite, "testcase", name="the harness works", classname="harness")
    ET.SubElement(case, "error", message=printable(trouble))
    return suite

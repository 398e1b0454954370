"""Check that a report follows from its rows, and its rows from a released catalogue."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from typing import Any

from pytest_fsmredir.config.waivers import read_waivers, stale
from pytest_fsmredir.errors import PreflightError, SettingsError
from pytest_fsmredir.model.checks import Catalogue, Check, Level
from pytest_fsmredir.model.features import Feature
from pytest_fsmredir.model.outcomes import Outcome, Row
from pytest_fsmredir.report.document import nodes_document, profile_document, results_digest
from pytest_fsmredir.report.known import Release
from pytest_fsmredir.report.read import Report
from pytest_fsmredir.report.verify.finding import Finding, note
from pytest_fsmredir.suite.judgement import (
    Measure,
    judge,
    judge_nodes,
    whole_verdict,
)
from pytest_fsmredir.suite.plan import concerns
from pytest_fsmredir.text import counted

_VIOLATED = (Outcome.FAIL, Outcome.WARN, Outcome.WAIVED)
_VIOLATION = {Level.MUST: Outcome.FAIL, Level.SHOULD: Outcome.WARN, Level.INFO: Outcome.NOTE}
"""The outcome of a check whose requirement is violated."""


def check_schema(report: Report) -> Iterator[Finding]:
    """Validate a report against its schema.

    Raises:
        PreflightError: The package jsonschema is not installed.
    """
    try:
        from jsonschema import Draft202012Validator
    except ImportError:
        raise PreflightError(
            "jsonschema is missing; install it: pip install 'pytest-fsmredir[verify]'"
        ) from None
    text = resources.files("pytest_fsmredir.report").joinpath("schema.json").read_text("utf-8")
    validator = Draft202012Validator(
        json.loads(text), format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    for error in validator.iter_errors(report.document):
        where = "/".join(map(str, error.absolute_path)) or "the document"
        yield Finding(f"report.json does not follow its schema: {where}: {error.message[:200]}")


def check_rows(report: Report, release: Release) -> Iterator[Finding]:
    """Check that there is one row for each check and variant, with the facts of the catalogue."""
    catalogue = release.catalogue
    if report.suite["version"] != release.version:
        yield Finding(
            f"the catalogue is that of version {release.version}, but the report names"
            f" {report.suite['version']}"
        )
    if report.suite["checks"] != len(catalogue.checks):
        yield Finding(
            f"the report counts {counted(report.suite['checks'], 'check')}, and the catalogue has"
            f" {len(catalogue.checks)}"
        )
    yield from _incomplete(report, catalogue)
    yield from _missing_variants(report)
    generated = set(report.suite.get("generated", ()))
    for row in report.document["checks"]:
        if row["id"] in catalogue:
            yield from _altered(row, catalogue[row["id"]])
        elif row["id"] not in generated:
            yield Finding(f"{row['id']} is not a check of version {release.version}")


def _incomplete(report: Report, catalogue: Catalogue) -> Iterator[Finding]:
    counts = Counter((row.check, row.variant) for _, row in report.rows)
    for (check, variant), number in sorted(counts.items()):
        if number > 1:
            yield Finding(f"{check} has {number} rows on {variant}")
    missing = [
        f"{check.id} on {variant}"
        for check in catalogue.checks
        for variant in sorted({row.variant for _, row in report.rows})
        if concerns(check, variant) and not counts[check.id, variant]
    ]
    if missing:
        yield Finding(
            f"{counted(len(missing), 'row')} of the catalogue missing, such as {missing[0]}"
        )


def _missing_variants(report: Report) -> Iterator[Finding]:
    """Compare the variants of the rows with those that the options of the run name."""
    options, there = report.run["options"], {row.variant for _, row in report.rows}
    for family in (4, 6):
        if family not in {variant.family for variant in there}:
            named = options.get("ip") in {"both", str(family)}
            text = f"no row is about IPv{family}"
            yield Finding(f"{text}, and --fsm-ip asks for it") if named else note(text)
    if options.get("iptables") == "both":
        for name in sorted({"nft", "legacy"} - {variant.iptables for variant in there}):
            yield Finding(f"no row is about the variant {name}, and --fsm-iptables asks for it")


def _altered(row: Mapping[str, Any], check: Check) -> Iterator[Finding]:
    """Compare the facts in a row that the catalogue decides."""
    family = int(row["variant"][-1])
    facts = {
        "title": check.title,
        "profile": check.profile_for(family),
        "level": check.level,
        "features": sorted(check.features_for(family)),
        "spec": check.spec,
    }
    for key, fact in facts.items():
        if row[key] != fact:
            yield Finding(f"{check.id} has the {key} {row[key]!r} instead of {fact!r}")


def check_outcomes(report: Report, catalogue: Catalogue) -> Iterator[Finding]:
    """Check that each outcome is possible and has its evidence."""
    waived = {waiver["id"] for waiver in report.document["waivers"]}
    stated = report.document["features"]
    known = {feature.value for feature in Feature}
    for name in sorted({*stated["claimed"], *stated["notClaimed"]} - known):
        yield Finding(f"{name} is not a feature that this version knows")
    claimed = frozenset(Feature(each) for each in stated["claimed"] if each in known)
    asked = {feature for check in catalogue.checks for feature in check.features_for(6)}
    if hidden := sorted(asked - claimed - {*stated["notClaimed"]}):
        yield Finding(f"{hidden[0]} is neither claimed nor named as not claimed")
    for _, row in report.rows:
        where = f"{row.check} on {row.variant}"
        if row.outcome in (*_VIOLATED, Outcome.ERROR) and not row.reason:
            yield Finding(f"{where} has the outcome {row.outcome} without a reason")
        if row.flow and row.outcome in _VIOLATED and not (row.expected and row.seen):
            yield Finding(f"{where} names a flow, but not its expected and its actual fate")
        if row.outcome is Outcome.WAIVED and row.check not in waived:
            yield Finding(f"{where} is waived, but no waiver names it")
        if row.check in catalogue:
            yield from _impossible(row, catalogue[row.check], claimed, where)


def _impossible(
    row: Row, check: Check, claimed: frozenset[Feature], where: str
) -> Iterator[Finding]:
    violated = {Outcome.FAIL, Outcome.WARN, Outcome.NOTE} & {row.outcome}
    if violated and row.outcome is not _VIOLATION[check.level]:
        yield Finding(f"{where} cannot have the outcome {row.outcome}: its level is {check.level}")
    unclaimed = check.unclaimed(row.variant.family, claimed, declared=True)
    if row.outcome is Outcome.UNSUPPORTED and not unclaimed:
        yield Finding(f"{where} is unsupported, but all that it needs is claimed")
    if row.outcome is Outcome.PASS and not row.probes:
        yield Finding(f"{where} passes, but sent nothing")


def check_judgement(report: Report) -> Iterator[Finding]:
    """Compute the verdicts, the counts and the digest from the rows, and compare them."""
    document, ended = report.document, report.run["ended"]
    try:
        waivers = read_waivers(document["waivers"], "report.json")
    except SettingsError as error:
        yield Finding(str(error))
        return
    found = [waiver.id for waiver in stale(waivers, (row for _, row in report.rows))]
    measure = Measure(strict=document["strict"], stale=frozenset(found), broken=ended == "broken")
    profiles = judge(report.rows, measure)
    nodes = judge_nodes(report.rows, measure, interrupted=ended == "interrupted")
    verdict = whole_verdict(profiles, nodes, measure, interrupted=ended == "interrupted")
    if report.verdict != verdict:
        yield Finding(f"the verdict is {report.verdict}, but the rows give {verdict}")
    if document["staleWaivers"] != found:
        yield Finding(f"the stale waivers are {found}, not {document['staleWaivers']}")
    yield from _differing("profile", document["profiles"], map(profile_document, profiles))
    yield from _differing("node", document.get("nodes", []), nodes_document(nodes))
    digest = results_digest(report.suite, report.implementation, (row for _, row in report.rows))
    if document["resultsDigest"] != digest:
        yield Finding("resultsDigest is not the digest of the rows")


def _differing(
    noun: str, stated: list[dict[str, Any]], computed: Iterable[dict[str, Any]]
) -> Iterator[Finding]:
    expected = list(computed)
    if len(stated) != len(expected):
        yield Finding(f"{counted(len(stated), noun)} instead of {len(expected)}")
    by_name = {_key(each): each for each in stated}
    for each in expected:
        if by_name.pop(_key(each), None) != each:
            yield Finding(
                f"the {noun} {each['name']}: its verdict or its counts do not follow from the rows,"
                f" which give {each['verdict']} ({each['total']} rows)"
            )
    for _, name in by_name:
        yield Finding(f"the {noun} {name} has no rows")


def _key(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return what names a profile, or a node: two backends can have nodes of one name."""
    return document.get("backend", ""), document["name"]

"""The page of a report: verdicts, failures, the matrix of checks, rules, and the run."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_fsmredir.model.claims import reasons_of
from pytest_fsmredir.model.outcomes import Outcome, Variant
from pytest_fsmredir.report.benchmark import benchmark_lines
from pytest_fsmredir.report.groups import Group, grouped
from pytest_fsmredir.report.known import with_digest
from pytest_fsmredir.report.page.items import (
    WORST_FIRST,
    Item,
    in_words,
    items,
    variant_of,
    variants,
)
from pytest_fsmredir.report.page.wording import sections, wording
from pytest_fsmredir.report.plots import plots
from pytest_fsmredir.report.read import Report
from pytest_fsmredir.report.render import template
from pytest_fsmredir.suite.judgement import of_every_flow
from pytest_fsmredir.text import printable

PAGE = "report.html"
_INVISIBLE = re.compile("[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""Characters that reorder or hide text, such as the right-to-left override."""
_KEYS = {Outcome.NOT_RUN: "notRun"}

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Card:
    """A profile.

    Attributes:
        profile: The profile in the report.
        counts: ``(outcome, number)`` for each outcome that it has.
        unproved: Why it is not proved; empty if it is.
    """

    profile: Document
    counts: tuple[tuple[str, int], ...]
    unproved: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The use of the rules on variants with the same rules.

    Attributes:
        names: The variants in words.
        use: The use in the report.
        rows: ``(state, rule)`` for each rule, in order.
    """

    names: tuple[str, ...]
    use: Document
    rows: tuple[tuple[str, Document], ...]


def page(report: Report) -> str:
    """Return a report as one HTML file that needs no network."""
    document = report.document
    groups = grouped(row for _, row in report.rows)
    release = with_digest(report.suite["catalogue"])
    wordings = {row["id"]: wording(release, row["id"], row["spec"]) for row in document["checks"]}
    every = items(document, wordings, [group.rows[0].check for group in groups])
    measured = document["run"].get("benchmark", {})
    style, script = template("report.css").render(), template("report.js").render()
    drawn = template("report.html").render(
        report=report,
        document=document,
        cards=[_card(document, profile) for profile in document["profiles"]],
        groups=[(group, _title(every, group), _others(group)) for group in groups],
        sections=_by_section(every),
        columns=_columns(variants(document)),
        totals=_totals(every),
        opened=_opened(every, groups),
        rules=list(_rules(document)),
        figures=list(benchmark_lines(measured)),
        plots=list(plots(measured, inline=True).values()) if measured else [],
        in_words=lambda row: in_words(variant_of(row)),
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'",
    )
    return _INVISIBLE.sub(lambda match: ascii(match[0])[1:-1], printable(drawn))


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _card(document: Document, profile: Document) -> Card:
    counts = [(each.value, profile[_KEYS.get(each, each.value)]) for each in Outcome]
    unproved = "" if profile["proved"] else "; ".join(_unproved(document, profile["name"]))
    shown = tuple((name, number) for name, number in counts if number)
    return Card(profile, shown, unproved)


def _unproved(document: Document, profile: str) -> Iterator[str]:
    """Yield why a profile is not proved."""
    rows = [row for row in document["checks"] if row["profile"] == profile]
    checks = of_every_flow(row["id"] for row in rows)
    rows = [row for row in rows if row["id"] in checks]
    if not rows:
        yield "it has no check of every flow"
    by_outcome: dict[str, list[str]] = {}
    for row in rows:
        if row["outcome"] != Outcome.PASS:
            by_outcome.setdefault(row["outcome"], []).append(row["id"])
        elif "proof" not in row:
            by_outcome.setdefault("no proof", []).append(row["id"])
    for outcome, ids in by_outcome.items():
        yield f"{', '.join(dict.fromkeys(ids))}: {outcome.replace('-', ' ')}"
    yield from reasons_of(row.get("proof", "") for row in rows)


def _title(every: list[Item], group: Group) -> str:
    return next(item.title for item in every if item.id == group.rows[0].check)


def _opened(every: list[Item], groups: list[Group]) -> str:
    """Return the first check of a group that has pictures; empty if none has."""
    drawn = {item.id for item in every if item.results[0].walk or item.results[0].packets}
    return next((group.rows[0].check for group in groups if group.rows[0].check in drawn), "")


def _others(group: Group) -> list[str]:
    """Return the ids of the other checks in a group."""
    ids = dict.fromkeys(row.check for row in group.rows)
    ids.pop(group.rows[0].check)
    return list(ids)


def _by_section(every: list[Item]) -> list[tuple[str, list[Item]]]:
    found = {name: [item for item in every if item.wording.section == name] for name in sections()}
    return [(name, members) for name, members in found.items() if members]


def _columns(points: list[Variant]) -> list[tuple[str, str, str]]:
    """Return (in words, place, variant) for each column; the place is empty if it is the same."""
    several = len({point.where for point in points}) > 1
    return [
        (in_words(point), point.where if several else "", f"{point.iptables} v{point.family}")
        for point in points
    ]


def _totals(every: list[Item]) -> list[tuple[str, int]]:
    """Return the number of checks with each outcome, the worst outcome first."""
    counts = Counter(outcome for item in every for outcome in item.outcomes)
    return [(each.value, counts[each.value]) for each in WORST_FIRST if counts[each.value]]


def _rules(document: Document) -> Iterator[Rules]:
    alike: dict[str, list[Document]] = {}
    for use in document.get("rules", ()):
        same = {k: v for k, v in use.items() if k not in ("backend", "node", "variant")}
        alike.setdefault(repr(same), []).append(use)
    for members in alike.values():
        names = tuple(in_words(variant_of(use)) for use in members)
        yield Rules(names, members[0], tuple(_ruled(members[0])))


def _ruled(use: Document) -> Iterator[tuple[str, Document]]:
    spare = {(rule["chain"], rule["rule"]) for rule in use["redundant"]}
    states = {"unreachable": use["unreachable"], "never hit": use["notHit"]}
    states["hit"] = use.get("matched", ())
    found = [(state, rule) for state, rules in states.items() for rule in rules]
    for state, rule in sorted(found, key=lambda pair: (pair[1]["chain"], pair[1]["number"])):
        extra = ", redundant" if (rule["chain"], rule["rule"]) in spare else ""
        yield f"{state}{extra}", rule

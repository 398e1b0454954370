"""What the catalogue says about a check: requirement, sentence, and its flows in words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from pytest_fsmredir.model.checks import Check
from pytest_fsmredir.model.document import Sentence
from pytest_fsmredir.report.flow_table import flows, others, pods
from pytest_fsmredir.report.known import Release, present
from pytest_fsmredir.suite.catalogue import document
from pytest_fsmredir.suite.dry_run import recorded

UNKNOWN_SECTION = "Checks of another version"


@dataclass(frozen=True, slots=True)
class Wording:
    """What is known about a check.

    Attributes:
        requirement: The requirement; empty for a check of an unknown catalogue.
        section: The section of its sentence.
        sentence: The sentence of the document.
        source: Where the sentence comes from.
        pods: Each pod and its lists.
        flows: Each flow and its expected fate.
        others: What else it requires.
    """

    requirement: str = ""
    section: str = UNKNOWN_SECTION
    sentence: str = ""
    source: str = ""
    pods: tuple[tuple[str, str], ...] = ()
    flows: tuple[tuple[str, str], ...] = ()
    others: tuple[str, ...] = ()


def wording(release: Release | None, check_id: str, spec: str) -> Wording:
    """Return what is known about a check.

    Args:
        release: The catalogue of the report; None if it is not known.
        check_id: The id of the check.
        spec: The id of its sentence.
    """
    sentence = document().get(spec)
    section = sentence.section if sentence else UNKNOWN_SECTION
    if release is None or check_id not in release.catalogue:
        return Wording(section=section)
    check = release.catalogue[check_id]
    told = _recorded(check) if release is present() else ((), (), ())
    return Wording(
        check.requirement,
        section,
        sentence.text if sentence else "",
        _source(sentence) if sentence else "",
        *told,
    )


def sections() -> list[str]:
    """Return the sections of the document, in order."""
    return [*dict.fromkeys(each.section for each in document().values()), UNKNOWN_SECTION]


def _source(sentence: Sentence) -> str:
    if sentence.seed:
        return f"the FSM document, “{sentence.seed}”"
    return f"our reading: {sentence.reason}"


Pairs = tuple[tuple[str, str], ...]


@cache
def _recorded(check: Check) -> tuple[Pairs, Pairs, tuple[str, ...]]:
    found = recorded(check)
    return tuple(pods(found)), tuple(flows(found)), tuple(others(found))

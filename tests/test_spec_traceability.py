"""SPEC.md and the checks match: a check covers each sentence, and each check names a sentence."""

from __future__ import annotations

import re

import pytest

from pytest_fsmredir import layout
from pytest_fsmredir.model.checks import Check, Level, Profile
from pytest_fsmredir.model.document import Sentence, sentences
from pytest_fsmredir.suite import catalogue

SPEC = sentences((layout.conformance() / "SPEC.md").read_text(encoding="utf-8"))
CHECKS = catalogue.load().checks

_KEYWORD = re.compile(r"\b(MUST NOT|MUST|SHOULD NOT|SHOULD|MAY)\b")
_LEVELS = {"MUST": Level.MUST, "SHOULD": Level.SHOULD, "MAY": Level.INFO}

INSTALLED = {"SPEC-20.5", "SPEC-20.6"}
"""Sentences about ``fsm install``, which cannot be checked in a pod."""


def by_id(check: Check) -> str:
    return check.id


@pytest.mark.parametrize("check", CHECKS, ids=by_id)
def test_check_names_a_sentence(check: Check) -> None:
    """Catches: a check without a written requirement."""
    assert check.spec in SPEC


@pytest.mark.parametrize("sentence", SPEC.values(), ids=lambda sentence: sentence.id)
def test_sentence_is_checked(sentence: Sentence) -> None:
    """Catches: a requirement without a check."""
    if sentence.id in INSTALLED:
        pytest.skip("about installing a mesh: tests/kube holds the reference mesh to it")
    assert any(check.spec == sentence.id for check in CHECKS)


@pytest.mark.parametrize("sentence", SPEC.values(), ids=lambda sentence: sentence.id)
def test_sentence_has_one_requirement_level(sentence: Sentence) -> None:
    """Catches: a sentence with two requirement levels, or none."""
    assert len(_KEYWORD.findall(sentence.text)) == 1


@pytest.mark.parametrize("check", CHECKS, ids=by_id)
def test_check_has_the_level_of_its_sentence(check: Check) -> None:
    """Catches: a check that fails an implementation for a mere recommendation of the document."""
    (keyword,) = _KEYWORD.findall(SPEC[check.spec].text)
    assert check.level is _LEVELS[keyword.removesuffix(" NOT")]


def test_every_profile_has_checks() -> None:
    """Catches: a profile that cannot fail."""
    used = {check.profile_for(family) for check in CHECKS for family in check.families}
    assert used >= set(Profile)


def test_cited_headings_exist_in_the_document() -> None:
    """Catches: a sentence that cites a heading that does not exist."""
    headings = {
        "How it works",
        "Ports reserved for traffic redirection",
        "Application User ID (UID) reserved for traffic redirection",
        "Types of traffic intercepted",
        "Iptables chains and rules",
        "Outbound IP range exclusions",
        "Outbound IP range inclusions",
        "Outbound port exclusions",
        "Inbound port exclusions",
    }
    # The two scopes of each list are under headings such as "1. Global inbound port exclusions".
    named = {sentence.seed for sentence in SPEC.values() if sentence.seed}
    known = tuple(heading.casefold() for heading in headings)
    assert {seed for seed in named if not seed.casefold().endswith(known)} == set()

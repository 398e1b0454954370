"""SPEC.md and the checks match: a check covers each sentence, and each check names a sentence."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from pytest_fsmredir.model.checks import Check, Level, Profile
from pytest_fsmredir.model.document import Sentence
from pytest_fsmredir.suite import catalogue

SPEC = catalogue.document()
CHECKS = catalogue.load().checks
FILES = catalogue.files()

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
    assert sentence.level in Level


def place_of(section: str, number: int) -> str:
    """Return the name of the file or folder of a section, such as ``s06_chains_and_rules``."""
    words = re.sub(r"[^a-z0-9]+", "_", section.lower().replace("'", ""))
    return f"s{number:02}_{words}"


@pytest.mark.parametrize("check", CHECKS, ids=by_id)
def test_check_stands_in_the_place_of_its_section(check: Check) -> None:
    """Catches: a check that a reader of its sentence does not find."""
    sentence = SPEC[check.spec]
    place = catalogue.file_of(check).parts[0].removesuffix(".py")
    assert place == place_of(sentence.section, int(check.spec[5:].partition(".")[0]))


def _body_lines(function: ast.FunctionDef) -> int:
    """Return the lines of a check below its signature and its requirement."""
    documented = ast.get_docstring(function) is not None
    return (function.end_lineno or 0) - function.body[documented].lineno + 1


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_file_of_checks_is_short(file: Path) -> None:
    """Catches: a file or a check that is too long to read."""
    source = file.read_text(encoding="utf-8")
    checks = [n for n in ast.walk(ast.parse(source)) if getattr(n, "decorator_list", ())]
    lengths = {n.name: _body_lines(n) for n in checks if isinstance(n, ast.FunctionDef)}
    assert source.count("\n") <= 250
    assert {name: lines for name, lines in lengths.items() if lines > 25} == {}


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

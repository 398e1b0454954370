"""Define checks by section: what is said once, what is read from SPEC.md, and what is rejected."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_fsmredir import layout
from pytest_fsmredir.errors import CatalogueError
from pytest_fsmredir.model.checks import Check, Level, Profile
from pytest_fsmredir.model.document import Sentence
from pytest_fsmredir.model.facets import Body
from pytest_fsmredir.model.features import Feature
from pytest_fsmredir.model.sections import Case, Section, checks_of
from pytest_fsmredir.suite import catalogue

section = Section(8, Profile.EXCLUSIONS, {Feature.OUTBOUND_IP_RANGE_EXCLUSION})


def sentence(number: str, text: str) -> Sentence:
    return Sentence(f"SPEC-{number}", "", "", "", text)


DOCUMENT = {
    "SPEC-8.1": sentence("8.1", "It MUST NOT loop."),
    "SPEC-8.2": sentence("8.2", "It SHOULD NOT loop."),
    "SPEC-8.3": sentence("8.3", "It MAY loop."),
}


def made(*functions: Body) -> list[Check]:
    return list(checks_of(SimpleNamespace(**{f.__name__: f for f in functions}), DOCUMENT))


def test_check_has_what_its_section_says() -> None:
    """Catches: a check that loses the profile or the features that are said once for its file."""

    @section.check("OIX-001", "8.1")
    def test_it_does_not_loop(mesh: object) -> None:
        """It MUST NOT
        loop."""  # noqa: D209

    (check,) = made(test_it_does_not_loop)
    assert (check.requirement, check.spec) == ("It MUST NOT loop.", "SPEC-8.1")
    assert (check.level, check.profile) == (Level.MUST, Profile.EXCLUSIONS)
    assert check.features == {Feature.OUTBOUND_IP_RANGE_EXCLUSION}
    assert (check.needs, check.families) == (frozenset(), (4, 6))


def test_check_can_differ_from_its_section() -> None:
    """Catches: features of the section that a check without any cannot drop."""

    @section.check("OIX-001", "8.2", profile=Profile.CORE, features=(), needs={"x"}, families=(4,))
    def test_it_does_not_loop(mesh: object) -> None:
        """It SHOULD NOT loop."""

    (check,) = made(test_it_does_not_loop)
    assert (check.level, check.profile) == (Level.SHOULD, Profile.CORE)
    assert (sorted(check.features), sorted(check.needs)) == ([], ["x"])
    assert check.families == (4,)


def test_observation_needs_no_keyword() -> None:
    """Catches: a check of a MAY sentence that can fail."""

    @section.check("OIX-001", "8.3")
    def test_it_loops(mesh: object) -> None:
        """It may loop."""

    assert made(test_it_loops)[0].level is Level.INFO


TWINS = """\
from pytest_fsmredir import Case, Feature, Profile, Section

section = Section(8, Profile.EXCLUSIONS)

@section.check_each(
    Case("OIX-001", "8.1", "first port", word="MUST", port=1),
    Case("OIX-002", "8.2", "second port", word="SHOULD", port=2, features={Feature.HAIRPIN}),
    families=(6,),
)
def test_template(mesh, *, port):
    '''Port {port} {word} do.'''
    assert False, port
"""


def test_twins_differ_in_what_their_cases_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: two ids that run the same parameters, or share a title."""
    (tmp_path / "s08_ranges.py").write_text(TWINS)
    monkeypatch.setattr(layout, "conformance", lambda: tmp_path)
    module = catalogue.load_module.__wrapped__("s08_ranges")
    first, second = checks_of(module, DOCUMENT)
    assert (first.title, second.title) == ("first port", "second port")
    assert (first.requirement, second.requirement) == ("Port 1 MUST do.", "Port 2 SHOULD do.")
    assert (first.level, second.level) == (Level.MUST, Level.SHOULD)
    assert second.features == {Feature.HAIRPIN}
    assert first.families == second.families == (6,)
    for check, port in ((first, "1"), (second, "2")):
        with pytest.raises(AssertionError, match=port):
            check.function(None)
        assert catalogue.file_of(check) == Path("s08_ranges.py")
        assert pickle.loads(pickle.dumps(check.function)) is check.function  # noqa: S301 - ours
    del sys.modules[module.__name__]


def with_parameter(mesh: object, *, port: int) -> None:
    """It {word} do."""


def without_docstring(mesh: object) -> None:
    pass


def without_keyword(mesh: object) -> None:
    """It does not loop."""


@pytest.mark.parametrize(
    ("id", "number", "function", "message"),
    [
        ("oix-1", "8.1", without_keyword, "'oix-1' is not a check id such as OPX-001"),
        ("OIX-001", "9.1", without_keyword, "OIX-001: '9.1' is not a sentence of section 8"),
        ("OIX-001", "8.9", without_keyword, "OIX-001: SPEC.md has no sentence SPEC-8.9"),
        ("OIX-001", "8.1", without_docstring, "OIX-001: without_docstring has no docstring"),
        ("OIX-001", "8.1", without_keyword, "OIX-001: the requirement does not say MUST"),
    ],
)
def test_malformed_check_is_rejected(
    id: str, number: str, function: Callable[[object], None], message: str
) -> None:
    """Catches: a check that names no sentence, or weakens it, and is collected all the same."""
    with pytest.raises(CatalogueError, match=message):
        made(section.check(id, number)(function))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"word": "MUST"}, "OIX-001: with_parameter needs the parameter port"),
        ({"port": 1}, "OIX-001: the requirement needs the word 'word'"),
    ],
)
def test_case_gives_every_parameter_and_word(given: dict[str, object], message: str) -> None:
    """Catches: a twin that fails when it runs because its parameters are misspelt."""
    with pytest.raises(CatalogueError, match=message):
        section.check_each(Case("OIX-001", "8.1", "first port", **given))(with_parameter)


def test_two_cases_have_two_titles() -> None:
    """Catches: a twin that replaces another one, which then never runs."""
    given = {"word": "MUST", "port": 1}
    case = Case("OIX-001", "8.1", "malformed check is rejected", **given)
    with pytest.raises(CatalogueError, match="another check has the title"):
        section.check_each(case)(with_parameter)


@pytest.mark.parametrize("text", ["It loops.", "It MUST loop and SHOULD NOT end."])
def test_sentence_without_one_keyword_has_no_level(text: str) -> None:
    """Catches: a level that is guessed."""
    with pytest.raises(CatalogueError, match=r"SPEC-8\.1 must have one of the words MUST, SHOULD"):
        _ = sentence("8.1", text).level

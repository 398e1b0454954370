"""Define the checks of one section of SPEC.md: what they share is said once for a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypedDict, TypeVar, Unpack, cast

from pytest_fsmredir.errors import CatalogueError
from pytest_fsmredir.model.checks import Check, Level, Profile
from pytest_fsmredir.model.document import Sentence
from pytest_fsmredir.model.facets import Body, needs_of
from pytest_fsmredir.model.features import Feature

_ID = re.compile(r"[A-Z0-9]{2,6}-[0-9]{3}")
_ATTRIBUTE = "__fsm_check__"

Function = TypeVar("Function", bound=Body)


class Differs(TypedDict, total=False):
    """What can differ between the checks of a section.

    Attributes:
        profile: The profile that the result counts for; the section's by default.
        features: The features that an implementation must claim; the section's by default.
        needs: Names of the capabilities that the backend must have, in addition to the facets in
            the signature.
        families: IP versions that the check runs with; the section's by default.
    """

    profile: Profile
    features: Iterable[Feature]
    needs: Iterable[str]
    families: tuple[int, ...]


class Case:
    """One of several checks that are the same function with other parameters.

    Args:
        id: A permanent id, such as ``OPX-001``.
        sentence: Number of the sentence of SPEC.md, such as ``10.1``.
        title: What the check shows, in words.
        given: By name, the keyword-only parameters of the function, the words in braces of its
            docstring, and what :class:`Differs` lists. Others mean nothing, so that cases can share
            a mapping.
    """

    def __init__(self, id: str, sentence: str, title: str, **given: Any) -> None:  # noqa: ANN401
        self.id, self.sentence, self.title, self.given = id, sentence, title, given

    @property
    def differs(self) -> Differs:
        """What differs from the other checks of the section."""
        names = Differs.__annotations__.keys() & self.given.keys()
        return cast("Differs", {name: self.given[name] for name in names})


@dataclass(frozen=True, slots=True)
class Section:
    """A section of SPEC.md, and what most of its checks in one file have in common.

    Attributes:
        number: Number of the section.
        profile: The profile that the results count for.
        features: The features that an implementation must claim for the checks to apply.
        families: IP versions that the checks run with.
    """

    number: int
    profile: Profile
    features: Iterable[Feature] = ()
    families: tuple[int, ...] = (4, 6)

    def check(
        self, id: str, sentence: str, **differs: Unpack[Differs]
    ) -> Callable[[Function], Function]:
        """Register a function as a check; its docstring is the requirement.

        Args:
            id: A permanent id, such as ``OPX-001``.
            sentence: Number of the sentence of SPEC.md, such as ``10.1``.
            differs: What differs from the other checks of the section.

        Raises:
            CatalogueError: The id or the sentence is not one of the section, a parameter is not a
                facet, or a need is given although a facet implies it.
        """

        def mark(function: Function) -> Function:
            self._register(function, id, sentence, _docstring(function), differs)
            return function

        return mark

    def check_each(
        self, *cases: Case, **differs: Unpack[Differs]
    ) -> Callable[[Function], Function]:
        """Register a function as several checks, each with its own parameters.

        Args:
            cases: The checks. Each gives a value to the keyword-only parameters of the function,
                and to the words in braces of its docstring, which is the requirement.
            differs: What differs from the other checks of the section.

        Raises:
            CatalogueError: A case is not one of the section, or its parameters do not fit.
        """

        def mark(function: Function) -> Function:
            for case in cases:
                copied = _with_parameters(function, case)
                if copied.__name__ in function.__globals__:
                    raise CatalogueError(f"{case.id}: another check has the title {case.title!r}")
                # A tool that pickles a function finds it in its module by its name.
                function.__globals__[copied.__name__] = copied
                own: Differs = {**differs, **case.differs}
                self._register(copied, case.id, case.sentence, _requirement(function, case), own)
            return function

        return mark

    def _register(
        self, function: Body, id: str, sentence: str, requirement: str, differs: Differs
    ) -> None:
        if not _ID.fullmatch(id):
            raise CatalogueError(f"{id!r} is not a check id such as OPX-001")
        if not re.fullmatch(rf"{self.number}\.[0-9]+", sentence):
            raise CatalogueError(f"{id}: {sentence!r} is not a sentence of section {self.number}")
        if not requirement:
            raise CatalogueError(f"{id}: {function.__name__} has no docstring for its requirement")
        draft = {
            "id": id,
            "requirement": requirement,
            "spec": f"SPEC-{sentence}",
            "profile": differs.get("profile", self.profile),
            "features": frozenset(differs.get("features", self.features)),
            "needs": needs_of(id, function, differs.get("needs", ())),
            "families": differs.get("families", self.families),
            "function": function,
        }
        setattr(function, _ATTRIBUTE, draft)


def checks_of(module: object, document: Mapping[str, Sentence]) -> Iterator[Check]:
    """Yield the checks that a module defines, in the order of their definition.

    Args:
        module: The module.
        document: The sentences of SPEC.md by id. A check has the level of its sentence.

    Raises:
        CatalogueError: A check names no sentence, or its requirement does not state the level.
    """
    for value in vars(module).values():
        draft: dict[str, Any] | None = getattr(value, _ATTRIBUTE, None)
        if draft is not None:
            check = Check(**draft, level=_sentence_of(draft, document).level)
            said = re.search(rf"\b{check.level}\b", check.requirement)
            if check.level is not Level.INFO and said is None:
                raise CatalogueError(
                    f"{check.id}: the requirement does not say {check.level}: {check.requirement!r}"
                )
            yield check


def _sentence_of(draft: Mapping[str, Any], document: Mapping[str, Sentence]) -> Sentence:
    if draft["spec"] not in document:
        raise CatalogueError(f"{draft['id']}: SPEC.md has no sentence {draft['spec']}")
    return document[draft["spec"]]


def _docstring(function: Body) -> str:
    return " ".join((function.__doc__ or "").split())


def _requirement(function: Body, case: Case) -> str:
    """Return the docstring of a function with the words of a case.

    Raises:
        CatalogueError: The case lacks a word.
    """
    try:
        return _docstring(function).format(**case.given)
    except KeyError as word:
        raise CatalogueError(
            f"{case.id}: the requirement needs the word {word}: give it in the case"
        ) from None


def _with_parameters(function: Body, case: Case) -> FunctionType:
    """Return a copy of a function that takes the parameters of a case by default.

    The copy is a function with the same code object, so that a failed assertion is found in it.

    Raises:
        CatalogueError: The case lacks a parameter.
    """
    code = function.__code__
    wanted = set(code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount])
    if missing := sorted(wanted - case.given.keys()):
        raise CatalogueError(
            f"{case.id}: {function.__name__} needs the parameter {missing[0]}: give it in the case"
        )
    name = "test_" + case.title.replace(" ", "_")
    copied = FunctionType(function.__code__, function.__globals__, name, function.__defaults__)
    copied.__kwdefaults__ = {name: case.given[name] for name in wanted}
    copied.__module__, copied.__qualname__ = function.__module__, name
    copied.__annotations__ = function.__annotations__
    return copied

"""A check: an id, a requirement, a level, and one short function."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from inspect import isgeneratorfunction
from typing import Any

from pytest_fsmredir.errors import CatalogueError
from pytest_fsmredir.model.facets import Body
from pytest_fsmredir.model.features import Feature


class Level(StrEnum):
    """How binding a requirement is (RFC 2119); INFO is recorded and never fails."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    INFO = "INFO"


class Profile(StrEnum):
    """A set of checks that an implementation can conform to."""

    CORE = "core"
    EXCLUSIONS = "exclusions"
    INCLUSIONS = "inclusions"
    IPV6 = "ipv6"
    LIFECYCLE = "lifecycle"
    KUBERNETES = "kubernetes"


MUST, SHOULD, INFO = Level.MUST, Level.SHOULD, Level.INFO

GATE = "SELF-001"
"""Id of the check that an implementation has to pass for the others to run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of the catalogue.

    Attributes:
        id: A permanent id, such as ``OPX-001``.
        requirement: The requirement, in one sentence.
        spec: Id of the sentence of SPEC.md that the check tests.
        level: How binding it is.
        profile: The profile that its result counts for. An IPv6 run counts for ``ipv6``.
        features: The features that an implementation must claim for the check to apply.
        needs: Names of the capabilities that the backend must have: those of the facets in the
            function's signature, and those that are declared.
        families: IP versions that the check runs with.
        function: Takes a mesh and facets; raises AssertionError if the requirement does not hold.
            If it yields, it starts with the session and resumes when it is the check's turn.
    """

    id: str
    requirement: str
    spec: str
    level: Level
    profile: Profile
    features: frozenset[Feature]
    needs: frozenset[str]
    families: tuple[int, ...]
    function: Body = field(repr=False, compare=False)

    @property
    def in_two_parts(self) -> bool:
        """Whether the function yields."""
        return isgeneratorfunction(self.function)

    @property
    def title(self) -> str:
        """The function's name in words, which describes the behaviour."""
        return self.function.__name__.removeprefix("test_").replace("_", " ")

    def features_for(self, family: int) -> frozenset[Feature]:
        """Return the features that an implementation must claim for a run with an IP version."""
        return self.features | {Feature.IPV6} if self._extends(family) else self.features

    def unclaimed(
        self, family: int, features: frozenset[Feature], *, declared: bool
    ) -> frozenset[Feature]:
        """Return the features that a run of this check needs and the implementation does not claim.

        Args:
            family: IP version of the run.
            features: The features that the implementation claims.
            declared: Whether the claim is declared, not inferred. Without a declaration, a leak of
                IPv6 is silent, and the checks of the ipv6 profile must find it (SPEC-14.1).
        """
        about = self.features_for(family)
        if declared and self.profile is Profile.IPV6:
            about |= {Feature.IPV6}
        return about - features

    def profile_for(self, family: int) -> Profile:
        """Return the profile that a run with an IP version counts for."""
        return Profile.IPV6 if family == 6 and self.profile is not Profile.IPV6 else self.profile

    def as_dict(self) -> dict[str, Any]:
        """Return all attributes except the function, as plain JSON values."""
        return {
            "id": self.id,
            "title": self.title,
            "requirement": self.requirement,
            "spec": self.spec,
            "level": self.level.value,
            "profile": self.profile.value,
            "features": sorted(self.features),
            "needs": sorted(self.needs),
            "families": list(self.families),
        }

    def _extends(self, family: int) -> bool:
        # A check of the ipv6 profile finds leaks. It also applies to an implementation without
        # IPv6, unless the implementation declares that. It names the feature if it needs it.
        return family == 6 and self.profile is not Profile.IPV6


class Catalogue:
    """All checks, by id.

    Attributes:
        checks: Sorted by id.
    """

    def __init__(self, checks: Iterable[Check]) -> None:
        self.checks = tuple(sorted(checks, key=lambda each: each.id))
        self._by_id = {each.id: each for each in self.checks}
        if len(self._by_id) != len(self.checks):
            ids = [each.id for each in self.checks]
            double = sorted({one for one in ids if ids.count(one) > 1})
            raise CatalogueError(f"check ids given twice: {', '.join(double)}")

    def __getitem__(self, check_id: str) -> Check:
        """Return a check by its id; KeyError if there is none."""
        return self._by_id[check_id]

    def __contains__(self, check_id: str) -> bool:
        """Whether there is a check of that id."""
        return check_id in self._by_id

    @property
    def digest(self) -> str:
        """SHA-256 of the definitions of the checks without their code, as hex digits."""
        document = json.dumps([each.as_dict() for each in self.checks], sort_keys=True)
        return hashlib.sha256(document.encode()).hexdigest()

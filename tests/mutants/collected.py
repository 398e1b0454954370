"""Every mutant, by name."""

from __future__ import annotations

from fnmatch import fnmatchcase

from tests.mutants.catalogue import (
    capture,
    combined,
    doubles,
    equivalent,
    families,
    icmp,
    limits,
    loads,
    local,
    looks,
    marks,
    owner,
    ports,
    protocols,
    range_reach,
    ranges,
    readers,
    refusals,
    reruns,
    reserved,
    scopes,
    udp,
)
from tests.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *capture.MUTANTS,
    *limits.MUTANTS,
    *looks.MUTANTS,
    *owner.MUTANTS,
    *marks.MUTANTS,
    *local.MUTANTS,
    *reserved.MUTANTS,
    *ports.MUTANTS,
    *ranges.MUTANTS,
    *range_reach.MUTANTS,
    *combined.MUTANTS,
    *protocols.MUTANTS,
    *icmp.MUTANTS,
    *udp.MUTANTS,
    *scopes.MUTANTS,
    *readers.MUTANTS,
    *doubles.MUTANTS,
    *refusals.MUTANTS,
    *reruns.MUTANTS,
    *families.MUTANTS,
    *loads.MUTANTS,
    *equivalent.MUTANTS,
)

_BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
if len(_BY_NAME) != len(MUTANTS):
    raise ValueError("two mutants have the same name")


def by_name(name: str) -> Mutant:
    """Return a mutant; KeyError if there is none of that name."""
    return _BY_NAME[name]


def matching(*globs: str) -> list[str]:
    """Return the names that match any of the patterns; all without a pattern."""
    return [name for name in _BY_NAME if not globs or any(fnmatchcase(name, g) for g in globs)]

"""Every mutant, by name, and the checks to run first on it."""

from __future__ import annotations

from fnmatch import fnmatchcase

from tests.mutants.catalogue import (
    beyond_rules,
    capture,
    combined,
    doubles,
    equivalent,
    equivalent_loads,
    families,
    headers,
    icmp,
    idle,
    left_behind,
    limits,
    list_contents,
    loads,
    local,
    long_lists,
    looks,
    marks,
    native,
    other_means,
    other_protocols,
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
    subtle,
    sweeps,
    udp,
)
from tests.mutants.mutant import Mutant

_GROUPS: tuple[tuple[tuple[Mutant, ...], str], ...] = (
    (capture.MUTANTS, "OUT IN IPX UID RES"),
    (headers.MUTANTS, "OUT IN CT"),
    (left_behind.MUTANTS, "LO INIT V6"),
    (limits.MUTANTS, "IN OUT IPX UID RES LO CT"),
    (beyond_rules.MUTANTS, "ALL"),
    (native.MUTANTS, "ALL"),
    (subtle.MUTANTS, "ALL"),
    (looks.MUTANTS, "OUT IN RES UID IPX"),
    (owner.MUTANTS, "UID OUT RES"),
    (marks.MUTANTS, "UID PROTO OUT"),
    (local.MUTANTS, "LO RES OPX OUT LIFE"),
    (reserved.MUTANTS, "RES OUT IN IPX OPX PROTO"),
    (ports.MUTANTS, "IPX OPX CFG PROTO RES"),
    (ranges.MUTANTS, "OIX OII OUT UID"),
    (range_reach.MUTANTS, "OIX OII"),
    (combined.MUTANTS, "OII PREC UID IPX CFG"),
    (protocols.MUTANTS, "PROTO OUT CT OII"),
    (icmp.MUTANTS, "PROTO"),
    (udp.MUTANTS, "PROTO"),
    (sweeps.MUTANTS, "OUT UID V6 LO IN"),
    (other_protocols.MUTANTS, "PROTO"),
    (scopes.MUTANTS, "CFG OPX OII IPX OIX PREC MULTI"),
    (readers.MUTANTS, "CFG OII INIT IPX"),
    (doubles.MUTANTS, "CFG OIX OII OPX IPX"),
    (long_lists.MUTANTS, "CFG OIX OII"),
    (list_contents.MUTANTS, "CFG PREC OIX OII MULTI ALL"),
    (refusals.MUTANTS, "CFG INIT"),
    (reruns.MUTANTS, "INIT"),
    (families.MUTANTS, "UID MULTI IPX RES OPX OIX OII LIFE"),
    (loads.MUTANTS, "INIT COEX IPX LIFE PROTO"),
    (idle.MUTANTS, "CT"),
    (equivalent.MUTANTS, ""),
    (equivalent_loads.MUTANTS, ""),
    (other_means.MUTANTS, ""),
)
"""Mutants, and the prefixes of the checks about the part that they break, plainest first."""

MUTANTS: tuple[Mutant, ...] = tuple(mutant for members, _ in _GROUPS for mutant in members)

_BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
if len(_BY_NAME) != len(MUTANTS):
    raise ValueError("two mutants have the same name")
_OWN = {mutant.name: tuple(own.split()) for members, own in _GROUPS for mutant in members}


def by_name(name: str) -> Mutant:
    """Return a mutant; KeyError for an unknown name."""
    return _BY_NAME[name]


def own_prefixes(name: str) -> tuple[str, ...]:
    """Return the prefixes of the checks about the part that a mutant breaks, in order."""
    return _OWN[name]


def matching(*globs: str) -> list[str]:
    """Return the names that match any of the patterns; all names without a pattern."""
    return [name for name in _BY_NAME if not globs or any(fnmatchcase(name, g) for g in globs)]

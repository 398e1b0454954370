"""Find the rule that is at fault for a wrong fate, or the place where a rule is missing.

A rule is at fault if the packet has the required fate without it, or if it matched the packet. The
model tries that. The lists of the pod choose between several such rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from pytest_fsmredir.rules.bdd import NONE
from pytest_fsmredir.rules.ends import Asked, EndKind
from pytest_fsmredir.rules.forms import (
    Accept,
    Action,
    Chain,
    Condition,
    Destination,
    Goto,
    Hook,
    Jump,
    Redirect,
    Return,
    Rule,
    Tproxy,
    Untrack,
)
from pytest_fsmredir.rules.why.case import Case, Spot
from pytest_fsmredir.rules.why.words import label, listed

MOVING: Final = (Redirect, Destination, Tproxy)
SPARING: Final = (Return, Accept, Untrack)
CAPTURED: Final = frozenset({EndKind.CAPTURED_OUTBOUND, EndKind.CAPTURED_INBOUND})
_TOGETHER = 64  # rules that cure only together, such as one for each range of a list
_SHOWN = 4  # rules of one chain that a sentence lists
_TRIED = 400  # rules of one flow; each takes some milliseconds


class Place(NamedTuple):
    """What an explanation names.

    Attributes:
        chain: The chain.
        number: The rule's number in the chain; 0 if a rule is missing there.
    """

    chain: Chain
    number: int = 0

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Origin, table and name of the chain, and the number."""
        return self.chain.origin, self.chain.table, self.chain.name, self.number


class Blame(NamedTuple):
    """Why a flow has the wrong fate.

    Attributes:
        why: One sentence.
        places: The rules that the sentence names, the one at fault first.
    """

    why: str
    places: tuple[Place, ...]


class Near(NamedTuple):
    """A rule that the packet reached, and that would give it the required fate if it matched.

    Attributes:
        spot: The rule.
        failing: Its conditions that do not hold.
    """

    spot: Spot
    failing: tuple[Condition, ...]


def of(spot: Spot | Asked) -> Place:
    """Return the place of a rule."""
    return Place(spot.chain, spot.rule.number)


def named(spot: Spot | Asked) -> str:
    """Return the words for a rule."""
    return f"rule #{spot.rule.number} of {label(spot.chain)}"


def nears(case: Case) -> list[Near]:
    """Return the rules that would cure the fate if they matched, nearest first."""
    found: list[Near] = []
    seen: set[int] = set()
    fates: dict[tuple[int, int, tuple[Action, ...]], EndKind] = {}
    hits = list(accumulate(asked.hit != NONE for asked in case.path.asked))
    # The rules that are nearest to the decision come first.
    for asked, before in list(zip(case.path.asked, hits, strict=True))[: -_TRIED - 1 : -1]:
        rule = asked.rule
        failing = tuple(case.failing(rule))
        if not failing or id(rule) in seen:
            continue
        seen.add(id(rule))
        # No rule between two rules with the same number of hits before them matches the packet.
        key = id(asked.chain), before, rule.actions
        fate = fates.get(key) if case.changes_nothing(rule) else None
        if fate is None:
            fate = fates[key] = case.with_match(rule)
        if fate is case.sending.wanted:
            found.append(Near(Spot(asked.chain, rule), failing))
    return sorted(found, key=lambda near: len(near.failing))


def behind(case: Case) -> Iterator[Spot]:
    """Yield the rules that match the packet, and would cure its fate if they came earlier."""
    reached = {id(asked.rule) for asked in case.path.asked}
    for level in case.stack:
        place = level.rule.number - 1
        for rule in level.chain.rules[place + 1 :][:_TRIED]:
            if id(rule) in reached or not rule.actions or case.failing(rule):
                continue
            if case.with_rule(level.chain, place, rule) is case.sending.wanted:
                yield Spot(level.chain, rule)


def elsewhere(case: Case) -> Iterator[Spot]:
    """Yield rules of chains that the packet does not pass and that would cure its fate."""
    passed = {id(asked.chain) for asked in case.path.asked}
    level = exempting_level(case)
    for spot in list(case.every())[:_TRIED]:
        chain, rule = spot
        if id(chain) in passed or not rule.conditions or not is_sparing(rule):
            continue
        if not case.failing(rule) and level is not None:
            number = level.rule.number - 1
            if case.with_rule(level.chain, number, rule) is case.sending.wanted:
                yield spot


def exempting_level(case: Case) -> Asked | None:
    """Return the rule on the way to the decision before which an exemption belongs."""
    for level in reversed(case.stack):
        if any(is_sparing(rule) for rule in level.chain.rules):
            return level
    return next((level for level in case.stack if level.chain.hook is None), None) or next(
        iter(case.stack), None
    )


def removable(case: Case) -> list[Asked]:
    """Return the fewest rules without which the packet has the required fate, the last first.

    Empty if there are none.
    """
    gone: list[Asked] = []
    for asked in reversed(case.hits):
        if not asked.rule.actions:
            continue
        if case.without(asked.rule) is case.sending.wanted:
            return [asked]
        if is_sparing(asked.rule):
            gone.append(asked)
    return _together(case, gone)


def _together(case: Case, gone: list[Asked]) -> list[Asked]:
    """Return rules that cure only together, such as an exemption and its copy."""
    removed: list[Rule] = [asked.rule for asked in gone]
    found = list(gone)
    for _ in range(_TOGETHER):
        if not removed or case.without(*removed) is case.sending.wanted:
            return found
        path = case.path_without(*removed)
        more = [a for a in path if a.hit and is_sparing(a.rule) and a.rule.conditions]
        if not more:
            return []
        removed += [asked.rule for asked in more]
        found += more
    return []


def unreached_chains(case: Case) -> Iterator[tuple[Chain, Chain]]:
    """Yield (base chain, chain) where a jump from the first to the second would cure."""
    inbound = case.sending.packet.direction.value == "inbound"
    hook = Hook.PREROUTING if inbound else Hook.OUTPUT
    bases = case.rules.at(hook, case.family)
    for chain in case.rules.chains.values():
        if chain.hook is not None or case.family not in chain.families or not chain.rules:
            continue
        for base in bases or ():
            if (base.origin, base.table) != (chain.origin, chain.table):
                continue
            jump = Rule((), (Jump(chain.name),), 0, "", 0)
            if case.with_rule(base, len(base.rules), jump) is case.sending.wanted:
                yield base, chain


def jumps_to(rule: Rule) -> str:
    """Return the chain that a rule jumps to; empty if it does not jump."""
    return next((a.chain for a in rule.actions if isinstance(a, (Jump, Goto))), "")


def redirects_to(rule: Rule) -> int | None:
    """Return the port that a rule redirects to."""
    for action in rule.actions:
        if isinstance(action, (Redirect, Destination, Tproxy)):
            return action.port
    return None


def rules_named(spots: Sequence[Spot | Asked]) -> str:
    """Return the words for some rules of one or more chains."""
    numbers: dict[str, list[int]] = {}
    for spot in spots:
        numbers.setdefault(label(spot.chain), []).append(spot.rule.number)
    return listed([_numbered(sorted(own), chain) for chain, own in numbers.items()])


def _numbered(numbers: Sequence[int], chain: str) -> str:
    if len(numbers) == 1:
        return f"rule #{numbers[0]} of {chain}"
    if len(numbers) <= _SHOWN:
        return f"rules {listed([f'#{number}' for number in numbers])} of {chain}"
    return f"{len(numbers)} rules of {chain}, from #{numbers[0]} to #{numbers[-1]}"


def is_sparing(rule: Rule) -> bool:
    """Whether a rule exempts what it matches."""
    return any(isinstance(action, SPARING) for action in rule.actions)

"""The walk of an explained packet as plain values, for pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pytest_fsmredir.model.followed import Part, RuleWalk, Step
from pytest_fsmredir.rules.bdd import NONE
from pytest_fsmredir.rules.ends import Asked
from pytest_fsmredir.rules.forms import Rule
from pytest_fsmredir.rules.why.blame import Place
from pytest_fsmredir.rules.why.case import Case
from pytest_fsmredir.rules.why.pathline import shown, until_decided
from pytest_fsmredir.rules.why.words import effect, unmet

_AT_MOST = 24  # rules of one walk
_COUNTERS = re.compile(r"^\[\d+:\d+\] |(?<=\bcounter) packets \d+ bytes \d+")
"""Values of packet counters, which differ between equal runs."""

Key = tuple[str, str, str, int]


def walked(case: Case, places: Sequence[Place]) -> RuleWalk:
    """Return the walk of a packet through the rules.

    Args:
        case: The packet and the rules.
        places: What the explanation names: rules, and chains in which one is missing.
    """
    named = {place.key for place in places}
    asked = until_decided(case)
    if len(asked) > _AT_MOST:
        asked = shown(case, named)[-_AT_MOST:]
    steps = [_step(case, each, named) for each in asked]
    reached = {_key(each) for each in asked}
    for place in {place.key: place for place in places}.values():
        if place.number == 0:
            steps.insert(_before(steps, place), _missing(place))
        elif place.key not in reached:
            steps += _unreached(case, place)
    return RuleWalk(tuple(steps), str(case.path.end), case.sending.wanted.value)


def _key(asked: Asked) -> Key:
    return Place(asked.chain, asked.rule.number).key


def _step(case: Case, asked: Asked, named: set[Key]) -> Step:
    chain, rule = asked.chain, asked.rule
    if asked is case.path.decider:
        part, note = Part.DECIDED, effect(rule.actions, case.family)
    elif asked.hit != NONE:
        part, note = Part.MATCHED, effect(rule.actions, case.family)
    else:
        failing = case.failing(rule)
        part, note = Part.PASSED, unmet(failing[0], case.sending.packet) if failing else ""
    blamed = _key(asked) in named
    return Step(chain.table, chain.name, rule.number, _text(rule), part, note, blamed)


def _missing(place: Place) -> Step:
    return Step(place.chain.table, place.chain.name, 0, "", Part.MISSING, blamed=True)


def _before(steps: Sequence[Step], place: Place) -> int:
    """Return where a missing rule belongs: before the last rule of its chain that matched."""
    chain = (place.chain.table, place.chain.name)
    matching = (Part.DECIDED, Part.MATCHED)
    own = [i for i, step in enumerate(steps) if (step.table, step.chain) == chain]
    taking = [i for i in own if steps[i].part in matching]
    if taking:
        return taking[-1]
    return own[-1] + 1 if own else len(steps)


def _unreached(case: Case, place: Place) -> Iterator[Step]:
    chain = place.chain
    for rule in chain.rules:
        if rule.number == place.number:
            note = effect(rule.actions, case.family)
            text = _text(rule)
            yield Step(
                chain.table, chain.name, rule.number, text, Part.UNREACHED, note, blamed=True
            )


def _text(rule: Rule) -> str:
    return _COUNTERS.sub("", rule.text)

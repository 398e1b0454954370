"""Find a rule that can be at fault although the model finds no flow that it treats wrongly.

The model does not know all packets: it leaves out multicast, resets and connections that are idle.
"""

from __future__ import annotations

from collections.abc import Iterator

from pytest_fsmredir.rules.forms import Drop, Field, Number, Opaque, Reject, Rule
from pytest_fsmredir.rules.packet import TCP
from pytest_fsmredir.rules.ruleset import RuleSet
from pytest_fsmredir.rules.vocabulary import INVALID
from pytest_fsmredir.rules.why.blame import MOVING, Blame, Place, named
from pytest_fsmredir.rules.why.case import Spot
from pytest_fsmredir.rules.why.words import effect, leaves, matched


def peculiar(rules: RuleSet, family: int) -> Blame | None:
    """Return the first rule that stops packets, forgets connections, or redirects not TCP alone."""
    for spot in _spots(rules, family):
        does = _deed(spot.rule, family)
        if does:
            what = matched(spot.rule, family)
            packets = f"packets with {what}" if what else "every packet"
            why = f"the model finds no wrong flow, but {named(spot)} {does.format(packets)}"
            return Blame(why, (Place(spot.chain, spot.rule.number),))
    return None


def _spots(rules: RuleSet, family: int) -> Iterator[Spot]:
    for chain in rules.chains.values():
        if family in chain.families:
            yield from (Spot(chain, rule) for rule in chain.rules)


def _deed(rule: Rule, family: int) -> str:
    """Return what a peculiar rule does to ``{}``; empty for one that is as it should be."""
    if any(isinstance(action, (Drop, Reject)) for action in rule.actions):
        return "" if _values(rule, Field.STATE) == {INVALID} else "stops {}"
    if any(isinstance(action, Opaque) for action in rule.actions):
        return "does what the model does not understand to {}"
    if "ct timeout" in rule.text:
        return "sets for how long tracking knows the connections of {}"
    moves = any(isinstance(action, MOVING) for action in rule.actions)
    protocols = _values(rule, Field.PROTOCOL)
    if moves and protocols and TCP not in protocols:
        return f"sends {{}} to {effect(rule.actions, family)}"
    return ""


def _values(rule: Rule, field: Field) -> set[int]:
    """Return single values that a rule requires of a field."""
    return {
        low
        for condition in rule.conditions
        for test, negated in leaves(condition.test)
        if isinstance(test, Number) and test.field is field and not negated
        for low, _ in test.values
    }

"""Format the path of a packet as one line: chains, the rules that nearly matched, the decision."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_fsmredir.rules.bdd import NONE
from pytest_fsmredir.rules.ends import Asked
from pytest_fsmredir.rules.why.blame import Place, jumps_to
from pytest_fsmredir.rules.why.case import Case
from pytest_fsmredir.rules.why.words import effect, label, unmet

_AT_MOST = 4  # rules that did not match
DECIDED = "◀ decided"


def path_line(case: Case, places: Iterable[Place] = ()) -> str:
    """Return the path of a packet through the rules.

    Args:
        case: The flow and the rules.
        places: Rules that are shown in any case if the packet reached them.
    """
    decider = case.path.decider
    line, chain, led_to = "", None, ""
    for asked in shown(case, {place.key for place in places}):
        if asked.chain is chain:
            line += " · "
        elif led_to and asked.chain.name == led_to:
            line += " "  # the jump has just named the chain
        else:
            line += f"{' · ' if line else ''}{label(asked.chain)} "
        line += f"#{asked.rule.number} {_result(case, asked)}"
        if asked is decider:
            line += f"   {DECIDED}"
        chain, led_to = asked.chain, jumps_to(asked.rule) if asked.hit != NONE else ""
    if decider is None:
        line += f"{' · ' if line else ''}no rule decides: {case.path.end}"
    return line


def until_decided(case: Case) -> list[Asked]:
    """Return the rules that the packet reached, up to the one that decided."""
    decider = case.path.decider
    asked = list(case.path.asked)
    if decider is not None:
        asked = asked[: next(i for i, each in enumerate(asked) if each is decider) + 1]
    return asked


def shown(case: Case, named: set[tuple[str, str, str, int]]) -> list[Asked]:
    """Return the rules to show: the matching ones, the named ones, and the nearest others."""
    asked = until_decided(case)
    kept = {
        id(each)
        for each in asked
        if each.hit != NONE or Place(each.chain, each.rule.number).key in named
    }
    near = [each for each in asked if id(each) not in kept and _failing(each) == 1]
    kept |= {id(each) for each in near[-_AT_MOST:]}
    return [each for each in asked if id(each) in kept]


def _failing(asked: Asked) -> int:
    return sum(holds == NONE for holds in asked.conditions)


def _result(case: Case, asked: Asked) -> str:
    if asked.hit == NONE:
        failing = case.failing(asked.rule)
        return f"no ({unmet(failing[0], case.sending.packet)})" if failing else "no"
    target = jumps_to(asked.rule)
    return f"→ {target}" if target else f"→ {effect(asked.rule.actions, case.family)}"

"""Find the flows that two rule sets treat differently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.rules.bdd import NONE
from pytest_fsmredir.rules.ends import Ends
from pytest_fsmredir.rules.packet import environment, unseen
from pytest_fsmredir.rules.passage import Model
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.ruleset import RuleSet
from pytest_fsmredir.rules.seek import Seeker
from pytest_fsmredir.rules.space import Space
from pytest_fsmredir.rules.trace import Path, follow
from pytest_fsmredir.rules.walk import Walk


@dataclass(frozen=True, slots=True)
class Change:
    """Flows whose fate differs under the second rule set, with the simplest flow as the example."""

    before: Path
    after: Path


def changes(
    old: RuleSet, new: RuleSet, family: int, surroundings: Surroundings
) -> Iterator[Change]:
    """Yield a change for each pair of rules that decide differently.

    Args:
        old: The first rule set.
        new: The second one.
        family: IP version.
        surroundings: The pod of both rule sets.
    """
    names = (*surroundings.interfaces(old), *surroundings.interfaces(new))
    local = surroundings.local(family)
    space = Space(family, tuple(dict.fromkeys(names)), local, unseen(old, new))
    pair = tuple(Seeker(Model(rules, space, surroundings)) for rules in (old, new))
    for direction in Direction:
        yield from _changes(pair[0], pair[1], direction)


def _changes(old: Seeker, new: Seeker, direction: Direction) -> Iterator[Change]:
    bdd = old.space.bdd
    every = old.domain.of(direction)
    left = _differing(_ends(old, direction, every), _ends(new, direction, every), old)
    if left == NONE:
        return
    shown = (old.shown(direction, left), new.shown(direction, left))
    while left != NONE:
        packet = old.plainest(direction, left)
        paths = (follow(old.model, packet), follow(new.model, packet))
        yield Change(*paths)
        same = bdd.both(old.alike(paths[0], shown[0]), new.alike(paths[1], shown[1]))
        rest = bdd.minus(left, same)
        if rest == left:
            return
        left = rest


def _ends(seeker: Seeker, direction: Direction, packets: int) -> Ends:
    at = environment(seeker.space, direction, {})
    return Walk(seeker.model, at).send(direction, packets)


def _differing(before: Ends, after: Ends, seeker: Seeker) -> int:
    bdd = seeker.space.bdd
    return bdd.union(
        bdd.both(some, others)
        for end, some in before.items()
        for other, others in after.items()
        if end.kind is not other.kind
    )

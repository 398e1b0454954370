"""Evaluate a chain for sets of packets, in the kernel's order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_fsmredir.rules.bdd import joined
from pytest_fsmredir.rules.errors import RulesError, TooComplexError
from pytest_fsmredir.rules.forms import (
    Action,
    AllOf,
    Alter,
    AnyOf,
    Chain,
    Copy,
    Field,
    Goto,
    Interface,
    Jump,
    Number,
    Opaque,
    Rule,
    Test,
    Tproxy,
    Untrack,
    Write,
)
from pytest_fsmredir.rules.ruleset import RuleSet, parts

_LISTED = (
    Field.DESTINATION, Field.PORT, Field.SOURCE, Field.SOURCE_PORT, Field.UID, Field.GID,
    Field.MARK,
)  # fmt: skip
NESTING_LIMIT: Final = 64
"""Limit of nested jumps; the kernel permits 16 in nf_tables (NFT_JUMP_STACK_SIZE)."""
WORK_LIMIT = 3_000_000
"""Limit of cached results of set operations: about 500 MB and 15 seconds."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Adjacent rules with the same actions, evaluated as one rule.

    Attributes:
        test: Holds where the conditions of at least one rule hold.
        actions: The actions of each rule.
        rules: The rules.
    """

    test: Test
    actions: tuple[Action, ...]
    rules: tuple[Rule, ...]


class Batches:
    """Divides chains into batches, or into single rules to trace a packet."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._joined: dict[int, list[Batch]] = {}
        self._single: dict[int, list[Batch]] = {}
        self._writes: dict[int, frozenset[Field]] = {}
        self._wants: dict[int, frozenset[Field]] = {}

    def adopt(self, other: Batches) -> None:
        """Use the batches that were made for a rule set with many chains in common."""
        self._joined.update(other._joined)
        self._single.update(other._single)

    def leave_out(self, chain: Chain, number: int, reduced: Chain) -> None:
        """Use the batches of a chain for the same chain without the rule of one number."""
        found = []
        for batch in self.of(chain, single=False):
            kept = [rule for rule in batch.rules if rule.number != number]
            if kept:
                found.append(batch if len(kept) == len(batch.rules) else _batch(kept))
        self._joined[id(reduced)] = found

    def of(self, chain: Chain, *, single: bool) -> list[Batch]:
        """Return the batches of a chain, in order."""
        store = self._single if single else self._joined
        found = store.get(id(chain))
        if found is None:
            found = list(self._alone(chain.rules) if single else self._together(chain))
            store[id(chain)] = found
        return found

    def _alone(self, rules: Iterable[Rule]) -> Iterator[Batch]:
        for rule in rules:
            test = AllOf(tuple(condition.test for condition in rule.conditions))
            yield Batch(test, rule.actions, (rule,))

    def _together(self, chain: Chain) -> Iterator[Batch]:
        waiting: list[Rule] = []
        for rule in chain.rules:
            if waiting and not self._joins(chain, waiting[0], rule):
                yield _batch(waiting)
                waiting = []
            waiting.append(rule)
        if waiting:
            yield _batch(waiting)

    def _joins(self, chain: Chain, first: Rule, rule: Rule) -> bool:
        if rule.actions != first.actions:
            return False
        # Applying the actions to a packet twice must have the same result as applying them once.
        for action in rule.actions:
            if isinstance(action, (Copy, Opaque)):
                return False
            if isinstance(action, Write) and action.value & ~action.mask:
                return False
            if isinstance(action, (Jump, Goto)):
                target = self._rules.target(chain, action.chain)
                if target is None or self.written(target):
                    return False
        written = {action.field for action in rule.actions if isinstance(action, Write)}
        return not written & (_asked(rule) | _asked(first))

    def written(self, chain: Chain) -> frozenset[Field]:
        """Return the fields that a chain and its targets can change in a packet that returns."""
        found = self._writes.get(id(chain))
        if found is None:
            self._writes[id(chain)] = frozenset()
            found = frozenset().union(*(self._changes(chain, rule) for rule in chain.rules))
            self._writes[id(chain)] = found
        return found

    def _changes(self, chain: Chain, rule: Rule) -> frozenset[Field]:
        found: set[Field] = set()
        for action in rule.actions:
            if isinstance(action, Write):
                found.add(action.field)
            elif isinstance(action, Copy):
                found.add(action.target)
            elif isinstance(action, (Tproxy, Untrack, Alter)):
                found.add(Field.TPROXY_PORT)
            elif isinstance(action, (Jump, Goto)):
                target = self._rules.target(chain, action.chain)
                found |= self.written(target) if target else set()
        return frozenset(found)


def _asked(rule: Rule) -> set[Field]:
    return {
        part.field
        for condition in rule.conditions
        for part in parts(condition.test)
        if isinstance(part, (Number, Interface))
    }


def _batch(rules: Sequence[Rule]) -> Batch:
    tests = [[condition.test for condition in rule.conditions] for rule in rules]
    if len(rules) == 1:
        return Batch(AllOf(tuple(tests[0])), rules[0].actions, tuple(rules))
    return Batch(AnyOf(tuple(_merged(tests))), rules[0].actions, tuple(rules))


def _merged(tests: Iterable[Sequence[Test]]) -> Iterator[Test]:
    """Join rules that differ only in the values of one field, such as one rule for each port."""
    alike: dict[tuple[Field, frozenset[Test]], list[tuple[int, int]]] = {}
    for conditions in tests:
        at = _listed_at(conditions)
        if at is None:
            yield AllOf(tuple(conditions))
            continue
        place, listed = at
        rest = frozenset((*conditions[:place], *conditions[place + 1 :]))
        alike.setdefault((listed.field, rest), []).extend(listed.values)
    for (name, rest), spans in alike.items():
        yield AllOf((*rest, Number(name, joined(spans))))


def _listed_at(conditions: Sequence[Test]) -> tuple[int, Number] | None:
    for wanted in _LISTED:
        for at, test in enumerate(conditions):
            if isinstance(test, Number) and test.field is wanted and test.mask is None:
                return at, test
    return None


def reject_cycles(rules: RuleSet) -> None:
    """Reject chains that jump back to themselves, and jumps that are nested too deeply.

    Raises:
        RulesError: The message names the line of the jump.
    """
    done: set[int] = set()
    heights: dict[int, int] = {}
    for start in rules.chains.values():
        path: dict[int, None] = {}
        stack: list[tuple[Chain, Iterator[tuple[Chain, Rule]]]] = []
        _enter(start, rules, path, stack, done)
        while stack:
            chain, targets = stack[-1]
            following = next(targets, None)
            if following is None:
                stack.pop()
                path.pop(id(chain), None)
                done.add(id(chain))
                heights[id(chain)] = _height(chain, rules, heights)
                continue
            target, rule = following
            if id(target) in path:
                where = f"line {rule.line}" if rule.line else f"rule {rule.number}"
                raise RulesError(
                    f"{where}: the jump to {target.name!r} closes a cycle: {rule.text[:120]}"
                )
            _enter(target, rules, path, stack, done)


def _height(chain: Chain, rules: RuleSet, heights: Mapping[int, int]) -> int:
    """Return how many chains are nested below a chain, from the heights of its targets."""
    highest = 0
    for target, rule in _targets(chain, rules):
        highest = max(highest, 1 + heights.get(id(target), 0))
        if highest > NESTING_LIMIT:
            where = f"line {rule.line}" if rule.line else f"rule {rule.number}"
            raise RulesError(
                f"{where}: jumps are nested more than {NESTING_LIMIT} deep: {rule.text[:120]}"
            )
    return highest


def _enter(
    chain: Chain, rules: RuleSet, path: dict[int, None],
    stack: list[tuple[Chain, Iterator[tuple[Chain, Rule]]]], done: set[int],
) -> None:  # fmt: skip
    if id(chain) not in done:
        path[id(chain)] = None
        stack.append((chain, _targets(chain, rules)))


def _targets(chain: Chain, rules: RuleSet) -> Iterator[tuple[Chain, Rule]]:
    for rule in chain.rules:
        for action in rule.actions:
            if isinstance(action, (Jump, Goto)):
                target = rules.target(chain, action.chain)
                if target is not None:
                    yield target, rule


def count_steps(limit: int, work: Callable[[], int]) -> Callable[[], None]:
    """Return a function to call at each rule; it raises an error when a limit is exceeded.

    The error is :class:`TooComplexError`.

    Args:
        limit: The maximum number of calls.
        work: Returns the number of cached results so far.
    """
    left = limit

    def step() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise TooComplexError(f"more than {limit} rules have to be evaluated")
        if work() > WORK_LIMIT:
            raise TooComplexError("the conditions combine in too many ways")

    return step

"""Apply the rules of base chains to sets of packets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field

from pytest_fsmredir.rules.bdd import ALL, NONE, Bdd
from pytest_fsmredir.rules.chains import Batch, Batches, count_steps
from pytest_fsmredir.rules.ends import SOURCE_CHANGED, Asked, End, EndKind, Ends, Move, Observer
from pytest_fsmredir.rules.errors import TooComplexError
from pytest_fsmredir.rules.forms import (
    Accept,
    Action,
    Alter,
    Chain,
    Copy,
    Destination,
    Drop,
    Field,
    Goto,
    Hook,
    Jump,
    Opaque,
    Redirect,
    Reject,
    Return,
    Source,
    Tproxy,
    Untrack,
    Write,
)
from pytest_fsmredir.rules.orders import Orders
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.ruleset import Routing, RuleSet
from pytest_fsmredir.rules.space import LOOPBACK, Bits, Environment, Space, constant

STEP_LIMIT = 250_000
"""Limit of rules that one pass evaluates; a batch counts as one rule."""


class Model:
    """A rule set in its pod, ready for :class:`Walk`.

    Attributes:
        rules: The rules that were read.
        space: The packets of one IP version.
        surroundings: The pod.
        routing: The pod's routing.
        lookups: The routes that each routing rule uses, in the order in which they count.
        unusual_routes: Destinations that the routing leads to the pod itself or to nowhere, without
            the pod's own addresses.
        hooks: The base chains of each hook, in order.
        orders: The order of the NAT chains of a hook.
    """

    def __init__(self, rules: RuleSet, space: Space, surroundings: Surroundings) -> None:
        self.rules, self.space, self.surroundings = rules, space, surroundings
        self.batches, self.orders = Batches(rules), Orders(space)
        self.routing: Routing = surroundings.routing(rules, space.family)
        self.lookups = self.routing.lookups(space.family)
        self.unusual_routes = surroundings.unusual(self.routing, space.family)
        self.hooks = {hook: rules.at(hook, space.family) for hook in Hook}

    def with_rules(self, rules: RuleSet) -> Model:
        """Return a model of other rules, in the same pod with the same routing."""
        made = copy(self)
        made.rules, made.batches = rules, Batches(rules)
        made.batches.adopt(self.batches)  # a chain that differs is another object
        made.hooks = {hook: rules.at(hook, self.space.family) for hook in Hook}
        return made


@dataclass(slots=True)
class Verdicts:
    """The decisions of one base chain so far."""

    hook: Hook
    accepted: int = NONE
    translated: int = NONE
    moves: dict[Move, int] = field(default_factory=dict)


@dataclass(slots=True)
class Passage:
    """Sets of packets on their way through the rules, and the changes made to them.

    Attributes:
        model: The rules that they pass.
        at: The current fields.
        observer: Called for each rule that is evaluated.
        ends: The packets whose fate is decided, by fate.
        altered: Packets with a change that no field represents, by the kind of change.
        untracked: Packets that are exempt from connection tracking.
        intercepted: Packets that TPROXY hands to a listener.
    """

    model: Model
    at: Environment
    observer: Observer | None = None
    ends: Ends = field(default_factory=dict)
    altered: dict[str, int] = field(default_factory=dict)
    untracked: int = NONE
    intercepted: int = NONE
    _verdicts: Verdicts = field(default_factory=lambda: Verdicts(Hook.OUTPUT))
    _step: Callable[[], None] = field(init=False)

    def __post_init__(self) -> None:
        """Start to count steps."""
        self._step = count_steps(STEP_LIMIT, self.model.space.bdd.work)

    @property
    def space(self) -> Space:
        """The packets of one IP version."""
        return self.model.space

    @property
    def bdd(self) -> Bdd:
        """The store of sets of packets."""
        return self.model.space.bdd

    def base(self, hook: Hook, chain: Chain, packets: int) -> tuple[int, Verdicts]:
        """Pass a base chain; return the packets that it accepts, and its verdicts."""
        self._verdicts = Verdicts(hook)
        rest = self._chain(chain, packets, 1)
        if chain.accepts:
            return self.bdd.either(self._verdicts.accepted, rest), self._verdicts
        self.end(End(EndKind.DROPPED, f"by the policy of {chain.name}"), rest)
        return self._verdicts.accepted, self._verdicts

    def nat(self, hook: Hook, chains: Sequence[Chain], packets: int) -> tuple[int, dict[Move, int]]:
        """Pass the NAT chains of a hook; return the unchanged packets, and the others by target."""
        bdd, passed = self.bdd, NONE
        found: dict[Move, int] = {}
        for where, order in self.model.orders.of(hook, chains):
            waiting = bdd.both(packets, where)
            for chain in order:
                through, verdicts = self.base(hook, chain, waiting)
                for move, some in verdicts.moves.items():
                    found[move] = bdd.either(found.get(move, NONE), some)
                done = bdd.both(verdicts.translated, through)
                waiting = bdd.minus(through, done)
                for some in verdicts.moves.values():
                    done = bdd.minus(done, some)
                passed = bdd.either(passed, done)
            passed = bdd.either(passed, waiting)
        return passed, found

    def end(self, end: End, packets: int) -> None:
        """Record the fate of packets."""
        if packets != NONE:
            self.ends[end] = self.bdd.either(self.ends.get(end, NONE), packets)

    def set(self, name: Field, where: int, new: Bits) -> None:
        """Change the value of a field in the packets ``where``."""
        choose = self.bdd.choose
        pairs = zip(self.at[name], new, strict=True)
        self.at[name] = tuple(o if o == n else choose(where, n, o) for o, n in pairs)

    def differing(self, old: Bits, new: Bits) -> int:
        """Return the packets in which two values of a field differ."""
        bdd = self.bdd
        pairs = zip(old, new, strict=True)
        return bdd.union(bdd.either(bdd.minus(o, n), bdd.minus(n, o)) for o, n in pairs if o != n)

    def _chain(self, chain: Chain, packets: int, depth: int) -> int:
        """Evaluate a chain; return the packets that reach its end or return from it."""
        bdd, back = self.bdd, NONE
        for batch in self.model.batches.of(chain, single=self.observer is not None):
            if packets == NONE:
                break
            try:
                packets, turned = self._ask(chain, batch, packets, depth)
                back = bdd.either(back, turned)
            except TooComplexError as why:
                raise TooComplexError(why.limit, why.place or _place(chain, batch)) from None
        return bdd.either(packets, back)

    def _ask(self, chain: Chain, batch: Batch, packets: int, depth: int) -> tuple[int, int]:
        """Evaluate a batch; return the packets that continue and those that return."""
        bdd = self.bdd
        self._step()
        hit = bdd.both(packets, self.space.holds(batch.test, self.at))
        if self.observer is not None:
            self._show(self.observer, chain, batch, packets, hit, depth)
        if hit == NONE:
            return packets, NONE
        goes_on, turned = self._act(chain, batch, hit, depth)
        return bdd.either(bdd.minus(packets, hit), goes_on), turned

    def _show(
        self, observer: Observer, chain: Chain, batch: Batch, packets: int, hit: int, depth: int
    ) -> None:
        (rule,) = batch.rules
        conditions = tuple(self.space.holds(c.test, self.at) for c in rule.conditions)
        observer(Asked(self._verdicts.hook, chain, rule, packets, conditions, hit, depth))

    def _act(self, chain: Chain, batch: Batch, hit: int, depth: int) -> tuple[int, int]:
        """Apply a batch; return the packets that continue and those that return."""
        for action in batch.actions:
            match action:
                case Return():
                    return NONE, hit
                case Jump(name):
                    return self._enter(chain, name, hit, depth), NONE
                case Goto(name):
                    return NONE, self._enter(chain, name, hit, depth)
            if self._finishes(action, hit):
                return NONE, NONE
        return hit, NONE

    def _enter(self, chain: Chain, name: str, hit: int, depth: int) -> int:
        target = self.model.rules.target(chain, name)
        if target is None:
            self.end(End(EndKind.OPAQUE, f"the chain {name} was not read"), hit)
            return NONE
        return self._chain(target, hit, depth + 1)

    def _finishes(self, action: Action, hit: int) -> bool:
        """Apply one action; return whether it ends the base chain for the packets."""
        match action:
            case Accept():
                self._accept(hit)
            case Drop():
                self.end(End(EndKind.DROPPED), hit)
            case Reject():
                self.end(End(EndKind.REFUSED), hit)
            case Opaque(what):
                self.end(End(EndKind.OPAQUE, what), hit)
            case Redirect(port):
                self._redirect(port, hit)
            case Destination(address, port):
                self._move(Move(address, port), hit)
            case Source():
                self._alter(SOURCE_CHANGED, hit)
                self._translate(hit)
            case Tproxy(port, ends):
                self._intercept(port, hit)
                if ends:
                    self._accept(hit)
                return ends
            case _:
                self._change(action, hit)
                return False
        return True

    def _change(self, action: Action, hit: int) -> None:
        match action:
            case Write(name, value, mask):
                self.set(name, hit, self._written(self.at[name], value, mask))
            case Copy(source, target, mask):
                kept = constant(mask, len(self.at[target]))
                bits = zip(self.at[target], self.at[source], kept, strict=True)
                self.set(target, hit, tuple(s if m == ALL else t for t, s, m in bits))
            case Untrack():
                self.untracked = self.bdd.either(self.untracked, hit)
            case Alter(what):
                self._alter(what, hit)

    def _written(self, old: Bits, value: int, mask: int) -> Bits:
        flips, clears = constant(value, len(old)), constant(mask, len(old))
        kept = (NONE if m == ALL else b for b, m in zip(old, clears, strict=True))
        return tuple(
            self.bdd.opposite(b) if f == ALL else b for b, f in zip(kept, flips, strict=True)
        )

    def _alter(self, what: str, hit: int) -> None:
        self.altered[what] = self.bdd.either(self.altered.get(what, NONE), hit)

    def _accept(self, hit: int) -> None:
        self._verdicts.accepted = self.bdd.either(self._verdicts.accepted, hit)

    def _translate(self, hit: int) -> None:
        self._accept(hit)
        self._verdicts.translated = self.bdd.either(self._verdicts.translated, hit)

    def _move(self, move: Move, hit: int) -> None:
        self._translate(hit)
        moves = self._verdicts.moves
        moves[move] = self.bdd.either(moves.get(move, NONE), hit)

    def _redirect(self, port: int | None, hit: int) -> None:
        """Move packets to this host: to loopback, or to the interface that they arrive by.

        ``REDIRECT`` takes the first address of that interface (linux/net/netfilter,
        nf_nat_redirect.c).
        """
        family = self.space.family
        if self._verdicts.hook is Hook.OUTPUT:
            self._move(Move(LOOPBACK[family][0] | 1, port), hit)
            return
        own = {name: owned for name, owned in self.model.surroundings.own(family).items() if owned}
        last = next(reversed(own), None)
        for name, owned in own.items():
            number = self.space.index(name)
            by = self.space.within(Field.IN, self.at[Field.IN], ((number, number),))
            some = self.bdd.both(hit, by)
            some = hit if name == last else some
            if some != NONE:
                self._move(Move(owned[0], port), some)
                hit = self.bdd.minus(hit, some)
        if not own:
            self._move(Move(LOOPBACK[family][0] | 1, port), hit)

    def _intercept(self, port: int | None, hit: int) -> None:
        self.intercepted = self.bdd.either(self.intercepted, hit)
        bits = self.at[Field.PORT] if port is None else self.space.constant(Field.PORT, port)
        self.set(Field.TPROXY_PORT, hit, bits)


def _place(chain: Chain, batch: Batch) -> str:
    """Name the first rule of a batch."""
    rule = batch.rules[0]
    where = (
        f"line {rule.line}" if rule.line else f"rule {rule.number} of {chain.table} {chain.name}"
    )
    return f"{where} ({rule.text[:80]})"

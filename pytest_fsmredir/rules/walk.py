"""Follow packets through hooks, routing and NAT, in the order of the kernel.

The code works on sets of packets. A single packet is a set in which every bit is constant, so the
trace of one packet and the proof for all packets use the same code.

Packets whose destination NAT changes continue separately, with that destination as a constant:
sets of packets whose destination depends on all other fields would be large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.model.reserved import INBOUND_PORT, OUTBOUND_PORT
from pytest_fsmredir.rules.bdd import NONE, Intervals, joined
from pytest_fsmredir.rules.ends import NO_ROUTE, SOURCE_CHANGED, End, EndKind, Ends, Move, Observer
from pytest_fsmredir.rules.forms import DEVICE_HOOKS, Chain, Field, Hook, Kind
from pytest_fsmredir.rules.passage import Model, Passage
from pytest_fsmredir.rules.pod import NOWHERE, USUAL_TABLES
from pytest_fsmredir.rules.ruleset import PolicyRule, specific
from pytest_fsmredir.rules.space import BROAD, LOOPBACK, Bits, Environment
from pytest_fsmredir.rules.vocabulary import INVALID, NEW, RELATED, UNTRACKED

_TRACKING: Final = -200
"""Priority of connection tracking (linux/netfilter_ipv4.h): before it, no packet has a state."""
_NAT: Final = {Hook.PREROUTING: -100, Hook.OUTPUT: -100, Hook.INPUT: 100, Hook.POSTROUTING: 100}
_OF_DESTINATION: Final = frozenset({Hook.PREROUTING, Hook.OUTPUT})
_HERE: Final = frozenset({"local", "broadcast", "anycast"})
_BY_LO: Final = frozenset({"local", "anycast"})
"""Types of routes whose outgoing packets pass lo; those of a broadcast leave by its interface."""


class Stage(NamedTuple):
    """One base chain of a hook, or all of its NAT base chains together."""

    hook: Hook
    chains: tuple[Chain, ...]
    nat: bool


class Walk:
    """One pass of a set of packets through the hooks.

    Attributes:
        way: The packets, and the changes made to them.
        moves: The packets whose destination NAT changed, in the order of the hooks.
    """

    def __init__(
        self,
        model: Model,
        at: Environment,
        *,
        earlier: Sequence[tuple[Hook, Move, int]] | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Prepare the pass.

        Args:
            model: The rules that the packets pass.
            at: Their initial fields.
            earlier: The moves of their connections' first packets, which NAT repeats.
            observer: Called for each rule that is evaluated.
        """
        self.way = Passage(model, dict(at), observer)
        self.moves: list[tuple[Hook, Move, int]] = []
        self._model, self._space, self._bdd = model, model.space, model.space.bdd
        self._start, self._earlier = dict(at), earlier
        self._moved = self._leaves = False
        self._exit = self.way.at[
            Field.OUT
        ]  # by the last route; OUTPUT still asks for the first one
        self._opening = {self._space.constant(Field.STATE, state) for state in (NEW, RELATED)}

    def send(self, direction: Direction, packets: int) -> Ends:
        """Send packets from a process of the pod, or to the pod, and return their fates."""
        self._leaves = direction is Direction.OUTBOUND
        if direction is Direction.INBOUND:
            self._arrive(packets)
        else:
            packets = self._led_astray(packets)
            self.way.at[Field.OUT] = self._exit
            hooks = (Hook.OUTPUT, Hook.POSTROUTING, Hook.EGRESS)
            stages = [stage for hook in hooks for stage in self._stages(hook)]
            self._through(stages, packets, self._leave)
        return self.way.ends

    def _stages(self, hook: Hook) -> list[Stage]:
        chains = self._model.hooks[hook]
        if hook in DEVICE_HOOKS:
            return [Stage(hook, (chain,), False) for chain in chains]
        turn = _NAT[hook]
        nat = tuple(chain for chain in chains if chain.kind is Kind.NAT)
        others = [Stage(hook, (c,), False) for c in chains if c.kind is not Kind.NAT]
        before = [stage for stage in others if stage.chains[0].priority < turn]
        return [*before, Stage(hook, nat, True), *others[len(before) :]]

    def _through(self, stages: Sequence[Stage], packets: int, then: Callable[[int], None]) -> None:
        for number, stage in enumerate(stages):
            if packets == NONE:
                return
            if stage.hook is Hook.POSTROUTING:
                self.way.at[Field.OUT] = self._exit
            if not stage.nat:
                packets = self._pass(stage, packets)
                continue
            packets, moves = self._translate(stage, packets)
            for move, some in moves.items():
                self.moves.append((stage.hook, move, some))
                with self._apart(self._target(move)):
                    self._moved = True
                    if stage.hook is Hook.OUTPUT:
                        some = self._route(some)
                    self._through(stages[number + 1 :], some, then)
        then(packets)

    @contextmanager
    def _apart(self, fields: Environment) -> Iterator[None]:
        """Continue the block with other values of some fields, and restore them afterwards."""
        at, moved, by = self.way.at, self._moved, self._exit
        self.way.at = {**at, **fields}
        try:
            yield
        finally:
            self.way.at, self._moved, self._exit = at, moved, by

    def _target(self, move: Move) -> Environment:
        found = {Field.TRANSLATED: self._space.constant(Field.TRANSLATED, 1)}
        if move.address is not None:
            found[Field.DESTINATION] = self._space.changed(Field.DESTINATION, move.address)
        if move.port is not None:
            found[Field.PORT] = self._space.changed(Field.PORT, move.port)
        return found

    def _pass(self, stage: Stage, packets: int) -> int:
        """Pass a base chain other than NAT; return the packets that it accepts."""
        (chain,), way = stage.chains, self.way
        elsewhere = self._elsewhere(chain, packets)
        packets = self._bdd.minus(packets, elsewhere)
        mark, state = way.at[Field.MARK], way.at[Field.STATE]
        early = chain.priority <= _TRACKING and stage.hook in {Hook.PREROUTING, Hook.OUTPUT}
        early = early or stage.hook is Hook.INGRESS
        if early:
            way.at[Field.STATE] = self._space.constant(Field.STATE, INVALID)
        elif way.untracked:
            way.set(Field.STATE, way.untracked, self._space.constant(Field.STATE, UNTRACKED))
        packets, _ = way.base(stage.hook, chain, packets)
        if early:
            way.at[Field.STATE] = state
        if stage.hook is Hook.OUTPUT and chain.kind is Kind.ROUTE and mark != way.at[Field.MARK]:
            marked = self._bdd.both(packets, way.differing(mark, way.at[Field.MARK]))
            packets = self._bdd.either(self._bdd.minus(packets, marked), self._route(marked))
        return self._bdd.either(packets, elsewhere)

    def _elsewhere(self, chain: Chain, packets: int) -> int:
        """Return the packets of other interfaces than those of a chain of a device."""
        if chain.hook not in DEVICE_HOOKS or not chain.devices:
            return NONE
        name = Field.IN if chain.hook is Hook.INGRESS else Field.OUT
        known = [self._space.index(d) for d in chain.devices if d in self._space.interfaces]
        here = self._space.within(name, self.way.at[name], joined((n, n) for n in known))
        return self._bdd.minus(packets, here)

    def _translate(self, stage: Stage, packets: int) -> tuple[int, dict[Move, int]]:
        """Apply NAT; return the unchanged packets, and the others by new destination."""
        bdd, way = self._bdd, self.way
        if self._decided(stage.hook):
            return packets, {}
        if self._earlier is not None:
            return self._repeat(stage.hook, packets)
        waiting = bdd.minus(packets, way.untracked)
        passed, found = way.nat(stage.hook, stage.chains, waiting)
        return bdd.either(passed, bdd.minus(packets, waiting)), found

    def _decided(self, hook: Hook) -> bool:
        """Whether NAT does not ask its rules: it decides once for each connection and each end.

        It has decided on packets that arrive on ``lo``, and it leaves packets without a connection
        alone (linux/net/netfilter/nf_nat_core.c, nf_nat_inet_fn).
        """
        if self._earlier is None and self._start[Field.STATE] not in self._opening:
            return True
        if hook in _OF_DESTINATION and self._moved:
            return True
        return hook in {Hook.PREROUTING, Hook.INPUT} and self._leaves

    def _repeat(self, hook: Hook, packets: int) -> tuple[int, dict[Move, int]]:
        found: dict[Move, int] = {}
        for where, move, some in self._earlier or ():
            if where is hook:
                found[move] = self._bdd.both(packets, some)
        for some in found.values():
            packets = self._bdd.minus(packets, some)
        return packets, found

    # Routing.

    def _route(self, packets: int) -> int:
        """Route packets again; return those that have an outgoing interface.

        The other chains of OUTPUT still ask for the interface of the first route
        (linux/netfilter.h, nf_hook: the state of a hook is made once).
        """
        routed = NONE
        for kind, device, some in self._looked_up(packets):
            name = "lo" if kind in _BY_LO else device
            if kind in NOWHERE or name not in self._space.interfaces:
                self.way.end(End(EndKind.LOST, f"{NO_ROUTE} {kind}"), some)
                continue
            bits = self._space.constant(Field.OUT, self._space.index(name))
            alone = some == packets and self._moved
            self._exit = bits if alone else self._chosen(some, bits)
            routed = self._bdd.either(routed, some)
        return routed

    def _led_astray(self, packets: int) -> int:
        """Route packets that an additional routing rule or an unusual route leads elsewhere."""
        special = [r for r in self._model.routing.rules if r.table not in USUAL_TABLES]
        led = self._bdd.union(self._space.holds(rule.test, self.way.at) for rule in special)
        unusual = self._model.unusual_routes
        there = self._to(unusual)
        led = self._bdd.both(packets, self._bdd.either(led, there))
        if led == NONE:
            return packets
        return self._bdd.either(self._bdd.minus(packets, led), self._route(led))

    def _chosen(self, where: int, bits: Bits) -> Bits:
        pairs = zip(self._exit, bits, strict=True)
        return tuple(self._bdd.choose(where, new, old) for old, new in pairs)

    def _looked_up(self, packets: int) -> list[tuple[str, str, int]]:
        """Return (type, interface, packets) for each route that packets take."""
        found: list[tuple[str, str, int]] = []
        for rule in self._model.routing.rules:
            asking = self._bdd.both(packets, self._space.holds(rule.test, self.way.at))
            for kind, device, some in self._in_table(rule, asking):
                found.append((kind, device, some))
                packets = self._bdd.minus(packets, some)
        return [*found, ("unreachable", "", packets)] if packets != NONE else found

    def _in_table(self, rule: PolicyRule, asking: int) -> Iterator[tuple[str, str, int]]:
        if rule.table is None:
            yield "unreachable", "", asking
            return
        for kind, device, spans in self._model.lookups[rule.table, rule.ignored]:
            if asking == NONE:
                return
            some = self._bdd.both(asking, self._to(spans))
            asking = self._bdd.minus(asking, some)
            if some != NONE and kind != "throw":
                yield kind, device, some

    # Arrival and departure.

    def _to(self, spans: Intervals) -> int:
        """Return the packets to some addresses."""
        return self._space.within(Field.DESTINATION, self.way.at[Field.DESTINATION], spans)

    def _by(self, name: Field, interface: str) -> int:
        """Return the packets that arrive or leave by an interface."""
        number = self._space.index(interface)
        return self._space.within(name, self.way.at[name], ((number, number),))

    def _leave(self, packets: int) -> None:
        lo = self._space.index("lo")
        inside = self._bdd.both(packets, self._by(Field.OUT, "lo"))
        self._settle(self._bdd.minus(packets, inside), here=False)
        if inside != NONE:
            by_lo = {
                Field.IN: self._space.constant(Field.IN, lo),
                Field.OUT: self._space.constant(Field.OUT, 0),
            }
            with self._apart(by_lo):
                self._arrive(inside)

    def _arrive(self, packets: int) -> None:
        stages = [*self._stages(Hook.INGRESS), *self._stages(Hook.PREROUTING)]
        self._through(stages, packets, self._sort)

    def _sort(self, packets: int) -> None:
        """Separate packets for the pod itself from those that it forwards."""
        packets = self._bdd.minus(packets, self._martian(packets))
        packets = self._bdd.minus(packets, self._filtered(packets))
        local = self._bdd.union(
            some
            for kind, _, some in self._looked_up(packets)
            if kind in _HERE or kind == "multicast"
        )
        self.way.end(End(EndKind.FORWARDED), self._bdd.minus(packets, local))
        self._through(self._stages(Hook.INPUT), local, lambda some: self._settle(some, here=True))

    def _martian(self, packets: int) -> int:
        """Return the packets that NAT sends from outside to loopback: the kernel drops them."""
        if not self._moved or self._leaves:
            return NONE
        settings = self._model.rules.settings
        names = [n for n in settings if n.endswith(".route_localnet") and settings[n] == "1"]
        names = [n for n in names if n.split(".")[-2] not in {"lo", "default"}]
        if self._space.family == 4 and names:
            return NONE
        loopback = (LOOPBACK[self._space.family],)
        lost = self._bdd.both(packets, self._to(loopback))
        self.way.end(End(EndKind.LOST, "loopback, from outside"), lost)
        return lost

    def _filtered(self, packets: int) -> int:
        """Return the packets whose source has a route by another interface, where that is checked.

        ``rp_filter`` 1 checks it (ip-sysctl.rst); the larger value of ``all`` and the interface
        counts. The kernel looks the source up in the main table unless a rule says otherwise.
        """
        settings, lost = self._model.rules.settings, NONE
        everywhere = settings.get("net.ipv4.conf.all.rp_filter", "0")
        routes = self._model.routing.tables.get("main", ())
        for device in self._model.surroundings.addresses if self._space.family == 4 else ():
            if max(everywhere, settings.get(f"net.ipv4.conf.{device}.rp_filter", "0")) != "1":
                continue
            left = self._bdd.both(packets, self._by(Field.IN, device))
            for route in sorted(routes, key=specific):
                source = self.way.at[Field.SOURCE]
                by = self._space.within(Field.SOURCE, source, (route.destination,))
                some = self._bdd.both(left, by)
                left = self._bdd.minus(left, some)
                if route.interface != device:
                    lost = self._bdd.either(lost, some)
            lost = self._bdd.either(lost, left)
        self.way.end(End(EndKind.LOST, "the reverse path filter"), lost)
        return lost

    def _settle(self, packets: int, *, here: bool) -> None:
        """Record the fate of packets that are delivered in the pod or have left it."""
        bdd, way = self._bdd, self.way
        if here and not self._leaves:
            # The sidecar judges a client by its address (SPEC-2.3).
            hidden = bdd.both(packets, way.altered.get(SOURCE_CHANGED, NONE))
            way.end(End(EndKind.CHANGED, SOURCE_CHANGED), hidden)
            packets = bdd.minus(packets, hidden)
        caught = bdd.both(packets, way.intercepted) if here else NONE
        way.end(End(EndKind.ELSEWHERE), self._captured(caught, way.at[Field.TPROXY_PORT]))
        packets = bdd.minus(packets, caught)
        if self._moved:
            left = self._captured(packets, way.at[Field.PORT]) if here else packets
            moved = bdd.both(left, self._moved_away()) if here else left
            way.end(End(EndKind.ELSEWHERE), moved)
            way.end(End(EndKind.DIRECT), bdd.minus(left, moved))
            return
        if here:
            packets = self._known(packets)
        for what, some in self._changes():
            changed = bdd.both(packets, some)
            way.end(End(EndKind.CHANGED, what), changed)
            packets = bdd.minus(packets, changed)
        way.end(End(EndKind.DIRECT), packets)

    def _captured(self, packets: int, port: Bits) -> int:
        """Record the packets that reach a listener of the sidecar; return the others."""
        listeners = (
            (EndKind.CAPTURED_OUTBOUND, OUTBOUND_PORT),
            (EndKind.CAPTURED_INBOUND, INBOUND_PORT),
        )
        for kind, number in listeners:
            some = self._space.within(Field.PORT, port, ((number, number),))
            some = self._bdd.both(packets, some)
            self.way.end(End(kind), some)
            packets = self._bdd.minus(packets, some)
        return packets

    def _moved_away(self) -> int:
        """Return the packets whose destination NAT replaced by another one."""
        return self._bdd.union(
            self.way.differing(self._start[name], self.way.at[name])
            for name in (Field.DESTINATION, Field.PORT)
        )

    def _known(self, packets: int) -> int:
        """Return the packets to an address of the pod: no other packets reach a socket."""
        family = self._space.family
        own = self._model.surroundings.local(family)
        known = self._bdd.both(packets, self._bdd.either(self._to(own), self._to((BROAD[family],))))
        stray = self._bdd.minus(packets, known)
        self.way.end(End(EndKind.LOST, "nothing listens for it"), stray)
        return known

    def _changes(self) -> list[tuple[str, int]]:
        names = {Field.TTL: "the TTL", Field.TOS: "the service class"}
        seen = [
            (words, self.way.differing(self._start[name], self.way.at[name]))
            for name, words in names.items()
        ]
        return [*self.way.altered.items(), *seen]

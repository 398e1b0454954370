"""The pod of a rule set: its addresses, interfaces and routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Final

from pytest_fsmredir.rules.bdd import Intervals, common, joined, outside
from pytest_fsmredir.rules.forms import Interface
from pytest_fsmredir.rules.routing import plain
from pytest_fsmredir.rules.ruleset import Routing, RuleSet, parts
from pytest_fsmredir.rules.space import LOOPBACK
from pytest_fsmredir.rules.vocabulary import address

NOWHERE: Final = frozenset({"blackhole", "unreachable", "prohibit"})
"""Types of routes whose packets are lost (ip-route(8))."""

USUAL_TABLES: Final = frozenset({"local", "main", "default"})
"""The routing tables that every packet is looked up in. Only a routing rule leads to others."""

EXAMPLE_ADDRESSES = ("10.244.0.10", "fd00:10:244::a")
"""A pod's default addresses; they lie in the pod range of the document's examples."""


_LINK_LOCAL: Final = (0xFE80 << 112, (0xFEC0 << 112) - 1)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The properties of one pod that its rules can match.

    Attributes:
        addresses: Its addresses as text, by interface, without loopback; the primary one first.
        closed: The pod has no other interfaces. If False, rules may name further ones, and one
            interface that no rule names exists as well.
        reserved: Addresses of its loopback interface that no host has: the reserved ones of IPv6
            (RFC 4291, section 4). Istio's tool gives ``::6`` to it.
        broadcast: The broadcast addresses of its networks, which no TCP connection has.
    """

    addresses: Mapping[str, Sequence[str]] = field(
        default_factory=lambda: {"eth0": EXAMPLE_ADDRESSES}
    )
    closed: bool = False
    reserved: Sequence[int] = ()
    broadcast: Sequence[int] = ()

    @classmethod
    def of(
        cls, rules: RuleSet, first: Sequence[str] = (), *, closed: bool = False
    ) -> Surroundings | None:
        """Return the pod whose routes were read, or None if its routes name no address.

        The kernel has a route of type local for each address (ip-route(8)). Link-local addresses
        are left out: every interface has one, and no service uses it.

        Args:
            rules: What was read in the pod.
            first: Its known addresses, the primary one first.
            closed: The pod has no other interfaces.
        """
        found: dict[str, list[str]] = {}
        reserved: list[int] = []
        broadcast: list[int] = []
        for family, routing in sorted(rules.routing.items()):
            for route in routing.tables.get("local", ()):
                low, high = route.destination
                if route.kind == "broadcast":
                    broadcast.append(low)
                host = ip_address(low) if family == 4 else IPv6Address(low)
                if low != high or route.kind != "local" or host.is_link_local:
                    continue
                if route.interface != "lo":
                    found.setdefault(route.interface, []).append(str(host))
                elif family == 6 and host.is_reserved and not host.is_loopback:
                    reserved.append(low)
        places = {name: n for n, name in enumerate(first)}
        last = len(places)
        for owned in found.values():
            owned.sort(key=lambda name: places.get(name, last))
        devices = sorted(found, key=lambda d: min(places.get(name, last) for name in found[d]))
        owned_by = {device: tuple(found[device]) for device in devices}
        if not found:
            return None
        return cls(owned_by, closed, tuple(reserved), tuple(dict.fromkeys(broadcast)))

    def own(self, family: int) -> dict[str, list[int]]:
        """Return the addresses of one IP version as numbers, by interface."""
        return {
            device: [address(text) for text in owned if (":" in text) == (family == 6)]
            for device, owned in self.addresses.items()
        }

    def texts(self) -> list[str]:
        """Return every address as text."""
        return [text for owned in self.addresses.values() for text in owned]

    def local(self, family: int) -> Intervals:
        """Return every address that leads to the pod itself."""
        own = [(a, a) for owned in self.own(family).values() for a in owned]
        return joined([LOOPBACK[family], *own])

    def unusual(self, routing: Routing, family: int) -> Intervals:
        """Return the destinations of routes that lead to nowhere, or to the pod for foreign ones.

        The tables that a further routing rule leads to do not count.

        Args:
            routing: The pod's routing.
            family: IP version.
        """
        width = 32 if family == 4 else 128
        own = self.local(family)
        if family == 6:
            own = joined([*own, _LINK_LOCAL])  # each interface has such an address
        foreign = outside(own, width)
        tables = (table for name, table in routing.tables.items() if name in USUAL_TABLES)
        routes = [route for table in tables for route in table]
        nowhere = [route.destination for route in routes if route.kind in NOWHERE]
        here = joined(route.destination for route in routes if route.kind == "local")
        return joined([*nowhere, *common(here, foreign)])

    def routing(self, rules: RuleSet, family: int) -> Routing:
        """Return the routing that was read, or the default routing of a pod."""
        found = rules.routing.get(family)
        if found is not None and found.rules:
            return found
        everything = (0, (1 << (32 if family == 4 else 128)) - 1)
        return plain(self.own(family), LOOPBACK[family], everything)

    def interfaces(self, rules: RuleSet, others: Iterable[str] = ()) -> tuple[str, ...]:
        """Return the names of all interfaces, ``lo`` first.

        Args:
            rules: Rules that may name interfaces.
            others: Further names.
        """
        names = ["lo", *self.addresses, *others]
        if not self.closed:
            patterns = [
                name
                for chain in rules.chains.values()
                for rule in chain.rules
                for condition in rule.conditions
                for part in parts(condition.test)
                if isinstance(part, Interface)
                for name in part.names
            ]
            names += [_member(pattern) for pattern in patterns]
            names.append("other0")
        return tuple(dict.fromkeys(name for name in names if name))


def _member(pattern: str) -> str:
    return pattern[:-1] + "9" if pattern.endswith("*") else pattern

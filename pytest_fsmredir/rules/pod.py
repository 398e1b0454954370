"""What a set of rules stands in: addresses, interfaces and routes of one pod."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_fsmredir.rules.bdd import Intervals, joined
from pytest_fsmredir.rules.forms import Interface, Routing, RuleSet, parts
from pytest_fsmredir.rules.routing import plain
from pytest_fsmredir.rules.space import LOOPBACK
from pytest_fsmredir.rules.vocabulary import address

EXAMPLE_ADDRESSES = ("10.244.0.10", "fd00:10:244::a")
"""A pod's addresses where none are known; inside the documents' own pod range."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """One pod, as far as its rules can ask for it.

    Attributes:
        addresses: Its addresses as text, by interface, loopback aside; the primary one first.
        closed: The interfaces named are all there are. Else rules may name others, and one that
            no rule names exists as well.
    """

    addresses: Mapping[str, Sequence[str]] = field(
        default_factory=lambda: {"eth0": EXAMPLE_ADDRESSES}
    )
    closed: bool = False

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

    def routing(self, rules: RuleSet, family: int) -> Routing:
        """Return how packets are routed: as was read, or in the plainest way."""
        found = rules.routing.get(family)
        if found is not None and found.rules:
            return found
        everything = (0, (1 << (32 if family == 4 else 128)) - 1)
        return plain(self.own(family), LOOPBACK[family], everything)

    def interfaces(self, rules: RuleSet, others: Iterable[str] = ()) -> tuple[str, ...]:
        """Return the names of all interfaces, ``lo`` first.

        Args:
            rules: What may name some.
            others: More names that matter.
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

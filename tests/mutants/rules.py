"""Rules as values, and as input for ``iptables-restore --noflush``. Pure; runs nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

BUILT_IN = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        tag: What it is there for; several rules of one purpose share it.
        chain: Where it stands.
        match: What it matches, as iptables options; empty for everything.
        verdict: What becomes of a packet that matches, with the target's options.
        table: The table of the chain.
    """

    tag: str
    chain: str
    match: str = ""
    verdict: str = "RETURN"
    table: str = "nat"

    @property
    def line(self) -> str:
        """The rule as a line of a table."""
        words = f"{self.match} -j {self.verdict}".replace("-j -g", "-g").strip()
        return f"-A {self.chain} {words}"

    @property
    def hooked(self) -> bool:
        """Whether it stands in a chain of the kernel's, not in one of ours."""
        return self.chain in BUILT_IN


Rules = tuple[Rule, ...]


def chains_of(rules: Iterable[Rule], table: str) -> list[str]:
    """Return the names of our own chains of a table: those with rules, in order."""
    ours = (rule.chain for rule in rules if rule.table == table and not rule.hooked)
    return list(dict.fromkeys(ours))


def creation(rules: Rules) -> str:
    """Return input that adds the rules where there are none yet, and fails where there are some."""
    return _tables(
        (
            table,
            [*(f"-N {chain}" for chain in chains_of(rules, table)), *_lines(rules, table)],
        )
        for table in _used(rules)
    )


def renewal(rules: Rules) -> str:
    """Return input that refills our chains of the nat table, whose jumps are there already."""
    chains = chains_of(rules, "nat")
    own = [rule.line for rule in rules if rule.table == "nat" and not rule.hooked]
    return _tables([("nat", [*(f"-F {chain}" for chain in chains), *own])])


def removal(rules: Rules) -> str:
    """Return input that takes away what :func:`creation` added."""
    return _tables((table, _taken_away(rules, table)) for table in _used(rules))


def refill(rules: Rules, listing: str) -> str:
    """Return input that puts our chains of the nat table back to what a listing shows."""
    chains = chains_of(rules, "nat")
    before = [
        line for line in listing.splitlines() if line.startswith("-A") and line.split()[1] in chains
    ]
    return _tables([("nat", [*(f"-F {chain}" for chain in chains), *before])])


def _taken_away(rules: Rules, table: str) -> list[str]:
    hooked = [rule for rule in rules if rule.table == table and rule.hooked]
    chains = chains_of(rules, table)
    return [
        *(f"-D{rule.line.removeprefix('-A')}" for rule in hooked),
        *(f"-F {chain}" for chain in chains),
        *(f"-X {chain}" for chain in chains),
    ]


def _used(rules: Rules) -> list[str]:
    return list(dict.fromkeys(rule.table for rule in rules))


def _lines(rules: Rules, table: str) -> list[str]:
    return [rule.line for rule in rules if rule.table == table]


def _tables(tables: Iterable[tuple[str, list[str]]]) -> str:
    return "".join("\n".join([f"*{name}", *lines, "COMMIT", ""]) for name, lines in tables)

"""Rules as values, and as input for ``iptables-restore --noflush``. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

BUILT_IN = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        tag: Its purpose; several rules can share it.
        chain: Its chain.
        match: Its match, as iptables options; empty for everything.
        verdict: The target of a matching packet, with the target's options.
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
        """Whether it is in one of the kernel's chains, not in one of ours."""
        return self.chain in BUILT_IN


Rules = tuple[Rule, ...]


def chains_of(rules: Iterable[Rule], table: str) -> list[str]:
    """Return the names of our chains in a table that have rules, in order."""
    ours = (rule.chain for rule in rules if rule.table == table and not rule.hooked)
    return list(dict.fromkeys(ours))


def creation(rules: Rules) -> str:
    """Return input that adds the rules, and that fails if our chains exist already."""
    return _tables(
        (
            table,
            [*(f"-N {chain}" for chain in chains_of(rules, table)), *_lines(rules, table)],
        )
        for table in _used(rules)
    )


def renewal(rules: Rules) -> str:
    """Return input that replaces our chains of the nat table, which already has the jumps."""
    chains = chains_of(rules, "nat")
    own = [rule.line for rule in rules if rule.table == "nat" and not rule.hooked]
    return _tables([("nat", [*(f"-F {chain}" for chain in chains), *own])])


def removal(rules: Rules) -> str:
    """Return input that removes what :func:`creation` added."""
    return _tables((table, _taken_away(rules, table)) for table in _used(rules))


def refill(rules: Rules, listing: str) -> str:
    """Return input that resets our chains of the nat table to a listing."""
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

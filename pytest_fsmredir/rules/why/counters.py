"""What one flow has counted: the rules whose packet counters differ between two listings."""

from __future__ import annotations

from pytest_fsmredir.rules import live


def counted(before: str, after: str) -> str:
    """Return the rules that matched between two readings, one a line.

    Args:
        before: What the command of :func:`.scene.reading` printed first.
        after: What it printed later.

    Raises:
        RulesError: A listing cannot be read.
    """
    old = {
        (key, rule.number): rule.packets or 0
        for key, chain in live.read(before).chains.items()
        for rule in chain.rules
    }
    lines = []
    for key, chain in live.read(after).chains.items():
        for rule in chain.rules:
            more = (rule.packets or 0) - old.get((key, rule.number), 0)
            if more:
                lines.append(f"{chain.origin} {chain.table}: +{more} {rule.text}")
    return "\n".join([*lines, ""])

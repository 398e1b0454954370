"""Replace the chains of an earlier run: all of them or none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """Our part of one table.

    Attributes:
        chains: Rules without their ``-A CHAIN``, by chain.
        hooks: Rules in the kernel's chains that jump to ours.
    """

    chains: Mapping[str, Sequence[str]]
    hooks: Sequence[str] = field(default=())


def run(argv: Sequence[str], text: str = "") -> str:
    """Run a program and return its output; end the process if it fails."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{argv[0]} exited {done.returncode}: {done.stderr}")
    return done.stdout


def replace(families: Mapping[str, Mapping[str, Table]]) -> None:
    """Load tables, keyed by the first part of a family's program names and by table name.

    If a later family fails, restore the earlier ones.
    """
    before: list[tuple[str, str]] = []
    for program, tables in families.items():
        saved = run([f"{program}-save"])
        try:
            run([f"{program}-restore", "--noflush", "--wait=5"], _input(tables, saved))
        except SystemExit:
            for other, text in before:
                run([f"{other}-restore", "--wait=5"], text)
            raise
        before.append((program, _whole(saved, tables)))


def _input(tables: Mapping[str, Table], saved: str) -> str:
    lines: list[str] = []
    for name, table in tables.items():
        there = _of_table(saved, name)
        lines += [f"*{name}", *(f":{chain} - [0:0]" for chain in table.chains)]
        lines += [f"-A {chain} {rule}" for chain, rules in table.chains.items() for rule in rules]
        lines += [hook for hook in table.hooks if hook not in there]
        lines += ["COMMIT"]
    return "\n".join([*lines, ""])


def _whole(saved: str, tables: Mapping[str, Table]) -> str:
    """Return the input that restores tables from a listing; other tables become empty."""
    missing = [f"*{name}\nCOMMIT\n" for name in tables if f"*{name}\n" not in saved]
    return saved + "".join(missing)


def _of_table(saved: str, name: str) -> list[str]:
    _, _, rest = saved.partition(f"*{name}\n")
    return rest.partition("\nCOMMIT")[0].splitlines()

"""What an implementation ran in a pod, and in which environment, as text."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from pytest_fsmredir.implementations.base import Completed

_LONGEST: Final = 64 * 1024
"""Characters of one stream that are kept: its end."""
_OURS: Final = ("FSM_", "POD_IP")
_HARMLESS: Final = frozenset({"PATH", "XTABLES_LOCKFILE", "LANG", "LC_ALL", "TZ"})


class Ran(NamedTuple):
    """A program that an implementation ran in a pod.

    Attributes:
        argv: The program and its arguments.
        stdin: Its input.
        completed: Its exit status and its output.
    """

    argv: Sequence[str]
    stdin: str
    completed: Completed


def transcript(programs: Iterable[Ran]) -> str:
    """Return the programs with their input, exit status and output."""
    found: list[str] = []
    for ran in programs:
        done = ran.completed
        status = "killed at its deadline" if done.status is None else str(done.status)
        found += [f"$ {shlex.join(ran.argv)}", f"# exit status: {status}"]
        streams = {"stdin": ran.stdin, "stdout": done.stdout, "stderr": done.stderr}
        for name, text in streams.items():
            if text.strip():
                found += [f"# {name}", text[-_LONGEST:].rstrip("\n")]
    return "\n".join([*found, ""]) if found else "# it ran no program\n"


def environment(variables: Mapping[str, str]) -> str:
    """Return the variables of an environment, one a line.

    Only the contract's variables and harmless ones have their values: any other can be a secret.
    """
    return "".join(
        f"{name}={text}\n" if is_shown(name) else f"{name}  # the value is left out\n"
        for name, text in sorted(variables.items())
    )


def is_shown(name: str) -> bool:
    """Whether the value of a variable cannot be a secret."""
    return name.startswith(_OURS) or name in _HARMLESS

"""Disturbing an implementation at work: failing programs, a kill half-way, a held lock."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO

from pytest_fsmredir import scratch
from pytest_fsmredir.backends.netns.programs import Toolbox
from pytest_fsmredir.backends.programming import Sabotage
from pytest_fsmredir.implementations.base import OF_IPTABLES

# Every program here that changes what packets meet, under each of its names.
_PROGRAMS = (
    *(
        f"{family}{variant}{tool}"
        for family in ("iptables", "ip6tables")
        for variant in ("", *(f"-{variant}" for variant in OF_IPTABLES))
        for tool in ("", "-save", "-restore")
    ),
    "nft",
    "ipset",
    "ip",
    "tc",
)

_SHIM = """\
#!/bin/sh
here={directory} at={at} count=0
echo >>"$here/started"
while read -r _; do count=$((count + 1)); done <"$here/started"
if [ $at -eq $count ] || [ $at -eq {every} ]; then
  {action}
fi
PATH={path}
exec "${{0##*/}}" "$@"
"""
_FAIL = 'echo "${0##*/}: this program has been made to fail" >&2; exit 4'
# The harness ends this wait by killing the whole command. Nothing is ever written.
_KILL = 'echo >"$here/killed"; read -r _ <"$here/never"'
_EVERY = -1

_LOOK_S, _LOOKS = 0.002, 250  # at the kernel's list of locks, until the owner lets go anyway


class SabotagedToolbox:
    """A toolbox whose programs count how often they are started, and fail or kill at one start.

    It takes the place of a :class:`.programs.Toolbox` for one run of an implementation.

    Attributes:
        variant: As that of the toolbox it is made of.
        path: PATH with the programs first.
        killed_by: Descriptor that can be read once everything is to be killed.
    """

    def __init__(self, toolbox: Toolbox, sabotage: Sabotage) -> None:
        self.variant = toolbox.variant
        self._directory = scratch.directory("sabotage")
        self.path = os.pathsep.join([str(self._directory / "bin"), toolbox.path])
        for name in ("killed", "never"):
            os.mkfifo(self._directory / name)
        # Open for writing too: without a writer it would read as ended.
        self.killed_by = os.open(self._directory / "killed", os.O_RDWR | os.O_CLOEXEC)
        self._fill(toolbox.path, sabotage)

    @property
    def started(self) -> int:
        """How many programs have been started."""
        return (self._directory / "started").read_bytes().count(b"\n")

    def close(self) -> None:
        """Let go of what tells that everything is to be killed."""
        os.close(self.killed_by)

    def _fill(self, path: str, sabotage: Sabotage) -> None:
        shim = self._directory / "shim"
        shim.write_text(
            _SHIM.format(
                directory=shlex.quote(str(self._directory)),
                at=_EVERY if sabotage.at is None else sabotage.at,
                every=_EVERY,
                action=_KILL if sabotage.kills else _FAIL,
                path=shlex.quote(path),
            )
        )
        shim.chmod(0o755)
        (self._directory / "started").touch()
        (self._directory / "bin").mkdir()
        for program in _installed(path):
            (self._directory / "bin" / program).symlink_to(shim)


@contextmanager
def held_lock(path: Path) -> Iterator[None]:
    """Hold a file lock until a program waits for it, or until the block ends.

    A waiter that looks again and again instead of queueing can't be seen; for its sake the lock is
    let go after half a second.
    """
    over = threading.Event()
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        thread = threading.Thread(target=_let_go, args=(file, over), name="fsmredir-lock")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _let_go(file: IO[str], over: threading.Event) -> None:
    inode = f":{os.fstat(file.fileno()).st_ino} "
    for _ in range(_LOOKS):
        # A waiter's line has an arrow (proc_locks(5)).
        queue = [line for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
        if any(inode in line for line in queue) or over.wait(_LOOK_S):
            break
    fcntl.flock(file, fcntl.LOCK_UN)


@cache
def _installed(path: str) -> tuple[str, ...]:
    return tuple(program for program in _PROGRAMS if shutil.which(program, path=path))

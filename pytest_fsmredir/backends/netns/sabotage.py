"""Disturbing an implementation at work: programs that fail or wait, a kill, a held lock."""

from __future__ import annotations

import fcntl
import os
import select
import shlex
import shutil
import threading
from collections.abc import Iterator, Sequence
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
_HOLD = 'echo >"$here/held"; read -r _ <"$here/go"'
_EVERY = -1
_MANY = 4096  # more programs than run in a pod; a pipe holds as many bytes (pipe(7))

_LOOK_S, _LOOKS = 0.002, 250  # at the kernel's list of locks, until the owner lets go anyway


class ShimmedToolbox:
    """A toolbox whose programs are counted, and do something first when they are started.

    It takes the place of a :class:`.programs.Toolbox` for one run of an implementation.

    Attributes:
        variant: As that of the toolbox it is made of.
        path: PATH with the programs first.
    """

    def __init__(self, toolbox: Toolbox, *, at: int, action: str, pipes: Sequence[str]) -> None:
        """Make the programs.

        Args:
            toolbox: Where the programs are.
            at: Which start the action happens at; see :class:`Sabotage`.
            action: Lines for sh(1), which find the directory of the pipes in ``$here``.
            pipes: Names of the pipes that the action uses.
        """
        self.variant = toolbox.variant
        self._directory = scratch.directory("sabotage")
        self.path = os.pathsep.join([str(self._directory / "bin"), toolbox.path])
        for name in pipes:
            os.mkfifo(self._directory / name)
        self._fill(toolbox.path, at, action)

    @property
    def started(self) -> int:
        """How many programs have been started."""
        return (self._directory / "started").read_bytes().count(b"\n")

    def _open(self, pipe: str) -> int:
        # Open for writing too: without a writer it would read as ended.
        return os.open(self._directory / pipe, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)

    def _fill(self, path: str, at: int, action: str) -> None:
        shim = self._directory / "shim"
        shim.write_text(
            _SHIM.format(
                directory=shlex.quote(str(self._directory)),
                at=at,
                every=_EVERY,
                action=action,
                path=shlex.quote(path),
            )
        )
        shim.chmod(0o755)
        (self._directory / "started").touch()
        (self._directory / "bin").mkdir()
        for program in _installed(path):
            (self._directory / "bin" / program).symlink_to(shim)


class SabotagedToolbox(ShimmedToolbox):
    """A toolbox whose programs fail or kill at one start.

    Attributes:
        killed_by: Descriptor that can be read once everything is to be killed.
    """

    def __init__(self, toolbox: Toolbox, sabotage: Sabotage) -> None:
        at = _EVERY if sabotage.at is None else sabotage.at
        action = _KILL if sabotage.kills else _FAIL
        super().__init__(toolbox, at=at, action=action, pipes=("killed", "never"))
        self.killed_by = self._open("killed")

    def close(self) -> None:
        """Let go of what tells that everything is to be killed."""
        os.close(self.killed_by)


class HoldingToolbox(ShimmedToolbox):
    """A toolbox each of whose programs waits when it is started, until it is let go."""

    def __init__(self, toolbox: Toolbox) -> None:
        super().__init__(toolbox, at=_EVERY, action=_HOLD, pipes=("held", "go"))
        self._held, self._go = self._open("held"), self._open("go")

    def wait(self, within_s: float) -> int:
        """Return how many programs have begun to wait, none if none does in time."""
        poll = select.poll()
        poll.register(self._held, select.POLLIN)
        return len(os.read(self._held, _MANY)) if poll.poll(within_s * 1000) else 0

    def let_go(self, programs: int = _MANY) -> None:
        """Let some programs go on, by default all that will ever wait."""
        os.write(self._go, b"\n" * programs)

    def close(self) -> None:
        """Close the pipes; no program may be running."""
        os.close(self._held)
        os.close(self._go)


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

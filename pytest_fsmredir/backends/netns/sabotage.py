"""Disturb a running implementation: programs that fail or wait, a kill, a held lock."""

from __future__ import annotations

import fcntl
import os
import select
import shlex
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from pytest_fsmredir import scratch
from pytest_fsmredir.backends.netns.programs import Toolbox
from pytest_fsmredir.implementations.base import OF_IPTABLES

# Every program that changes packet filter rules, under each of its names.
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
# Nothing is ever written to this pipe: the harness ends the wait by killing the whole command.
_KILL = 'echo >"$here/killed"; read -r _ <"$here/never"'
_HOLD = 'echo >"$here/held"; read -r _ <"$here/go"'
_EVERY = -1
_MANY = 4096  # more programs than run in a pod; a pipe can hold that many bytes (pipe(7))

_LOOK_S, _LOOKS = 0.002, 250  # polls of /proc/locks before the lock is released anyway


@dataclass(frozen=True, slots=True)
class Disturbance:
    """A disturbance of the packet filter programs (such as iptables) of an implementation.

    Attributes:
        at: The number of the start to disturb, before the program does anything: 1 is the first,
            None is every start, 0 is none (starts are only counted).
        kills: Kill the implementation and its children at that start; otherwise the program fails.
    """

    at: int | None
    kills: bool = False


class ShimmedToolbox:
    """A toolbox that counts the starts of its programs and runs an action before them.

    It replaces a :class:`.programs.Toolbox` for one run of an implementation.

    Attributes:
        variant: The variant of the wrapped toolbox.
        path: PATH with the wrapped programs first.
    """

    def __init__(self, toolbox: Toolbox, *, at: int, action: str, pipes: Sequence[str]) -> None:
        """Create the wrapped programs.

        Args:
            toolbox: The toolbox to wrap.
            at: The number of the start that runs the action; see :class:`Disturbance`.
            action: sh(1) code; ``$here`` is the directory of the pipes.
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
        """The number of programs started so far."""
        return (self._directory / "started").read_bytes().count(b"\n")

    def _open(self, pipe: str) -> int:
        # Open for writing too: without a writer, reading would return end of file.
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
    """A toolbox whose programs fail, or cause a kill, at one start.

    Attributes:
        killed_by: Descriptor that becomes readable when the implementation must be killed.
    """

    def __init__(self, toolbox: Toolbox, disturbance: Disturbance) -> None:
        at = _EVERY if disturbance.at is None else disturbance.at
        action = _KILL if disturbance.kills else _FAIL
        super().__init__(toolbox, at=at, action=action, pipes=("killed", "never"))
        self.killed_by = self._open("killed")

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.killed_by)


class HoldingToolbox(ShimmedToolbox):
    """A toolbox whose programs wait at their start until they are released."""

    def __init__(self, toolbox: Toolbox) -> None:
        super().__init__(toolbox, at=_EVERY, action=_HOLD, pipes=("held", "go"))
        self._held, self._go = self._open("held"), self._open("go")

    def wait(self, within_s: float) -> int:
        """Wait for waiting programs, and return their number; 0 after the timeout."""
        poll = select.poll()
        poll.register(self._held, select.POLLIN)
        return len(os.read(self._held, _MANY)) if poll.poll(within_s * 1000) else 0

    def let_go(self, programs: int = _MANY) -> None:
        """Release some programs; by default all, later ones included."""
        os.write(self._go, b"\n" * programs)

    def close(self) -> None:
        """Close the pipes; no program may be running."""
        os.close(self._held)
        os.close(self._go)


@contextmanager
def held_lock(path: Path) -> Iterator[None]:
    """Hold a file lock until a program waits for it, or until the block ends.

    A program that polls the lock instead of queueing for it is not visible, so the lock is released
    after half a second.
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
        # The line of a waiting process has an arrow (proc_locks(5)).
        queue = [line for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
        if any(inode in line for line in queue) or over.wait(_LOOK_S):
            break
    fcntl.flock(file, fcntl.LOCK_UN)


@cache
def _installed(path: str) -> tuple[str, ...]:
    return tuple(program for program in _PROGRAMS if shutil.which(program, path=path))

"""Run a shell command that programs a pod according to the contract."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

from pytest_fsmredir.errors import tail
from pytest_fsmredir.implementations.base import Completed, Hung, Refused, RefusedInSilence, Target
from pytest_fsmredir.model.features import ALL_FEATURES, Feature
from pytest_fsmredir.procs import run_any
from pytest_fsmredir.text import nearest, printable

# A first word that is a relative path with a slash, without characters that a shell expands.
_RELATIVE = re.compile(r"\s*([\w.+@%,:-]+/[\w./+@%,:-]*)(?=[\s;&|<>()]|$)")

# A first word that is a program name, without characters that a shell expands or assigns.
_PLAIN = re.compile(r"\s*([\w./+@%,:][\w./+@%,:-]*)(?=[\s;&|<>()]|$)")
_ALWAYS_THERE = ("iptables", "ip6tables")  # the suite puts them on PATH

# The message of sh and Python for a missing script; their exit status is 2.
_NO_SCRIPT = re.compile(r"open .*: .*No such file")

_SHOWN = 100
"""Lines of standard error in a failure, enough for the tables of a pod with some long lists."""


class InitCommand:
    """Runs a command line with ``/bin/sh -c`` once for every pod.

    Attributes:
        command: The command line, unchanged.
        name: The given name, or else the command line.
        features: The optional features that the vendor claims; all by default.
    """

    def __init__(
        self,
        command: str,
        *,
        features: frozenset[Feature] = ALL_FEATURES,
        name: str | None = None,
        base: Path | None = None,
    ) -> None:
        """Take a command line, and the directory that a relative path of its program starts from.

        Without a directory, the command line runs unchanged.
        """
        self.command = command
        self.name = name or command
        self.features = features
        self._base = base

    def program(self, target: Target) -> None:
        """Run the command; any exit status other than 0 means "refused"."""
        # The command may run for a long time, so the kernel kills it when this process ends.
        done = target.run(["setpriv", "--pdeathsig", "KILL", "/bin/sh", "-c", self._located()])
        if done.status is None:
            raise Hung("the init command did not end in time and was killed")
        if done.status != 0:
            _show(done.stderr)
            message = done.stderr if done.stderr.strip() else done.stdout
            refused = Refused if message.strip() else RefusedInSilence
            raise refused(f"the init command exited {done.status}: {tail(message)}{_hint(done)}")

    def missing(self, path: str) -> str:
        """Return why the program of the command cannot run; empty if it can or might run.

        Only a plain first word is checked. The shell handles a word that it expands.

        Args:
            path: The value of PATH for the command.
        """
        first_word = _PLAIN.match(self.command)
        if first_word is None or first_word[1].startswith(_ALWAYS_THERE):
            return ""
        if "/" in first_word[1]:
            return _unusable((self._base or Path()) / first_word[1])
        # The word may be a shell builtin, such as exec.
        look = ["/bin/sh", "-c", 'command -v "$1"', "sh", first_word[1]]
        status, _, _ = run_any(look, env={"PATH": path})
        return "" if status == 0 else f"there is no program {first_word[1]!r} on PATH"

    def _located(self) -> str:
        """Return the command with an absolute path of its program, if the path is relative."""
        first_word = _RELATIVE.match(self.command)
        if self._base is None or first_word is None:
            return self.command
        program = (self._base / first_word[1]).absolute()
        if not program.is_file():
            return self.command  # the shell prints the best error message
        return shlex.quote(str(program)) + self.command[first_word.end() :]


def _unusable(program: Path) -> str:
    if program.is_dir():
        return f"{program} is a directory"
    if program.exists():
        return "" if os.access(program, os.X_OK) else f"{program} is not executable: chmod +x it"
    files = program.parent.iterdir() if program.parent.is_dir() else ()
    near = nearest(program.name, [each.name for each in files])
    return f"there is no file {program}{near}"


def _show(stderr: str) -> None:
    """Write standard error for pytest to capture, because a refusal shows only a few lines."""
    lines = stderr.splitlines()
    if tail(stderr, len(lines)) != tail(stderr):
        sys.stderr.write(printable("\n".join(lines[-_SHOWN:])) + "\n")


def _hint(done: Completed) -> str:
    """Return a hint if a shell did not find or start a program; else an empty text."""
    if done.status == 126:
        return " (is that file executable?)"
    if done.status == 127 or _NO_SCRIPT.search(done.stderr):
        return " (it ran in an empty directory: give paths in full)"
    if "Read-only file system" in done.stdout + done.stderr:
        return (
            " (/proc/sys and /sys are read-only in an unprivileged init container; if yours is"
            " privileged, add --fsm-init-privileged)"
        )
    return ""

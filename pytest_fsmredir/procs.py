"""The only module that starts a program: a list of arguments, a deadline, output kept."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import SEEK_END
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from pytest_fsmredir.errors import CommandError

OUTPUT_LIMIT = 16 * 1024 * 1024
"""Bytes kept of each output stream, counted from its end: more than any rule set fills."""


def run(argv: Sequence[str], *, stdin: str = "", timeout_s: float = 10.0) -> str:
    """Run a program of the harness and return what it printed.

    Raises:
        CommandError: It exited non-zero, overran the deadline, or does not exist.
    """
    status, stdout, stderr = run_any(argv, stdin=stdin, timeout_s=timeout_s)
    if status != 0:
        raise CommandError(argv, status, stderr)
    return stdout


def run_any(
    argv: Sequence[str],
    *,
    stdin: str = "",
    timeout_s: float = 10.0,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    killed_by: int | None = None,
) -> tuple[int | None, str, str]:
    """Run a program to its end or its deadline, and return (exit status or None, stdout, stderr).

    It is also killed, which gives None as well, once the descriptor ``killed_by`` can be read.

    Output goes through files, not pipes, so that a child which the program leaves behind cannot
    hold us up by keeping a pipe open.

    Raises:
        CommandError: It could not be started.
    """
    with TemporaryFile() as source, TemporaryFile() as out, TemporaryFile() as err:
        source.write(stdin.encode())
        source.seek(0)
        try:
            process = subprocess.Popen(
                list(argv), stdin=source, stdout=out, stderr=err, env=env, cwd=cwd
            )
        except OSError as error:
            raise CommandError(argv, 127, str(error)) from None
        status: int | None
        try:
            if killed_by is not None:
                _await_end_or(killed_by, process, timeout_s)
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
        return status, _tail(out), _tail(err)


class Held:
    """A started program that waits for one line on its standard input."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def release(self, timeout_s: float = 10.0) -> None:
        """Let it go on, and wait for its end.

        Raises:
            CommandError: It exited non-zero or overran the deadline.
        """
        argv = [str(word) for word in self._process.args]  # type: ignore[union-attr]
        try:
            _, stderr = self._process.communicate("go\n", timeout_s)
        except subprocess.TimeoutExpired:
            raise CommandError(argv, None, "") from None
        if self._process.returncode != 0:
            raise CommandError(argv, self._process.returncode, stderr)


@contextmanager
def held(argv: Sequence[str]) -> Iterator[Held]:
    """Start a program that reads one line before it does its work; kill it if it never gets one."""
    process = subprocess.Popen(
        list(argv), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    with process:
        try:
            yield Held(process)
        finally:
            if process.poll() is None:
                process.kill()


def _await_end_or(descriptor: int, process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Wait until a program ends.

    Raises:
        TimeoutExpired: The deadline passed, or the descriptor can be read.
    """
    ended = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.register(descriptor, select.POLLIN)
        ready = [which for which, _ in poll.poll(timeout_s * 1000)]
    finally:
        os.close(ended)
    if ended not in ready:
        raise subprocess.TimeoutExpired(process.args, timeout_s)


def _tail(stream: IO[bytes]) -> str:
    stream.seek(max(0, stream.seek(0, SEEK_END) - OUTPUT_LIMIT))
    return stream.read().decode(errors="replace")

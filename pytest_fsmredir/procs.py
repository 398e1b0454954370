"""Start programs: a list of arguments, a deadline, captured output. No other module does."""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pytest_fsmredir.errors import CommandError

OUTPUT_LIMIT = 16 * 1024 * 1024
"""Bytes kept of each output stream, counted from its end: more than any rule set fills."""

_FILE_LIMIT = 4 * OUTPUT_LIMIT


def run(
    argv: Sequence[str],
    *,
    stdin: str = "",
    timeout_s: float = 10.0,
    file_limit: int = _FILE_LIMIT,
) -> str:
    """Run a program of the harness and return what it printed.

    Args:
        argv: Program and arguments.
        stdin: Its standard input.
        timeout_s: When it is killed.
        file_limit: Bytes that a file it writes may have, its output included.

    Raises:
        CommandError: It exited non-zero, overran the deadline, or does not exist.
    """
    status, stdout, stderr = run_any(argv, stdin=stdin, timeout_s=timeout_s, file_limit=file_limit)
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
    file_limit: int = _FILE_LIMIT,
    apart: bool = False,
) -> tuple[int | None, str, str]:
    """Run a program to its end or its deadline, and return (exit status or None, stdout, stderr).

    It is also killed, with None as its status, once the descriptor ``killed_by`` is readable.

    With ``apart`` it runs in a new process group, so a signal that it sends to its group, such as
    by ``trap 'kill 0' EXIT``, does not reach this process in any process namespace. At its deadline
    the whole group is killed.

    Output goes to files, not pipes: a child that the program leaves behind would keep a pipe open.

    Raises:
        CommandError: It could not be started.
    """
    with _memory() as source, _memory() as out, _memory() as err:
        _put(source, stdin.encode())
        process = _started(argv, (source, out, err), env, cwd, group=0 if apart else None)
        ended = False
        try:
            # SIGXFSZ stops a program that prints without end before memory runs out.
            with suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (file_limit, file_limit))
            ended = _ends(process.pid, timeout_s, killed_by)
        finally:
            if apart and not ended:
                os.killpg(process.pid, signal.SIGKILL)  # not waited for yet, so its id is in use
            process.kill()  # harmless once it has ended
            process.wait()
        return process.returncode if ended else None, _tail(out), _tail(err)


def _started(
    argv: Sequence[str],
    files: tuple[int, int, int],
    env: Mapping[str, str] | None,
    cwd: Path | None,
    group: int | None,
) -> subprocess.Popen[bytes]:
    for tries_left in (1, 0):
        try:
            return subprocess.Popen(
                list(argv), stdin=files[0], stdout=files[1], stderr=files[2], env=env, cwd=cwd,
                process_group=group,
            )  # fmt: skip
        except OSError as error:
            # Under memory pressure execve(2) was seen to report EFAULT for arguments that are
            # there, about once in 100,000 starts: nothing has run then, so it is tried again.
            if error.errno != errno.EFAULT or not tries_left:
                raise CommandError(argv, 127, str(error)) from None
    raise AssertionError  # the second try returns or raises


def _ends(pid: int, timeout_s: float, killed_by: int | None) -> bool:
    """Wait for a child's end; False if the deadline or the kill descriptor comes first."""
    handle = os.pidfd_open(pid)
    try:
        ready = select.poll()
        ready.register(handle, select.POLLIN)
        if killed_by is not None:
            ready.register(killed_by, select.POLLIN)
        return handle in [descriptor for descriptor, _ in ready.poll(timeout_s * 1000)]
    finally:
        os.close(handle)


@contextmanager
def _memory() -> Iterator[int]:
    """Yield the descriptor of an unnamed file in memory.

    A file object would cost more than the start of a small program.
    """
    memory = os.memfd_create("fsmredir")
    try:
        yield memory
    finally:
        os.close(memory)


def _put(memory: int, content: bytes) -> None:
    """Write a file in memory, and return to its start."""
    left = memoryview(content)
    while left:
        left = left[os.write(memory, left) :]
    os.lseek(memory, 0, os.SEEK_SET)


class Survivor:
    """A program that sees the end of its standard input when this process has ended.

    It runs in a new session, so a signal to this process group does not reach it.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def release(self, last_words: bytes = b"") -> None:
        """Close its standard input, and wait for its end.

        Args:
            last_words: What it reads before its standard input ends.
        """
        self._process.communicate(last_words)


_UNLESS_DISMISSED = 'read -r line && exit 0; exec "$@"'


class Guardian:
    """A program that is run once this process has ended, unless it is dismissed before.

    It outlives a SIGKILL of this process, but not the end of the container or the session that
    holds both.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._survivor = Survivor(["/bin/sh", "-c", _UNLESS_DISMISSED, "sh", *argv])

    def dismiss(self) -> None:
        """Have the program not run."""
        self._survivor.release(b"dismissed\n")


@contextmanager
def guarded(argv: Sequence[str]) -> Iterator[None]:
    """Have a program run after this process if that ends within the block."""
    guardian = Guardian(argv)
    try:
        yield
    finally:
        guardian.dismiss()


# The program is a member of this shell's process group. Our end of the shell's standard input
# closes with this process, whatever that dies of.
_KEEPER = """
last_words=$1
shift
{ "$@" </dev/null; printf '%s\\n' "$last_words"; } &
read -r _
kill -KILL 0
"""


class Running:
    """A program that runs in parallel and ends with this process."""

    def __init__(self, process: subprocess.Popen[bytes], errors: int) -> None:
        self._process, self._errors = process, errors

    def errors(self) -> str:
        """Return its standard error so far."""
        return _tail(self._errors)

    def stop(self) -> None:
        """Kill it, and wait until it is gone."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            os.close(self._errors)


def spawn(
    argv: Sequence[str],
    *,
    stdout: int,
    last_words: str,
    uid: int,
    gid: int,
    env: Mapping[str, str],
    inherited: Sequence[int] = (),
) -> Running:
    """Start a program that goes on running.

    It ends when it is stopped or this process ends. If the calling thread has entered a new process
    namespace, the program also ends with the shell that keeps it, and :meth:`Running.stop` returns
    when every process in that namespace is gone.

    Args:
        argv: The program, which may be ``/proc/self/fd/N`` of an inherited descriptor.
        stdout: Descriptor of its standard output.
        last_words: A line written there if it ends before it is stopped.
        uid: Its user.
        gid: Its only group.
        env: Its whole environment.
        inherited: Descriptors it keeps, under the same numbers.

    Raises:
        CommandError: It could not be started.
    """
    errors = os.memfd_create("fsmredir")
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "sh", last_words, *argv],
            stdin=subprocess.PIPE, stdout=stdout, stderr=errors, env=env, cwd="/",
            user=uid, group=gid, extra_groups=(), pass_fds=inherited, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        os.close(errors)
        raise CommandError(argv, 127, str(error)) from None
    return Running(process, errors)


class Interactive:
    """A program that uses the terminal of this process."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Start it.

        Raises:
            CommandError: It could not be started.
        """
        try:
            self._process = subprocess.Popen(list(argv), env=env)
        except OSError as error:
            raise CommandError(argv, 127, str(error)) from None

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def wait(self) -> None:
        """Wait for its end."""
        self._process.wait()

    def stop(self) -> None:
        """Kill it if it has not ended."""
        if not self.ended:
            self._process.kill()
            self._process.wait()


class HeldProgram:
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
def held(argv: Sequence[str]) -> Iterator[HeldProgram]:
    """Start a program that reads one line before it does its work; kill it if it never gets one."""
    process = subprocess.Popen(
        list(argv), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    with process:
        try:
            yield HeldProgram(process)
        finally:
            if process.poll() is None:
                process.kill()


def _tail(memory: int) -> str:
    size = os.fstat(memory).st_size
    kept = min(size, OUTPUT_LIMIT)
    return os.pread(memory, kept, size - kept).decode(errors="replace")

"""Find the iptables programs of each variant, and run init commands inside pods."""

from __future__ import annotations

import gc
import os
import re
import select
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from pytest_fsmredir import procs, scratch
from pytest_fsmredir.backends.netns.kernel import (
    CAP_NET_ADMIN,
    CAP_NET_RAW,
    CLONE_NEWPID,
    bound_capabilities,
    leave_descriptors,
    unshare,
)
from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.errors import PreflightError
from pytest_fsmredir.implementations.base import Completed, IptablesVariant

# The capabilities of an init container: the container runtime's default set, plus NET_ADMIN.
# Without SYS_ADMIN and SYS_PTRACE it cannot enter other namespaces.
_CHOWN, _DAC_OVERRIDE, _FOWNER, _FSETID, _KILL, _SETGID, _SETUID, _SETPCAP = 0, 1, 3, 4, 5, 6, 7, 8
_NET_BIND_SERVICE, _SYS_CHROOT, _MKNOD, _AUDIT_WRITE, _SETFCAP = 10, 18, 27, 29, 31
DEFAULT_CAPABILITIES = frozenset(
    {
        _CHOWN, _DAC_OVERRIDE, _FOWNER, _FSETID, _KILL, _SETGID, _SETUID, _SETPCAP,
        _NET_BIND_SERVICE, _SYS_CHROOT, _MKNOD, _AUDIT_WRITE, _SETFCAP, CAP_NET_RAW,
    }
)  # fmt: skip
INIT_CAPABILITIES = DEFAULT_CAPABILITIES | {CAP_NET_ADMIN}
ALL_CAPABILITIES = frozenset(range(64))  # the kernel's maximum
NETWORK_CAPABILITIES = frozenset({CAP_NET_ADMIN, CAP_NET_RAW})

_TOOLS = ("", "-save", "-restore")
_OF_IPTABLES = re.compile(r"(ip6?|x|arp|eb)tables")
_STAND_IN = """\
#!/bin/sh
rules=$({python} -m pytest_fsmredir.backends.netns.translation {family} "$@") || exit
printf '%s\\n' "$rules" | nft -f -
"""
_INSTALL = "install it: apt-get install iptables"


def search_path() -> str:
    """Return PATH with the system directories, which a plain user's PATH often lacks."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


@cache
def _which(program: str, path: str) -> str | None:
    return shutil.which(program, path=path)


def find(program: str, remedy: str) -> str:
    """Return the full path of a program.

    Raises:
        PreflightError: It is not installed; the message contains the remedy.
    """
    found = _which(program, search_path())
    if found is None:
        raise PreflightError(f"the program {program!r} is not installed; {remedy}")
    return found


def default_variant() -> IptablesVariant:
    """Return the variant of the machine's ``iptables``; ``native`` if there is only nft.

    Raises:
        PreflightError: Neither is installed, or iptables does not report its version.
    """
    if not _which("iptables", search_path()) and _which("nft", search_path()):
        return IptablesVariant.NATIVE
    version = procs.run([find("iptables", _INSTALL), "--version"])
    return IptablesVariant.NFT if "nf_tables" in version else IptablesVariant.LEGACY


def program_of(variant: IptablesVariant, family: int) -> str:
    """Return the full path of the program that lists and changes rules.

    Raises:
        PreflightError: It is not installed.
    """
    if variant is IptablesVariant.NATIVE:
        return find("nft", "install it: apt-get install nftables")
    return find(f"{'iptables' if family == 4 else 'ip6tables'}-{variant}", _INSTALL)


def iptables_version(variant: IptablesVariant) -> str:
    """Return the version of iptables, such as ``1.8.9``; that of nft for ``native``."""
    words = procs.run([program_of(variant, 4), "--version"]).split()
    return words[1].removeprefix("v") if len(words) > 1 else "unknown"


class Tools(Protocol):
    """The iptables programs of a command."""

    @property
    def variant(self) -> IptablesVariant:
        """The variant of the programs."""
        ...

    @property
    def path(self) -> str:
        """PATH with the directory of the programs first."""
        ...


class Toolbox:
    """The PATH of an implementation, with the programs of one variant first.

    Attributes:
        variant: The variant of the programs.
        path: The PATH. For ``native`` it contains no iptables programs.
    """

    def __init__(self, variant: IptablesVariant) -> None:
        self.variant = variant
        if variant is IptablesVariant.NATIVE:
            self.path = _path_without_iptables()
        else:
            self.path = os.pathsep.join([str(_programs_of(variant)), search_path()])


class StandInToolbox(Toolbox):
    """Substitutes for ``iptables``, ``ip6tables-restore``, ... that add foreign rules with nft."""

    def __init__(self) -> None:
        super().__init__(IptablesVariant.NATIVE)
        directory = scratch.directory("tools")
        for family, number in (("iptables", 4), ("ip6tables", 6)):
            for tool in ("", "-restore"):
                program = directory / (family + tool)
                program.write_text(
                    _STAND_IN.format(python=shlex.quote(sys.executable), family=number)
                )
                program.chmod(0o755)
        self.path = os.pathsep.join([str(directory), self.path])


def _programs_of(variant: IptablesVariant) -> Path:
    """Create a directory in which ``iptables``, ``ip6tables-restore``, ... are of one variant."""
    directory = scratch.directory("tools")
    for family in ("iptables", "ip6tables"):
        for tool in _TOOLS:
            target = find(f"{family}-{variant}{tool}", _INSTALL)
            (directory / (family + tool)).symlink_to(target)
    return directory


def _path_without_iptables() -> str:
    """Return PATH, with copies of the directories that contain iptables programs.

    The copies lack the iptables programs. The other directories stay unchanged, because the Python
    of a virtual environment must keep its path.
    """
    kept = []
    for directory in map(Path, dict.fromkeys(filter(None, search_path().split(os.pathsep)))):
        programs = _entries(directory.absolute())
        others = [each for each in programs if not _OF_IPTABLES.match(each.name)]
        if len(others) < len(programs):
            directory = scratch.directory("path")
            for program in others:
                (directory / program.name).symlink_to(program)
        kept.append(str(directory))
    return os.pathsep.join(kept)


def _entries(directory: Path) -> list[Path]:
    """Return what a directory contains; nothing if this user cannot read it, as after ``su``."""
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def no_limit() -> None:
    """Add no further limit to the calling thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """The limits of a command inside a pod.

    Attributes:
        capabilities: The capabilities that it may have at most.
        timeout_s: Time after which it is killed, children included.
        killed_by: A descriptor; the command is killed as soon as the descriptor is readable.
        limit: Called in the thread that starts it, to add further limits to that thread.
    """

    capabilities: frozenset[int] = INIT_CAPABILITIES
    timeout_s: float = 30.0
    killed_by: int | None = None
    limit: Callable[[], None] = no_limit


def run_inside(
    namespace: Namespace,
    argv: Sequence[str],
    *,
    stdin: str,
    env: Mapping[str, str],
    cwd: Path,
    confinement: Confinement,
) -> Completed:
    """Run a program as uid 0 of a network namespace.

    It is the first process of a new process namespace, so all its children end with it, as in an
    init container.
    """
    if confinement.killed_by is not None and _can_be_read(confinement.killed_by):
        return Completed(None, "", "")  # a killed command starts no more programs

    def work() -> Completed:
        bound_capabilities(confinement.capabilities)
        unshare(CLONE_NEWPID)
        confinement.limit()  # may need descriptors, and may forbid the calls above
        if confinement.killed_by is None:
            # Copying thousands of descriptors takes as long as the program's own work.
            leave_descriptors()
        return Completed(
            *procs.run_any(
                argv, stdin=stdin, timeout_s=confinement.timeout_s, env=env, cwd=cwd,
                killed_by=confinement.killed_by, apart=True,
            )
        )  # fmt: skip

    with _no_collection():
        return namespace.run_apart(work)


def run_here(argv: Sequence[str]) -> Completed:
    """Run a program of this machine, with the system directories on its PATH."""
    env = {**os.environ, "PATH": search_path()}
    return Completed(*procs.run_any(argv, timeout_s=60.0, env=env))


def start_inside(namespace: Namespace, start: Callable[[], procs.Running]) -> procs.Running:
    """Start a program inside a network namespace and a new process namespace."""

    def work() -> procs.Running:
        unshare(CLONE_NEWPID)
        return start()

    return namespace.run_apart(work)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Disable garbage collection for the block.

    A thread with a separate descriptor table must not collect a socket of another thread: it would
    close the descriptor with that number in its own table.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _can_be_read(descriptor: int) -> bool:
    poll = select.poll()  # select(2) does not support descriptors above 1023
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))

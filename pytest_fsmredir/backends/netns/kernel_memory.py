"""Measure the kernel memory of the rules that a program loads.

The kernel charges rules to the control group of the task that loads them. If this user can make a
group, the task is put into a new one, which holds nothing else.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple, Protocol

from pytest_fsmredir import procs
from pytest_fsmredir.backends.netns.kernel import system_call
from pytest_fsmredir.backends.netns.namespace import in_thread
from pytest_fsmredir.backends.netns.programs import no_limit

PAGE = os.sysconf("SC_PAGE_SIZE")
_CPUS = os.cpu_count() or 1
_MEMINFO = ("SUnreclaim", "VmallocUsed", "Percpu")
_MEMBARRIER = {"x86_64": 324, "aarch64": 283, "riscv64": 283, "ppc64le": 365, "s390x": 356}
_MEMBARRIER_GLOBAL = 1
_LARGE_PIPE = 1024 * 1024

Enter = Callable[[], None]
"""Makes the kernel charge the calling thread, and what it starts, to the group."""


class MemoryGauge(Protocol):
    """Measures how much kernel memory a function makes its programs take.

    Attributes:
        source: What is measured, in words.
        resolution: Bytes; a smaller difference is not seen.
    """

    source: str
    resolution: int

    def taken(self, work: Callable[[Enter], None]) -> int:
        """Return the bytes that programs take and keep.

        Args:
            work: Starts the programs, in a thread of its own that calls the argument before.
        """
        ...

    def close(self) -> None:
        """Remove what it made."""
        ...


class MachineMemory:
    """The memory of the whole machine: coarse, but every user can read it."""

    source = f"growth of {' + '.join(_MEMINFO)} in /proc/meminfo of the whole machine"
    # The kernel adds up to 125 pages of each CPU later (calculate_normal_threshold, mm/vmstat.c).
    resolution = 125 * PAGE * _CPUS

    def taken(self, work: Callable[[Enter], None]) -> int:
        """Return the growth of the memory of the machine."""
        before = kernel_memory()
        work(no_limit)
        return kernel_memory() - before

    def close(self) -> None:
        """Do nothing."""


class Hierarchy(NamedTuple):
    """A mounted hierarchy of control groups that counts kernel memory.

    Attributes:
        root: The directory of its root group.
        version: 1 or 2.
    """

    root: Path
    version: int


class GroupMemory:
    """The memory that the kernel charges to a new control group.

    Args:
        hierarchy: Where to make the group.

    Attributes:
        prefix: What the names of its groups begin with.
    """

    def __init__(self, hierarchy: Hierarchy) -> None:
        """Try a first group.

        Raises:
            OSError: This user cannot make groups, or the kernel charges no memory to them.
        """
        self._root, self._version = hierarchy
        self._numbers = count(1)
        self.prefix = f"fsmredir-{os.getpid()}-"
        if self._version == 1:
            self.source = "memory.kmem.usage_in_bytes of a control group of the programs"
            self.resolution = PAGE
        else:
            self.source = "kernel in memory.stat of a control group of the programs"
            # Each CPU keeps up to 64 pages (MEMCG_CHARGE_BATCH, mm/memcontrol.c).
            self.resolution = 64 * PAGE * _CPUS
        with ExitStack() as undo:
            removal = ["/bin/sh", "-c", _REMOVAL, "sh", str(self._root / self.prefix)]
            undo.enter_context(procs.guarded(removal))
            undo.callback(self._remove)
            self._require_charges()
            self._undo = undo.pop_all()

    def taken(self, work: Callable[[Enter], None]) -> int:
        """Return the kernel memory that stays charged when the programs have ended."""
        group = self._root / f"{self.prefix}{next(self._numbers)}"
        group.mkdir()
        with ExitStack() as undo:
            work(self._enter(group, undo))
        await_grace_period()
        taken = self._charged(group)
        with suppress(OSError):  # its last thread may still be ending: it is removed at the end
            group.rmdir()
        return taken

    def close(self) -> None:
        """Remove the groups."""
        self._undo.close()

    def _enter(self, group: Path, undo: ExitStack) -> Enter:
        # Version 2 moves whole processes only, so this process has to move back.
        name = "tasks" if self._version == 1 else "cgroup.procs"
        entry = undo.enter_context((group / name).open("wb", buffering=0))
        if self._version == 2:
            home = _own_group(self._root) / name
            undo.callback(lambda: home.write_text(str(os.getpid())))

        def enter() -> None:
            entry.write(b"0")

        return enter

    def _charged(self, group: Path) -> int:
        if self._version == 1:
            return int((group / "memory.kmem.usage_in_bytes").read_text())
        lines = (line.split() for line in (group / "memory.stat").read_text().splitlines())
        found = next((int(value) for name, value in lines if name == "kernel"), None)
        if found is None:
            raise OSError(errno.ENOTSUP, "memory.stat has no line 'kernel' before Linux 5.18")
        return found

    def _require_charges(self) -> None:
        """Raise OSError if the kernel charges no kernel memory, as with cgroup.memory=nokmem."""
        pipes: list[int] = []

        def work(enter: Enter) -> None:
            def fill() -> None:
                enter()
                pipes.extend(os.pipe())
                fcntl.fcntl(pipes[0], fcntl.F_SETPIPE_SZ, _LARGE_PIPE)

            in_thread(fill)

        try:
            if self.taken(work) <= 0 and self._version == 1:
                raise OSError(errno.ENOTSUP, "kernel memory is not charged")
        finally:
            for each in pipes:
                os.close(each)

    def _remove(self) -> None:
        for group in self._root.glob(f"{self.prefix}*"):
            with suppress(OSError):
                group.rmdir()


_REMOVAL = 'rmdir "$1"*'


def memory_gauge() -> MemoryGauge:
    """Return the finest gauge that this user can use."""
    for hierarchy in hierarchies():
        with suppress(OSError):
            return GroupMemory(hierarchy)
    return MachineMemory()


def hierarchies(mounts: Path = Path("/proc/self/mounts")) -> Iterator[Hierarchy]:
    """Yield the hierarchies in which groups count memory."""
    for line in mounts.read_text().splitlines():
        _, directory, kind, options, *_ = line.split()
        root = Path(directory)
        if kind == "cgroup" and "memory" in options.split(","):
            yield Hierarchy(root, 1)
        if kind == "cgroup2" and "memory" in _controllers(root):
            yield Hierarchy(root, 2)


def kernel_memory(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return the bytes of kernel memory in which rules can be, of the whole machine."""
    lines = (line.split() for line in meminfo.read_text().splitlines())
    return sum(int(words[1]) * 1024 for words in lines if words[0].rstrip(":") in _MEMINFO)


def await_grace_period() -> None:
    """Wait until the kernel has freed what ended programs left (RCU, membarrier(2))."""
    number = _MEMBARRIER.get(platform.machine())
    if number is not None:
        with suppress(OSError):  # not on machines with nohz_full
            for _ in range(2):
                system_call("membarrier", number, _MEMBARRIER_GLOBAL, 0, 0)


def _controllers(root: Path) -> list[str]:
    try:
        return (root / "cgroup.subtree_control").read_text().split()
    except OSError:
        return []


def _own_group(root: Path) -> Path:
    """Return the directory of this process's group in the hierarchy of version 2."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return root / line.removeprefix("0::").lstrip("/")
    return root

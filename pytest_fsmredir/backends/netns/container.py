"""Apply the restrictions of an unprivileged init container to commands inside pods."""

from __future__ import annotations

import os
from contextlib import ExitStack

from pytest_fsmredir.backends.netns.kernel import (
    CLONE_FS,
    CLONE_NEWNS,
    MS_BIND,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SLAVE,
    mount,
    setns,
    unshare,
)
from pytest_fsmredir.backends.netns.namespace import in_thread
from pytest_fsmredir.backends.netns.seccomp import deny_like_a_container

# What containerd mounts read-only (oci/spec.go, populateDefaultUnixSpec), in a container's order.
_READ_ONLY = ("/sys", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

# Flags that a remount has to repeat, as statvfs(3) and mount(2) write them.
_KEPT = (
    (os.ST_NOSUID, 0x2), (os.ST_NODEV, 0x4), (os.ST_NOEXEC, 0x8), (os.ST_NOATIME, 0x400),
    (os.ST_NODIRATIME, 0x800), (os.ST_RELATIME, 0x200000),
)  # fmt: skip


def with_mounts_of_its_own() -> None:
    """Hide new mounts of the calling thread and its children from other processes.

    A privileged init container has no other restriction.
    """
    unshare(CLONE_NEWNS)
    # Later mounts of the machine become visible in here, but not the other way round.
    mount("none", "/", MS_SLAVE | MS_REC)


class ContainerLimits:
    """Restricts a thread and its children as a container runtime restricts an init container.

    The restrictions are read-only system directories and a seccomp filter. Both are created once
    per process; a thread enters them in some microseconds. Capabilities are handled elsewhere.

    Attributes:
        lacking: The restrictions that this machine does not support, and why; empty if none.
    """

    def __init__(self) -> None:
        self._undo = ExitStack()
        self._mounts: tuple[int, int] | None = None
        lacking: list[str] = []
        try:
            self._mounts = in_thread(_read_only_mounts)
        except OSError as error:
            lacking.append(f"/proc/sys is not read-only ({error.strerror})")
        else:
            for descriptor in self._mounts:
                self._undo.callback(os.close, descriptor)
        try:
            in_thread(deny_like_a_container)
        except OSError as error:
            lacking.append(f"there is no seccomp filter ({error.strerror})")
            self._filters = False
        else:
            self._filters = True
        self.lacking = tuple(lacking)

    def enter(self) -> None:
        """Restrict the calling thread. It cannot enter other namespaces afterwards."""
        if self._mounts is not None:
            namespace, root = self._mounts
            unshare(CLONE_FS)  # a thread that shares its root directory cannot enter
            setns(namespace, CLONE_NEWNS)
            # setns sets the namespace's own root; return to the directory of our chroot.
            os.fchdir(root)
            os.chroot(".")
        if self._filters:
            deny_like_a_container()

    def close(self) -> None:
        """Release the mounts."""
        self._undo.close()


def _read_only_mounts() -> tuple[int, int]:
    """Create a mount namespace with read-only system directories, in the calling thread.

    Returns:
        Descriptors of the namespace and of its root directory.
    """
    with_mounts_of_its_own()
    for directory in filter(os.path.exists, _READ_ONLY):
        mount(directory, directory, MS_BIND | MS_REC)
        found = os.statvfs(directory).f_flag
        kept = sum(flag for seen, flag in _KEPT if found & seen)
        mount("none", directory, MS_REMOUNT | MS_BIND | MS_RDONLY | kept)
    with ExitStack() as undo:
        namespace = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        undo.callback(os.close, namespace)
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        undo.pop_all()
    return namespace, root

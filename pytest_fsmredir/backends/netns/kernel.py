"""System calls that Python's standard library does not wrap.

Every call here changes only the calling thread, not the process: the kernel keeps namespaces, file
system user and capability bounding set per task.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from pathlib import Path

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

CAP_NET_ADMIN = 12
CAP_NET_RAW = 13

ID_MAPS = (Path("/proc/self/uid_map"), Path("/proc/self/gid_map"))

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC = 0x1, 0x20, 0x1000, 0x4000
MS_PRIVATE, MS_SLAVE = 0x40000, 0x80000

_SET_MODE_FILTER = 1
# Without this flag, kernels before 5.16 slow down every filtered process; runc sets it too.
_SPEC_ALLOW = 4

_SYS_CLOSE_RANGE = 436  # on every architecture; glibc has no wrapper before 2.34
_CLOSE_RANGE_UNSHARE = 2

_PR_SET_DUMPABLE = 4
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24

_libc = ctypes.CDLL(None, use_errno=True)
_libc.setfsuid.restype = _libc.setfsgid.restype = ctypes.c_uint  # ids are unsigned


def unshare(flags: int) -> None:
    """Move the calling thread (or, for a user namespace, the process) into new namespaces.

    Raises:
        OSError: EPERM without the privilege, EINVAL for a user namespace with several threads.
    """
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Move the calling thread into the namespace behind a descriptor."""
    _checked(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)), "setns")


def mount(source: str, target: str, flags: int) -> None:
    """Bind or remount a directory, or change its propagation.

    Raises:
        OSError: See mount(2).
    """
    names = (os.fsencode(source), os.fsencode(target))
    _checked(_libc.mount(*names, None, ctypes.c_ulong(flags), None), f"mount {target}")


def set_seccomp_filter(system_call: int, code: bytes) -> None:
    """Install a seccomp filter for the calling thread and every program that it starts.

    Args:
        system_call: The number of seccomp(2) on this machine.
        code: An array of ``struct sock_filter`` (linux/filter.h).

    Raises:
        OSError: EACCES without CAP_SYS_ADMIN; EINVAL if the kernel does not support the filter.
    """
    instructions = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: the number of instructions, and a pointer to them
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(instructions))
    for flags in (_SPEC_ALLOW, 0):  # the flag is of Linux 4.17
        result = _libc.syscall(system_call, _SET_MODE_FILTER, flags, program)
        if result == 0 or ctypes.get_errno() != errno.EINVAL:
            break
    _checked(result, "seccomp")


def leave_descriptors() -> None:
    """Give the calling thread a separate descriptor table with only the standard streams.

    Does nothing before Linux 5.9, which has no such call.
    """
    first, last = ctypes.c_uint(3), ctypes.c_uint(0xFFFFFFFF)
    _libc.syscall(_SYS_CLOSE_RANGE, first, last, ctypes.c_uint(_CLOSE_RANGE_UNSHARE))


def set_owner(uid: int, gid: int) -> None:
    """Set the thread's file system user and group, which own every socket it makes from now on.

    ``-m owner`` and ``meta skuid`` look at the credentials the socket's file was opened with
    (``f_cred->fsuid``, linux/net/netfilter/xt_owner.c), so nothing else has to change.

    Raises:
        OSError: The kernel refused an id that is not mapped in this user namespace.
    """
    _libc.setfsgid(ctypes.c_uint(gid))
    _libc.setfsuid(ctypes.c_uint(uid))
    # Both calls return the old value, never an error; a call with an invalid id reads the value.
    invalid = ctypes.c_uint(0xFFFFFFFF)
    if (_libc.setfsuid(invalid), _libc.setfsgid(invalid)) != (uid, gid):
        raise OSError(f"user {uid} or group {gid} is not mapped in this user namespace")
    make_dumpable()  # the change hides /proc/PID/fd from the programs of a plain user


def highest_id(maps: Iterable[Path] = ID_MAPS) -> int:
    """Return the highest number such that it and all lower numbers are valid user and group ids.

    Args:
        maps: The id maps of a user namespace, see user_namespaces(7).
    """
    return min(map(_highest, maps))


def bound_capabilities(kept: frozenset[int]) -> None:
    """Limit the capabilities of programs that this thread starts to ``kept``."""
    capability = 0
    while (held := _libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0)) >= 0:
        if held and capability not in kept:
            _checked(_libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0), "prctl")
        capability += 1


def system_call(name: str, number: int, *arguments: int | bytes) -> int:
    """Make a system call that the C library does not wrap, and return its result.

    Raises:
        OSError: The call fails.
    """
    longs = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *longs)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def make_dumpable() -> None:
    """Give the files under /proc/self back to the process's own user (proc(5), dumpable)."""
    _checked(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl")


def _highest(id_map: Path) -> int:
    lines = id_map.read_text().splitlines()
    extents = ([int(number) for number in line.split()] for line in lines)
    end = 0
    for first, _, count in sorted(extents):
        if first == end:
            end += count
    return end - 1


def _checked(result: int, name: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")

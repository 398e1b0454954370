"""A seccomp filter that denies the system calls that a container runtime denies.

Source: containerd, contrib/seccomp/seccomp_default.go at 301026e (2026-08), for an unprivileged
container with the default capabilities and NET_ADMIN. That profile lists the allowed calls; this
module lists the kernel's other calls. They fail with EPERM, except clone3: it fails with ENOSYS, so
that a C library falls back to clone.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from pytest_fsmredir.backends.netns.kernel import set_seccomp_filter

_DENIED = {
    # name: (x86_64, aarch64 and other architectures of asm-generic/unistd.h); None: there is none
    "_sysctl": (156, None), "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280),
    "clock_settime": (227, 112), "create_module": (174, None), "delete_module": (176, 106),
    "fanotify_init": (300, 262), "finit_module": (313, 273), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fsopen": (430, 430), "fspick": (433, 433),
    "get_mempolicy": (239, 236), "init_module": (175, 105), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioperm": (173, None),
    "iopl": (172, None), "kcmp": (312, 272), "kexec_file_load": (320, 294),
    "kexec_load": (246, 104), "keyctl": (250, 219), "lookup_dcookie": (212, 18),
    "mbind": (237, 235), "migrate_pages": (256, 238), "mount": (165, 40),
    "mount_setattr": (442, 442), "move_mount": (429, 429), "move_pages": (279, 239),
    "nfsservctl": (180, 42), "open_by_handle_at": (304, 265), "open_tree": (428, 428),
    "perf_event_open": (298, 241), "pidfd_getfd": (438, 438), "pivot_root": (155, 41),
    "process_madvise": (440, 440), "query_module": (178, None), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "reboot": (169, 142), "request_key": (249, 218),
    "set_mempolicy": (238, 237), "set_mempolicy_home_node": (450, 450),
    "setdomainname": (171, 162), "sethostname": (170, 161), "setns": (308, 268),
    "settimeofday": (164, 170), "swapoff": (168, 225), "swapon": (167, 224), "sysfs": (139, None),
    "syslog": (103, 116), "umount2": (166, 39), "unshare": (272, 97), "uselib": (134, None),
    "userfaultfd": (323, 282), "ustat": (136, None), "vhangup": (153, 58), "vserver": (236, None),
}  # fmt: skip
_CLONE3 = 435

_NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_DENIED_SOCKETS = (38, 40)  # AF_ALG, AF_VSOCK
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_X32 = 0x40000000  # marks a call of the x32 ABI, which has other numbers

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # linux/bpf_common.h
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000  # linux/seccomp.h
_ALLOWED, _REFUSED, _UNKNOWN = "allow", "EPERM", "ENOSYS"
_ENDS = {_ALLOWED: _ALLOW, _REFUSED: _ERRNO | errno.EPERM, _UNKNOWN: _ERRNO | errno.ENOSYS}


@dataclass(frozen=True, slots=True)
class _Architecture:
    """Numbers of one machine: AUDIT_ARCH (linux/audit.h) and the inspected system calls."""

    audit: int
    column: int
    seccomp: int
    clone: int
    personality: int
    socket: int


_ARCHITECTURES = {
    "x86_64": _Architecture(0xC000003E, 0, 317, 56, 135, 41),
    "aarch64": _Architecture(0xC00000B7, 1, 277, 220, 92, 198),
}


@dataclass(frozen=True, slots=True)
class _Step:
    """One instruction; a jump target is a label, or empty for the next instruction."""

    code: int
    value: int
    then: str = ""
    otherwise: str = ""
    label: str = ""


@cache
def container_filter(machine: str) -> bytes:
    """Return the filter, as an array of ``struct sock_filter`` (linux/filter.h).

    It checks the calls of the machine's native ABI; the calls of other ABIs are allowed.

    Args:
        machine: The output of ``uname -m``.

    Raises:
        NotImplementedError: This module lacks the system call numbers of that machine.
    """
    if machine not in _ARCHITECTURES:
        raise NotImplementedError(f"system calls of {machine} are not known here")
    return _assembled(list(_program(_ARCHITECTURES[machine], x32=machine == "x86_64")))


def deny_like_a_container() -> None:
    """Install the filter for the calling thread and every program that it starts.

    The thread needs CAP_SYS_ADMIN, its programs do not, and ``no_new_privs`` stays unset.

    Raises:
        OSError: The kernel rejects the filter, or the machine's system call numbers are unknown.
    """
    machine = os.uname().machine if sys.maxsize > 2**32 else "a 32-bit Python"
    try:
        code = container_filter(machine)
    except NotImplementedError as why:
        raise OSError(errno.ENOSYS, str(why)) from None
    set_seccomp_filter(_ARCHITECTURES[machine].seccomp, code)


def _program(machine: _Architecture, *, x32: bool) -> Iterator[_Step]:
    yield _Step(_LOAD, _ARCHITECTURE)
    yield _Step(_EQUAL, machine.audit, otherwise=_ALLOWED)
    yield _Step(_LOAD, _NUMBER)
    if x32:
        yield _Step(_ANY_BIT, _X32, then=_ALLOWED)
    for numbers in _DENIED.values():
        if (number := numbers[machine.column]) is not None:
            yield _Step(_EQUAL, number, then=_REFUSED)
    yield _Step(_EQUAL, _CLONE3, then=_UNKNOWN)
    yield _Step(_EQUAL, machine.clone, then="clone")
    yield _Step(_EQUAL, machine.socket, then="socket")
    yield _Step(_EQUAL, machine.personality, then="personality", otherwise=_ALLOWED)
    yield _Step(_LOAD, _FIRST_ARGUMENT, label="clone")
    yield _Step(_ANY_BIT, _NEW_NAMESPACES, then=_REFUSED, otherwise=_ALLOWED)
    yield _Step(_LOAD, _FIRST_ARGUMENT, label="socket")
    for family in _DENIED_SOCKETS:
        yield _Step(_EQUAL, family, then=_REFUSED)
    yield _Step(_RETURN, _ALLOW)
    yield _Step(_LOAD, _FIRST_ARGUMENT, label="personality")
    for value in _PERSONALITIES:
        yield _Step(_EQUAL, value, then=_ALLOWED)
    yield _Step(_RETURN, _ENDS[_REFUSED])
    for label, action in _ENDS.items():
        yield _Step(_RETURN, action, label=label)


def _assembled(steps: list[_Step]) -> bytes:
    places = {step.label: place for place, step in enumerate(steps) if step.label}

    def distance(place: int, label: str) -> int:
        return places[label] - place - 1 if label else 0

    return b"".join(
        struct.pack(
            "=HBBI",
            step.code,
            distance(place, step.then),
            distance(place, step.otherwise),
            step.value,
        )
        for place, step in enumerate(steps)
    )

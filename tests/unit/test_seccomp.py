"""The seccomp filter, run as the kernel runs it."""

from __future__ import annotations

import struct

import pytest

from pytest_fsmredir.backends.netns import container
from pytest_fsmredir.backends.netns.container import ContainerLimits
from pytest_fsmredir.backends.netns.seccomp import container_filter

ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CALLS = {
    "x86_64": {"socket": 41, "clone": 56, "personality": 135, "unshare": 272, "setns": 308},
    "aarch64": {"socket": 198, "clone": 220, "personality": 92, "unshare": 97, "setns": 268},
}
CALLS["x86_64"] |= {"execve": 59, "mount": 165, "keyctl": 250, "bpf": 321, "ptrace": 101}
CALLS["aarch64"] |= {"execve": 221, "mount": 40, "keyctl": 219, "bpf": 280, "ptrace": 117}


def result(machine: str, call: int, argument: int = 0, audit: int | None = None) -> int:
    """Run the filter on a system call, and return its verdict."""
    code = list(struct.iter_unpack("=HBBI", container_filter(machine)))
    data = struct.pack("=IIQQ", call, AUDIT[machine] if audit is None else audit, 0, argument)
    place, loaded = 0, 0
    while True:
        kind, then, otherwise, value = code[place]
        if kind == 0x06:
            return int(value)
        if kind == 0x20:
            (loaded,) = struct.unpack_from("=I", data, value)
            place += 1
        else:
            holds = {0x15: loaded == value, 0x45: bool(loaded & value)}[kind]
            place += 1 + (then if holds else otherwise)


@pytest.mark.parametrize("machine", AUDIT)
@pytest.mark.parametrize(
    ("call", "argument", "wanted"),
    [
        ("execve", 0, ALLOW), ("ptrace", 0, ALLOW), ("unshare", 0, EPERM), ("setns", 0, EPERM),
        ("mount", 0, EPERM), ("keyctl", 0, EPERM), ("bpf", 0, EPERM),
        ("clone", 0x11, ALLOW), ("clone", 0x10000011, EPERM), ("clone", 0x00020011, EPERM),
        ("socket", 2, ALLOW), ("socket", 16, ALLOW), ("socket", 40, EPERM), ("socket", 38, EPERM),
        ("personality", 0xFFFFFFFF, ALLOW), ("personality", 0x40000, EPERM),
    ],
)  # fmt: skip
def test_filter_is_that_of_containerd(machine: str, call: str, argument: int, wanted: int) -> None:
    """Catches: a jump of the filter that is one instruction off, on either machine."""
    # The first argument is at offset 16, after the instruction pointer.
    assert result(machine, CALLS[machine][call], argument) == wanted


@pytest.mark.parametrize("machine", AUDIT)
def test_clone3_fails_with_enosys(machine: str) -> None:
    """Catches: threads that cannot be created, because clone3 is refused with the wrong error."""
    assert result(machine, 435) == ENOSYS


def test_calls_of_other_binary_interfaces_are_allowed() -> None:
    """Catches: a program of another binary interface that is denied a common call."""
    assert result("x86_64", 165, audit=0x40000003) == ALLOW
    assert result("x86_64", 0x40000000 | 165) == ALLOW


def test_unknown_machine_has_no_filter() -> None:
    """Catches: a filter with the call numbers of another machine."""
    with pytest.raises(NotImplementedError, match="of sparc64 are not known"):
        container_filter("sparc64")


def test_machine_that_cannot_deny_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a run that ends because a sandbox forbids a mount or a filter."""

    def refuse() -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(container, "with_mounts_of_its_own", refuse)
    monkeypatch.setattr(container, "deny_like_a_container", refuse)
    limits = ContainerLimits()
    assert limits.lacking == (
        "/proc/sys is not read-only (Operation not permitted)",
        "there is no seccomp filter (Operation not permitted)",
    )
    limits.enter()
    limits.close()

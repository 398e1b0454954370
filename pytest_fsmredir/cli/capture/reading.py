"""Read a network namespace with one command, for the file of its pod."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_fsmredir.backends.listening import listeners_in
from pytest_fsmredir.cli.capture import parts
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.capture import READ_BY_A_MESH, Capture, CapturedInterface
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.rules import live
from pytest_fsmredir.rules.errors import RulesError

_ADDRESSES, _SOCKETS, _FURTHER = "addresses", ("sockets4", "sockets6"), "further"
_MORE: Final = {
    _ADDRESSES: "ip -o addr show",
    "sockets4": "cat /proc/net/tcp",
    "sockets6": "cat /proc/net/tcp6",
    _FURTHER: "grep -H . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"
    " /proc/sys/net/ipv6/conf/all/disable_ipv6 /proc/sys/net/ipv4/ip_nonlocal_bind",
}
"""Listings that only a file needs, and the commands that print them."""

_ADDRESS = re.compile(r"\d+:\s+(\S+)\s+inet6?\s+(\S+)(.*)")


def command(python: str) -> list[str]:
    """Return the command to run in the pod; it changes nothing."""
    return live.command(python, _MORE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known about the pod from elsewhere.

    Attributes:
        taken_from: ``pod`` or ``node``.
        pod: The Pod, as the API returns it.
        configuration: Its annotations, and the lists of the mesh.
        addresses: Its addresses, the primary one first; empty if they are not known.
        first: Phrases about what the file lacks.
    """

    taken_from: str
    pod: Mapping[str, Any]
    configuration: Configuration
    addresses: Sequence[str] = ()
    lacks: Sequence[str] = field(default_factory=tuple)


def read(printed: str, known: Known) -> Capture:
    """Return the pod in which the command printed something.

    Raises:
        BackendError: The output names no address.
    """
    sections = live.sections(printed)
    interfaces = _interfaces(sections.get(_ADDRESSES, ""), known.addresses)
    annotations = {
        name: value
        for name, value in known.configuration.annotations.items()
        if name in READ_BY_A_MESH
    }
    return Capture(
        pod=parts.name_of(known.pod),
        taken_from=known.taken_from,
        interfaces=interfaces,
        users=parts.users_of(known.pod),
        listeners=listeners_in(*(sections[name] for name in _SOCKETS if sections.get(name))),
        annotations=annotations,
        traffic=known.configuration.traffic,
        settings=_settings(sections, [each.name for each in interfaces]),
        listings=parts.kept_listings(sections),
        left_out=(*known.lacks, *_remarks(printed)),
    )


def _interfaces(listing: str, first: Sequence[str]) -> tuple[CapturedInterface, ...]:
    found: dict[str, list[str]] = {}
    for line in listing.splitlines():
        words = _ADDRESS.match(line)
        if words is None or words[1] == "lo" or "scope link" in words[3]:
            continue
        found.setdefault(words[1].partition("@")[0], []).append(words[2])
    if not found and not first:
        raise BackendError("the pod's addresses were not listed: the program ip is missing there")
    if not found:
        return parts.interfaces_at(first)
    places = {address: number for number, address in enumerate(first)}
    last = len(places)

    def place(address: str) -> int:
        return places.get(address.partition("/")[0], last)

    every = [CapturedInterface(name, tuple(sorted(own, key=place))) for name, own in found.items()]
    return tuple(sorted(every, key=lambda each: min(map(place, each.addresses))))


def _settings(sections: Mapping[str, str], interfaces: Sequence[str]) -> dict[str, str]:
    """Return the kernel settings of the pod as a whole and of the interfaces in the file."""
    found = {}
    kept = {"all", "default", "lo", *interfaces}
    lines = [*sections.get(_FURTHER, "").splitlines(), *sections.get("settings", "").splitlines()]
    for line in lines:
        path, _, value = line.partition(":")
        words = path.removeprefix("/proc/sys/").split("/")
        if value and (words[2] != "conf" or words[3] in kept):
            found[".".join(words)] = value.strip()
    return found


def _remarks(printed: str) -> list[str]:
    """Return what was not read, and what a replay does not rebuild."""
    wanted = {f"{name}" for name in (_ADDRESSES, *_SOCKETS, _FURTHER)}
    head, *rest = re.split(r"(?=^#fsmredir (?!status ))", printed, flags=re.MULTILINE)
    kept = [
        each for each in rest if each.split("\n", 1)[0].removeprefix("#fsmredir ") not in wanted
    ]
    try:
        return list(live.read("".join([head, *kept])).remarks)
    except RulesError as why:
        return [f"a listing was not understood: {why}"]

"""Rewrite the addresses, names and free texts in listings of iptables, ipset, routes and nft."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from ipaddress import IPv6Address, ip_address, ip_interface, ip_network
from typing import Any, Final, Protocol

from pytest_fsmredir.errors import CaptureError
from pytest_fsmredir.model.redacting.renumbering import Address, Network

WORD: Final = "redacted"
"""What stands for a comment or another free text."""

_V4 = r"\d{1,3}(?:\.\d{1,3}){3}"
_V6 = rf"(?:[0-9A-Fa-f]{{0,4}}:){{2,7}}(?:{_V4}|[0-9A-Fa-f]{{0,4}})"
_ONE = rf"(?:{_V6}(?![\w:])|{_V4}(?!\w|\.\d))"
_ADDRESSES = re.compile(
    rf"(?<![\w.:])(?P<first>{_ONE})(?:/(?P<length>[0-9A-Fa-f.:]*[0-9A-Fa-f])|-(?P<last>{_ONE}))?"
)
_HARDWARE = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_FREE = re.compile(
    rf"(--(?:comment|log-prefix|nflog-prefix|ulog-prefix)) (?:{_QUOTED}|\S+)|( comment) {_QUOTED}"
)
"""A comment or prefix of a rule, or the comment of an element of a set."""
_OPAQUE = re.compile(r"-m (u32|bpf|string|cgroup|geoip)\b")


class Scheme(Protocol):
    """Knows the replacement of everything that names a machine, a pod or a program."""

    def network(self, network: Network) -> Network:
        """Return the replacement of a prefix, or of an address as a prefix of full length."""

    def span(self, first: Address, last: Address) -> tuple[Address, Address]:
        """Return the replacement of a range."""

    def hardware(self, address: str) -> str:
        """Return the replacement of a hardware address."""

    def name(self, name: str) -> str:
        """Return the replacement of a name."""


def host(address: str, scheme: Scheme) -> str:
    """Return the replacement of an address without or with the length of its prefix."""
    plain, slash, length = address.partition("/")
    return f"{_replaced(ip_address(plain), scheme)}{slash}{length}"


def plain(text: str, scheme: Scheme) -> str:
    """Return a text with other addresses, prefixes, ranges and hardware addresses.

    Raises:
        CaptureError: A mask is no prefix.
    """
    return _ADDRESSES.sub(lambda found: _rewritten(found, scheme), text)


def has_address(name: str) -> bool:
    """Whether a name contains an IPv4 address."""
    return re.search(_V4, name) is not None


def line_by_line(listing: str, scheme: Scheme) -> str:
    """Return a listing of iptables, ipset, routes or routing rules with everything replaced.

    Raises:
        CaptureError: A line can hold an address in a form that is not known; the message names it.
    """
    return "".join(f"{_line(each, scheme)}\n" for each in listing.splitlines())


def _line(line: str, scheme: Scheme) -> str:
    if opaque := _OPAQUE.search(line):
        raise CaptureError(
            f"{line.strip()!r} cannot be redacted: the match {opaque[1]} can hold an address or a"
            " name in any form; take the line out of the file"
        )
    text = _FREE.sub(lambda found: f'{found[1] or found[2]} "{WORD}"', line)
    named = re.sub(r"\S+", lambda found: _word(found[0], scheme), text)
    try:
        return plain(named, scheme)
    except CaptureError as why:
        raise CaptureError(f"{line.strip()!r} cannot be redacted: {why}") from None


def _word(word: str, scheme: Scheme) -> str:
    """Return the replacement of a word that is a name, alone or behind a colon."""
    mark = ":" if word.startswith(":") else ""
    return mark + scheme.name(word.removeprefix(mark))


def of_nft(listing: str, scheme: Scheme) -> list[dict[str, Any]]:
    """Return the objects in a listing of ``nft -j`` with everything replaced.

    Raises:
        CaptureError: The listing is malformed, or can hold an address in a form that is not known.
    """
    try:
        objects = json.loads(listing)["nftables"]
        return [_object(each, scheme) for each in objects]
    except (ValueError, KeyError, TypeError) as why:
        raise CaptureError(f"listings.nft: this is not a listing of nft -j: {why!r}") from None


def _object(value: Any, scheme: Scheme) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, list):
        return [_object(each, scheme) for each in value]
    if isinstance(value, str):
        mark = "@" if value.startswith("@") else ""
        return plain(mark + scheme.name(value.removeprefix(mark)), scheme)
    if isinstance(value, dict):
        special = _SPECIAL.get(next(iter(value), "")) if len(value) == 1 else None
        return (special and special(value, scheme)) or {
            key: WORD if key in _FREE_KEYS and isinstance(each, str) else _object(each, scheme)
            for key, each in value.items()
        }
    return value


def _prefix(value: Mapping[str, Any], scheme: Scheme) -> dict[str, Any] | None:
    found = value["prefix"]
    if not isinstance(found, dict):
        return None  # of the messages of a rule that logs
    network = ip_network(f"{found['addr']}/{found['len']}", strict=False)
    return {"prefix": {"addr": str(scheme.network(network)[0]), "len": found["len"]}}


def _range(value: Mapping[str, Any], scheme: Scheme) -> dict[str, Any] | None:
    ends = value["range"]
    if not all(isinstance(each, str) and _parsed(each) for each in ends):
        return None
    first, last = scheme.span(*map(ip_address, ends))
    return {"range": [str(first), str(last)]}


def _masked(value: Mapping[str, Any], scheme: Scheme) -> None:
    del scheme
    if any(isinstance(each, str) and _parsed(each) for each in value["&"]):
        raise CaptureError("listings.nft cannot be redacted: it masks addresses with holes")


def _payload(value: Mapping[str, Any], scheme: Scheme) -> None:
    del scheme
    if value["payload"].get("base") == "nh":
        raise CaptureError(
            "listings.nft cannot be redacted: it compares raw bytes of the network header, which"
            " can be an address"
        )


_SPECIAL: Final[Mapping[str, Callable[[Mapping[str, Any], Scheme], dict[str, Any] | None]]] = {
    "prefix": _prefix,
    "range": _range,
    "&": _masked,
    "payload": _payload,
}
_FREE_KEYS: Final = frozenset({"comment", "prefix"})


def _rewritten(found: re.Match[str], scheme: Scheme) -> str:
    first = _parsed(found["first"])
    if first is None:
        is_hardware = _HARDWARE.fullmatch(found["first"]) and found["first"] == found[0]
        return scheme.hardware(found[0]) if is_hardware else found[0]
    if found["last"] is not None:
        return _span(first, found, scheme)
    if found["length"] is None:
        return str(_replaced(first, scheme))
    length = _length(found["length"], first)
    network = ip_interface(f"{first}/{length}").network
    if network.network_address == first:
        return str(scheme.network(network))
    return f"{_replaced(first, scheme)}/{length}"


def _span(first: Address, found: re.Match[str], scheme: Scheme) -> str:
    last = _parsed(found["last"])
    if last is None or last.version != first.version or int(last) < int(first):
        raise CaptureError(f"{found[0]!r} is not a range of addresses")
    return "-".join(map(str, scheme.span(first, last)))


def _replaced(address: Address, scheme: Scheme) -> Address:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        inner = _replaced(address.ipv4_mapped, scheme)
        return IPv6Address(f"::ffff:{inner}")
    return scheme.network(ip_network(address))[0]


def _parsed(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _length(text: str, address: Address) -> int:
    """Return the length of a prefix, from a number or a mask.

    Raises:
        CaptureError: It is neither.
    """
    if text.isdecimal() and int(text) <= address.max_prefixlen:
        return int(text)
    mask = _parsed(text)
    if mask is not None and mask.version == address.version:
        ones = int(mask).bit_count()
        if int(mask) == (2**ones - 1) << (address.max_prefixlen - ones):
            return ones
    raise CaptureError(f"{text!r} is not the length of a prefix")

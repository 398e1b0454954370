"""Tidy the listings of a captured pod: nothing that changes by itself, and no table twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pytest_fsmredir.errors import CaptureError

KEPT: Final = (
    "ipset", "iptables4 nft", "iptables6 nft", "iptables4 legacy", "iptables6 legacy", "iptables4",
    "iptables6", "nft", "rule4", "rule6", "route4", "route6",
)  # fmt: skip
"""The listings that a file holds, in its order."""

_COUNTERS = re.compile(r"^\[\d+:\d+\] ")
_POLICY_COUNTERS = re.compile(r"^(:\S+ \S+) \[\d+:\d+\]$")


ROUTE_KINDS: Final = frozenset(
    {
        "anycast", "blackhole", "broadcast", "local", "multicast", "prohibit", "throw", "unicast",
        "unreachable",
    }
)  # fmt: skip
"""The types of a route, with which its line can begin (ip-route(8))."""


def word_after(words: Sequence[str], name: str) -> str:
    """Return the word after another one; empty if there is none."""
    return words[words.index(name) + 1] if name in words[:-1] else ""


def ways_out(listing: str) -> Iterator[tuple[str, str]]:
    """Yield (destination, interface) of each ordinary route of the main table.

    Args:
        listing: The output of ``ip route show table all``.
    """
    for words in map(str.split, listing.splitlines()):
        if not words or word_after(words, "table"):
            continue
        kind = words.pop(0) if words[0] in ROUTE_KINDS else "unicast"
        if words and kind == "unicast":
            yield words[0], word_after(words, "dev")


def without_counters(listing: str) -> str:
    """Return the lines of ``iptables-save`` without comments and counters."""
    lines = (line.strip() for line in listing.splitlines())
    kept = (line for line in lines if line and not line.startswith("#"))
    plain = (_COUNTERS.sub("", _POLICY_COUNTERS.sub(r"\1 [0:0]", line)) for line in kept)
    return "\n".join([*plain, ""])


def nft_alone(listings: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the objects of nft in the tables that no listing of iptables holds.

    The listings of iptables hold the other tables, in a form that can be loaded.

    Args:
        listings: The listings by name.

    Raises:
        CaptureError: The listing of nft is malformed.
    """
    text = listings.get("nft", "")
    if not text.strip():
        return []
    known = _tables_of_iptables(listings)
    try:
        entries = json.loads(text)["nftables"]
        return [made for each in entries if (made := _stable(each, known))]
    except (ValueError, KeyError, TypeError, AttributeError) as why:
        raise CaptureError(f"listings.nft: this is not a listing of nft -j: {why!r}") from None


def nft_text(objects: list[dict[str, Any]]) -> str:
    """Return objects of nft as a listing with one object a line; empty if there are none."""
    lines = [json.dumps(each) for each in objects]
    return '{"nftables": [\n' + ",\n".join(lines) + "\n]}\n" if lines else ""


def _tables_of_iptables(listings: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """Return (family, table) of the tables of nft that iptables lists."""
    return frozenset(
        (family, line[1:].strip())
        for name, family in (("iptables4 nft", "ip"), ("iptables6 nft", "ip6"))
        for line in listings.get(name, "").splitlines()
        if line.startswith("*")
    )


def _stable(entry: Mapping[str, Any], known: frozenset[tuple[str, str]]) -> dict[str, Any]:
    """Return an object without its handle; empty if it is in a known table or in none."""
    ((kind, body),) = entry.items()
    if kind == "metainfo":
        return {}
    table = body["name"] if kind == "table" else body["table"]
    if (body["family"], table) in known:
        return {}
    return {kind: {key: value for key, value in body.items() if key not in ("handle", "index")}}

"""Replace what names machines, pods and programs in the file of a captured pod."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Final

from pytest_fsmredir.errors import CaptureError
from pytest_fsmredir.model.capture import (
    READ_BY_A_MESH,
    Capture,
    CapturedInterface,
    CapturedListener,
)
from pytest_fsmredir.model.listings import KEPT, nft_text
from pytest_fsmredir.model.redacting import texts
from pytest_fsmredir.model.redacting.renumbering import Address, Network, Renumbering
from pytest_fsmredir.model.redacting.texts import WORD
from pytest_fsmredir.model.reserved import SIDECAR_UID

_DEFINED = re.compile(
    r"^:(\S+) -|^create (\S+)|--(?:name|hashlimit-name|rateest-name) (\S+)", re.MULTILINE
)
_DEFINED_BY_NFT = re.compile(r'"(?:name|table|chain)": "([^"]+)"')
_INTERFACE = re.compile(r"(?<=\.conf\.).+(?=\.[^.]+$)")
_OF_THE_DOCUMENT = "FSM_PROXY_"
_SHORTEST: Final = 3
"""Names with fewer characters are in too many words to search for."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """A captured pod without addresses and names.

    Attributes:
        capture: The pod.
        replaced: The number of addresses and prefixes that were replaced.
        unchanged: The ordinary addresses that could not be replaced.
    """

    capture: Capture
    replaced: int
    unchanged: tuple[str, ...]


def redacted(capture: Capture) -> Redacted:
    """Return a pod that behaves like a captured one, with other addresses and names.

    An address, a prefix and a range have the same replacement everywhere. Prefixes and ranges
    contain the replacements of what they contained. Private addresses stay private; loopback,
    link-local, multicast and documentation addresses stay what they are. The result depends only on
    the file.

    Raises:
        CaptureError: The file is redacted already, or a rule can hold an address in a form that is
            not known; the message names the rule.
    """
    if capture.redacted:
        raise CaptureError("the file is redacted already")
    known = _Known(_names(capture))
    _rewritten(capture, known)
    scheme = _Replacements(known)
    made = _rewritten(capture, scheme)
    replaced = sum(scheme.network(each) != each for each in known.networks)
    return Redacted(made, replaced, scheme.unchanged)


@dataclass(slots=True)
class _Known:
    """Collects the addresses of a file, and replaces none.

    Attributes:
        names: The replacement of each name that tells something.
        networks: The addresses and prefixes, in order.
        ranges: The ranges.
        cards: The replacement of each hardware address.
    """

    names: Mapping[str, str]
    networks: dict[Network, None] = field(default_factory=dict)
    ranges: dict[tuple[Address, Address], None] = field(default_factory=dict)
    cards: dict[str, str] = field(default_factory=dict)

    def network(self, network: Network) -> Network:
        """Remember a prefix."""
        self.networks.setdefault(network)
        return network

    def span(self, first: Address, last: Address) -> tuple[Address, Address]:
        """Remember a range."""
        self.ranges.setdefault((first, last))
        self.network(ip_network(first))
        self.network(ip_network(last))
        return first, last

    def hardware(self, address: str) -> str:
        """Remember a hardware address."""
        number = len(self.cards) + 1
        octets = ":".join(f"{each:02x}" for each in number.to_bytes(5, "big"))
        self.cards.setdefault(address.lower(), f"02:{octets}")  # a locally administered one
        return address

    def name(self, name: str) -> str:
        """Return the name: its replacement does not depend on the others."""
        return name


class _Replacements:
    """The replacements of the addresses of a file.

    Attributes:
        unchanged: The ordinary addresses and prefixes that stay.
    """

    def __init__(self, known: _Known) -> None:
        self._names, self._cards = known.names, known.cards
        self._families = {
            family: Renumbering(
                family,
                [each for each in known.networks if each.version == family],
                [each for each in known.ranges if each[0].version == family],
            )
            for family in (4, 6)
        }
        self.unchanged = tuple(
            str(network)
            for network in known.networks
            if (int(network[0]), network.prefixlen) in self._families[network.version].unchanged
        )

    def network(self, network: Network) -> Network:
        """Return the replacement of a prefix."""
        return self._families[network.version].network(network)

    def span(self, first: Address, last: Address) -> tuple[Address, Address]:
        """Return the replacement of a range."""
        return self.network(ip_network(first))[0], self.network(ip_network(last))[0]

    def hardware(self, address: str) -> str:
        """Return the replacement of a hardware address."""
        return self._cards[address.lower()]

    def name(self, name: str) -> str:
        """Return the replacement of a name; most stay."""
        return self._names.get(name, name)


def _rewritten(capture: Capture, scheme: texts.Scheme) -> Capture:
    return replace(
        capture,
        pod=f"{WORD}/pod",
        redacted=True,
        interfaces=tuple(
            CapturedInterface(
                scheme.name(each.name), tuple(texts.host(a, scheme) for a in each.addresses)
            )
            for each in capture.interfaces
        ),
        users=dict(_users(capture.users)),
        listeners=tuple(
            CapturedListener(texts.host(each.address, scheme), each.port, each.uid)
            for each in capture.listeners
        ),
        annotations={
            name: _list(value, scheme)
            for name, value in capture.annotations.items()
            if name in READ_BY_A_MESH
        },
        traffic={
            name: [_list(each, scheme) if isinstance(each, str) else each for each in values]
            for name, values in capture.traffic.items()
        },
        settings={
            _INTERFACE.sub(lambda found: scheme.name(found[0]), name): value
            for name, value in capture.settings.items()
        },
        listings=dict(_listings(capture.listings, scheme)),
        left_out=tuple(_phrase(each, capture.pod, scheme) for each in capture.left_out),
    )


def _listings(listings: Mapping[str, str], scheme: texts.Scheme) -> Iterator[tuple[str, str]]:
    for name in KEPT:
        text = listings.get(name, "")
        if name == "nft":
            text = nft_text(texts.of_nft(text, scheme)) if text.strip() else ""
        else:
            text = texts.line_by_line(text, scheme)
        if text.strip():
            yield name, text


def _list(value: str, scheme: texts.Scheme) -> str:
    """Return a list of ranges, ports or interfaces with everything replaced."""
    found = texts.plain(value, scheme)
    return re.sub(r"[^,\s]+", lambda word: scheme.name(word[0]), found)


def _phrase(text: str, pod: str, scheme: texts.Scheme) -> str:
    found = texts.plain(text, scheme)
    for secret in sorted((pod, *pod.split("/")), key=len, reverse=True):
        found = re.sub(rf"(?<![\w-]){re.escape(secret)}(?![\w-])", WORD, found)
    return found


def _users(users: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Yield the users of the containers, which are called by their place or their part."""
    sidecars = [name for name, uid in users.items() if uid == SIDECAR_UID]
    for number, (name, uid) in enumerate(users.items(), 1):
        yield "sidecar" if [name] == sidecars else f"container-{number}", uid


def _names(capture: Capture) -> dict[str, str]:
    """Return the replacement of each name of a chain, set, table or interface that tells of others.

    Such a name contains the name of the pod, of its namespace or of a container, or an address.
    """
    telling = [each for each in _telling(capture) if len(each) >= _SHORTEST]
    pattern = re.compile("|".join(rf"(?<![a-z0-9]){re.escape(t)}(?![a-z0-9])" for t in telling))
    found: dict[str, None] = {}
    for name in _defined(capture):
        plain = name.lower().replace("_", "-")
        secret = bool(telling) and pattern.search(plain) is not None
        if not name.startswith(_OF_THE_DOCUMENT) and (secret or texts.has_address(name)):
            found.setdefault(name)
    return {name: f"{WORD}_{number}" for number, name in enumerate(found, 1)}


def _telling(capture: Capture) -> Iterable[str]:
    """Return the names to hide, and the name of the workload that made the pod."""
    namespace, _, pod = capture.pod.partition("/")
    parts = pod.split("-")
    workload = ["-".join(parts[:count]) for count in range(1, len(parts) + 1)]
    names = (namespace, *workload, *capture.users)
    return dict.fromkeys(each.lower() for each in names if each.lower() not in _COMMON)


_COMMON: Final = frozenset(
    {"app", "default", "fsm", "fsm-system", "mesh", "pod", "proxy", "sidecar"}
)
"""Names of pods and containers that say nothing about their owner."""


def _defined(capture: Capture) -> Iterator[str]:
    for text in capture.listings.values():
        for groups in _DEFINED.findall(text):
            yield from filter(None, groups)
    yield from _DEFINED_BY_NFT.findall(capture.listings.get("nft", ""))
    yield from (each.name for each in capture.interfaces)

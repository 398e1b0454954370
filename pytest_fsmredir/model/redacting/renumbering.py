"""Replace addresses by others, so that prefixes, ranges and kinds of addresses stay what they are.

Addresses with a common prefix have replacements with a common prefix of the same length. The
replacement depends on the order of the addresses and on their common prefixes, not on the bits
that are replaced, so nobody can compute the original. The bits decide only which of a few draws is
taken: one whose replacements are no originals of the same file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_KEPT: Final = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24",
            "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
            "::/16", "100::/64", "2001:db8::/32", "fe80::/10", "ff00::/8",
        ),
    )
)  # fmt: skip
"""Ranges whose addresses identify nobody: loopback, link-local, multicast, documentation and so
on (the special-purpose address registries of IANA). They are not replaced."""

_KINDS: Final = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8", "10.64.0.0/11", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16",
            "64:ff9b::/96", "2000::/3", "2001::/23", "2002::/16", "fc00::/8", "fd00::/8",
            "fd77::/16",
        ),
    )
)  # fmt: skip
"""Ranges that an address stays in. Private addresses are among them, and 10.64.0.0/11 and
fd77::/16, which nobody answers for outside a rebuilt pod."""

_ATTEMPTS: Final = 16

_Node = tuple[int, int]
"""A prefix, as its length and its bits."""


class Renumbering:
    """The replacements for the addresses of one IP version.

    Attributes:
        unchanged: The ordinary prefixes, as value and length, that have no bit to replace: ends of
            wide ranges, and halves of a range that addresses stay in.
    """

    def __init__(
        self,
        family: int,
        networks: Iterable[Network],
        ranges: Iterable[tuple[Address, Address]] = (),
    ) -> None:
        """Choose the replacements.

        Args:
            family: IP version.
            networks: The prefixes to replace, in order; an address is one of full length.
            ranges: First and last address of the ranges that stay ranges. They keep the bits in
                which their ends differ.
        """
        self._bits = 32 if family == 4 else 128
        self._family = family
        self._first: dict[_Node, int] = {}
        self._fixed: set[_Node] = set()
        for each in (*_KEPT, *_KINDS):
            if each.version == family:
                self._fixed.update(self._path(int(each[0]), 0, each.prefixlen))
        self._kept = {
            (each.prefixlen, int(each[0]) >> (self._bits - each.prefixlen))
            for each in _KEPT
            if each.version == family
        }
        for first, last in ranges:
            common = self._bits - (int(first) ^ int(last)).bit_length()
            for end in (first, last):
                self._fixed.update(self._path(int(end), common, self._bits))
        known = list(dict.fromkeys((int(each[0]), each.prefixlen) for each in networks))
        for value, length in known:
            for depth, node in enumerate(self._path(value, 0, length)):
                self._first.setdefault(node, self._bit(value, depth))
        self._salt, self._drawn = 0, dict[int, int]()
        self._choose(known)

    def network(self, network: Network) -> Network:
        """Return the replacement of a prefix that was given."""
        value = self._replaced(int(network[0]), network.prefixlen)
        return type(network)((value, network.prefixlen))

    def _choose(self, known: list[tuple[int, int]]) -> None:
        """Choose the draw in which the fewest replacements are or contain originals."""
        ordinary = [each for each in known if not self._is_special(*each)]
        self.unchanged = [each for each in ordinary if self._is_fixed(*each)]
        moving = [each for each in ordinary if not self._is_fixed(*each)]
        originals = {self._node(*each) for each in moving}.union(self._first)
        best, fewest = 0, len(moving) + 1
        for salt in range(_ATTEMPTS):
            self._salt, self._drawn = salt, {}
            made = (self._node(self._replaced(*each), each[1]) for each in moving)
            same = sum(node in originals for node in made)
            if same < fewest:
                best, fewest = salt, same
            if not same:
                break
        self._salt, self._drawn = best, {}

    def _replaced(self, value: int, length: int) -> int:
        made, known, kept = 0, 1, False
        for depth, node in enumerate(self._path(value, 0, length)):
            bit = self._bit(value, depth)
            kept = kept or node in self._kept
            if kept or node in self._fixed:
                known, made = known << 1 | bit, made << 1 | bit
            else:
                order = bit ^ self._first[node]
                made = made << 1 | (order ^ self._draw(known))
                known = known << 1 | order
        return made << (self._bits - length)

    def _draw(self, known: int) -> int:
        """Return whether to swap the halves of a prefix, from what may be known about it."""
        if known not in self._drawn:
            text = f"{self._salt} {self._family} {known:x}"
            self._drawn[known] = hashlib.sha256(text.encode()).digest()[0] & 1
        return self._drawn[known]

    def _is_special(self, value: int, length: int) -> bool:
        """Whether a prefix lies in a kept range, or contains a range that addresses stay in."""
        nodes = [*self._path(value, 0, length), self._node(value, length)]
        return not self._kept.isdisjoint(nodes) or self._holds_a_kind(nodes[-1])

    def _holds_a_kind(self, node: _Node) -> bool:
        length, bits = node
        return any(
            each.version == self._family
            and each.prefixlen >= length
            and int(each[0]) >> (self._bits - length) == bits
            for each in (*_KEPT, *_KINDS)
        )

    def _is_fixed(self, value: int, length: int) -> bool:
        return all(node in self._fixed for node in self._path(value, 0, length))

    def _node(self, value: int, length: int) -> _Node:
        return length, value >> (self._bits - length)

    def _path(self, value: int, start: int, end: int) -> Iterator[_Node]:
        """Yield the proper prefixes of a prefix, from a length on."""
        return (self._node(value, depth) for depth in range(start, end))

    def _bit(self, value: int, depth: int) -> int:
        return value >> (self._bits - 1 - depth) & 1

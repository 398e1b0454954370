"""The addresses, routes, counters and sockets of this pod, as /proc shows them to every user."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any, NamedTuple

from pytest_fsmredir.agent.selfcheck.policy import Network


class Route(NamedTuple):
    """A route of the pod."""

    network: Network
    interface: str
    has_gateway: bool


class Pod:
    """The addresses and routes of this pod."""

    def __init__(self) -> None:
        self.addresses = {4: list(_own_v4()), 6: list(_own_v6())}
        self._routes = sorted((*_routes_v4(), *_routes_v6()), key=lambda r: -r.network.prefixlen)

    def is_inside(self, host: str) -> bool:
        """Whether an address leads to the pod itself."""
        address = ip_address(host)
        return address.is_loopback or host in self.addresses[address.version]

    def route_to(self, host: str) -> Route | None:
        """Return the route to an address; None without a route."""
        address = ip_address(host)
        return next((each for each in self._routes if address in each.network), None)

    def interface_to(self, host: str) -> str:
        """Return the interface of the route to an address; empty without a route."""
        route = self.route_to(host)
        return "" if route is None else route.interface

    def beyond(self, family: int, remote: str) -> list[str]:
        """Return an address behind each interface that does not lead to a remote address."""
        found: dict[str, str] = {}
        for network, name, _ in self._routes:
            if network.version == family and network.num_addresses > 2 and name != "lo":
                found.setdefault(name, str(network[-2]))
        found.pop(self.interface_to(remote), None)
        return list(found.values())


def _own_v4() -> Iterator[str]:
    """Yield the IPv4 addresses: a leaf of the trie is local if the next line says so."""
    leaf, found = "", []
    for line in _lines("/proc/net/fib_trie"):
        words = line.split()
        if words[:1] == ["|--"]:
            leaf = words[1]
        elif words[1:3] == ["host", "LOCAL"] and not leaf.startswith(("127.", "0.")):
            found.append(leaf)
    return iter(dict.fromkeys(found))


def _own_v6() -> Iterator[str]:
    for line in _lines("/proc/net/if_inet6"):
        address = IPv6Address(bytes.fromhex(line.split()[0]))
        if not address.is_link_local and not address.is_loopback:
            yield str(address)


def _routes_v4() -> Iterator[Route]:
    for line in _lines("/proc/net/route")[1:]:
        words = line.split()
        address, mask = (IPv4Address(struct.pack("=I", int(words[n], 16))) for n in (1, 7))
        yield Route(IPv4Network(f"{address}/{mask}"), words[0], int(words[2], 16) != 0)


def _routes_v6() -> Iterator[Route]:
    for line in _lines("/proc/net/ipv6_route"):
        words = line.split()
        address = IPv6Address(bytes.fromhex(words[0]))
        usable = not int(words[8], 16) & 0x80000200  # neither of this host nor a rejection
        if usable and not address.is_link_local and not address.is_multicast:
            network = IPv6Network(f"{address}/{int(words[1], 16)}")
            yield Route(network, words[9], int(words[4], 16) != 0)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def carried() -> dict[str, int]:
    """Return how many packets each interface has sent. What "lo" carries stays in the pod."""
    rows = (line.partition(":") for line in _lines("/proc/net/dev")[2:])
    return {name.strip(): int(rest.split()[9]) for name, _, rest in rows}


class Socket(NamedTuple):
    """A TCP socket of the pod."""

    local: tuple[str, int]
    remote: tuple[str, int]
    state: int


def sockets_of_the_pod() -> Iterator[Socket]:
    """Yield the TCP sockets of every process."""
    for name in ("tcp", "tcp6"):
        for line in _lines(f"/proc/net/{name}")[1:]:
            words = line.split()
            yield Socket(_end(words[1]), _end(words[2]), int(words[3], 16))


def _end(text: str) -> tuple[str, int]:
    host, port = text.split(":")
    words = [int(host[at : at + 8], 16) for at in range(0, len(host), 8)]
    raw = struct.pack(f"={len(words)}I", *words)
    return plain((str(ip_address(raw)), int(port, 16)))


def plain(end: Sequence[Any]) -> tuple[str, int]:
    """Return an end with an IPv4 address in its own form."""
    address = ip_address(end[0].partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address), end[1]

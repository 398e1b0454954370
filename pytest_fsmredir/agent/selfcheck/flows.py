"""The flows that the check sends, and where each has to arrive."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple, Tuple, TypeVar, Union

from pytest_fsmredir.agent.selfcheck.pod import Pod
from pytest_fsmredir.agent.selfcheck.policy import Network, Policy

SIDECAR_UID, OUTBOUND_PORT, INBOUND_PORT, ADMIN_PORT = 1500, 15001, 15003, 15000
SERVED_PORTS = (15010, 15901, 15902, 15903, 15904)
OUTBOUND, INBOUND, DIRECT = "captured outbound", "captured inbound", "direct"

T = TypeVar("T")

REMOTE = {4: ("192.0.2.10", "203.0.113.77"), 6: ("2001:db8:5::10", "2001:db8:77::7")}
_OTHERS = {
    4: ("1.1.1.1", "8.8.8.8", "10.0.0.77", "10.96.0.1", "10.96.0.10", "10.244.9.9", "100.64.0.1",
        "126.0.0.1", "128.0.0.1", "169.254.7.127", "172.16.0.77", "192.168.0.77", "198.18.0.1",
        "240.0.0.1"),
    6: ("64:ff9b::a", "2606:4700::77", "fd00::77", "fd00:10::1", "fd00:10:96::1", "fd00:10:244::77",
        "2606:4700:4700::1111", "3fff::1"),
}  # fmt: skip
_PORTS = (
    8080, 1, 22, 25, 53, 80, 179, 443, 587, 1023, 1024, 1500, 2379, 3306, 4143, 4190, 4191, 4444,
    5432, 5672, 5680, 5681, 6060, 6379, 6443, 7070, 8126, 8443, 9092, 9300, 9901, 10250, 11211,
    15000, 15001, 15002, 15003, 15004, 15006, 15008, 15009, 15010, 15014, 15020, 15021, 15053,
    15090, 15128, 15901, 15902, 15903, 15904, 19000, 20000, 21500, 27017, 30080, 32768, 65535,
)  # fmt: skip
"""Ports of common services and those that meshes reserve: lists of exemptions often name them."""

_DATAGRAMS = (53, 123, 443, 7777, 15001, 15003)
_FEW, _MANY = 3, 120

HOPS = {4: (socket.IPPROTO_IP, socket.IP_TTL), 6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)}

Option = Tuple[int, int, Union[int, bytes]]

_CLASSES = range(4, 256, 4)  # every DSCP
_MTU_DISCOVER, _FASTOPEN_CONNECT = 10, 30  # linux/in.h, linux/tcp.h
_HEADERS: dict[int, tuple[Option, ...]] = {
    4: (
        *((socket.IPPROTO_IP, socket.IP_TOS, value) for value in _CLASSES),
        (socket.IPPROTO_IP, socket.IP_TOS, 0x10),
        (socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([1, 1, 1, 0])),
        (socket.IPPROTO_IP, _MTU_DISCOVER, 0),
    ),
    6: tuple((socket.IPPROTO_IPV6, socket.IPV6_TCLASS, value) for value in _CLASSES),
    0: (
        (socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536),
        (socket.IPPROTO_TCP, _FASTOPEN_CONNECT, 1),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, 2048),
        (socket.SOL_SOCKET, socket.SO_PRIORITY, 1),
        (socket.SOL_SOCKET, socket.SO_PRIORITY, 6),
    ),
}
"""Options of a socket that change the header of its first packet, by IP version; 0 for both."""


class Flow(NamedTuple):
    """A flow to send, and the kind that the output counts it under."""

    kind: str
    host: str
    port: int
    protocol: str = "TCP"
    source_port: int = 0
    options: tuple[Option, ...] = ()


def expected(policy: Policy, pod: Pod, uid: int, flow: Flow) -> str:
    """Return where a flow has to arrive."""
    if flow.protocol != "TCP" or ip_address(flow.host).is_loopback:
        return DIRECT
    if pod.is_inside(flow.host):
        return INBOUND if uid == SIDECAR_UID else DIRECT
    left_alone = (
        uid == SIDECAR_UID
        or flow.port in policy.ports
        or pod.interface_to(flow.host) in policy.interfaces
    )
    return OUTBOUND if policy.captures(flow.host) and not left_alone else DIRECT


def outbound(policy: Policy, pod: Pod, family: int, *, few: bool) -> Iterator[Flow]:
    """Yield flows to other hosts: at the edges of the lists, and samples of what is in none.

    Args:
        policy: The pod's lists.
        pod: The pod.
        family: IP version.
        few: Send only the most telling ones.
    """
    host = next(filter(policy.captures, REMOTE[family]), REMOTE[family][0])
    most = _FEW if few else _MANY
    for port in _PORTS[:_FEW] if few else _PORTS:
        yield Flow("ports of many services", host, port)
    yield from _listed(policy, host, most)
    for address in _spread(_edges((*policy.excluded, *policy.included), family), 4 * most):
        yield Flow("edges of ranges", address, _PORTS[0])
    if not few:
        yield from _elsewhere(policy, pod, family, host)
        yield from _variations(policy, family, host)


def inside(pod: Pod, family: int, served: Sequence[int]) -> Iterator[Flow]:
    """Yield flows to the ports on which the check listens like an application."""
    loopback = ("127.0.0.1", "127.0.0.2") if family == 4 else ("::1",)
    for address in (*loopback, *pod.addresses[family]):
        for port in served:
            yield Flow("inside the pod", address, port)


def _listed(policy: Policy, host: str, most: int) -> Iterator[Flow]:
    for port in _spread(sorted(policy.ports), most):
        yield Flow("excluded ports", host, port)
        for neighbour in (port - 1, port + 1):
            if neighbour in range(1, 65536):
                yield Flow("neighbours of excluded ports", host, neighbour)
    for port in _spread(sorted(policy.inbound_ports), _FEW):
        yield Flow("ports of the inbound list", host, port)


def _elsewhere(policy: Policy, pod: Pod, family: int, host: str) -> Iterator[Flow]:
    for address in _OTHERS[family]:
        yield Flow("addresses of many networks", address, _PORTS[0])
    for address in pod.beyond(family, host):
        yield Flow("other interfaces", address, _PORTS[0])
    for port in (*_DATAGRAMS, *policy.ports[:_FEW]):
        yield Flow("datagrams", host, port, "UDP")
    yield Flow("pings", host, 0, "ICMP")


def _variations(policy: Policy, family: int, host: str) -> Iterator[Flow]:
    """Yield flows that differ in what must not matter."""
    port = _PORTS[0]
    listed = (*policy.ports[:_FEW], *policy.inbound_ports[:_FEW], *SERVED_PORTS)
    for source in (*listed, 1000, 1024, 65535):
        yield Flow("source ports", host, port, source_port=source)
    for option in (*_HEADERS[family], *_HEADERS[0]):
        yield Flow("header fields", host, port, options=(option,))
    for value in (2, 64, 128, 255):
        yield Flow("hop limits", host, port, options=((*HOPS[family], value),))


def _edges(networks: Sequence[Network], family: int) -> list[str]:
    """Return the first and last address of each range and their neighbours, if they are hosts'."""
    of_family = [each for each in networks if each.version == family]
    highest = 2 ** (32 if family == 4 else 128) - 1
    numbers = [n for r in of_family for n in (int(r[0]), int(r[-1]), int(r[0]) - 1, int(r[-1]) + 1)]
    kind = IPv4Address if family == 4 else IPv6Address
    found = [kind(number) for number in dict.fromkeys(numbers) if 0 <= number <= highest]
    return [str(each) for each in found if _of_a_host(each)]


def _of_a_host(address: IPv4Address | IPv6Address) -> bool:
    if address.is_loopback or address.is_multicast or address.is_link_local:
        return False
    network = int(address) >> (24 if address.version == 4 else 112)
    return network != 0 and str(address) != "255.255.255.255"


def _spread(items: Sequence[T], most: int) -> list[T]:
    """Return some items, among them the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[n * (len(items) - 1) // (most - 1)] for n in range(most)]

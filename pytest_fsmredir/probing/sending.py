"""Send packets of the model as real flows, by sockets."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from ipaddress import ip_address
from typing import Final

from pytest_fsmredir.backends.base import Mesh, Place, Pod
from pytest_fsmredir.backends.facets import KernelSettings
from pytest_fsmredir.model.flow import Acceptor, Address, Claim, Direction, Fate, Route
from pytest_fsmredir.model.reserved import INBOUND_PORT, OUTBOUND_PORT
from pytest_fsmredir.probing.judge import claim
from pytest_fsmredir.probing.sendable import ECN_SYN, LONGEST, SYN_LENGTH, Reach
from pytest_fsmredir.rules.ends import SOURCE_CHANGED, End
from pytest_fsmredir.rules.packet import ICMP, ICMPV6, SYN, TCP, UDP, Packet, headers_of, text_of
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.dial import Dialling, Prepare

_LISTENERS: Final = {
    OUTBOUND_PORT: Acceptor.SIDECAR_OUTBOUND,
    INBOUND_PORT: Acceptor.SIDECAR_INBOUND,
}


class Sender:
    """Sends packets of the model as real flows."""

    def __init__(
        self,
        mesh: Mesh,
        pod: Pod,
        kernel: KernelSettings,
        reach: Reach,
    ) -> None:
        self.mesh, self.pod, self._kernel, self.reach = mesh, pod, kernel, reach
        own = reach.surroundings.own(mesh.family)
        self._first = next(iter(own))
        self._devices = {address: name for name, owned in own.items() for address in owned}

    def send(self, packet: Packet) -> Fate | None:
        """Send a flow whose first packet equals the given one; None if that is impossible here."""
        if not self.reach.opens(packet):
            return None
        with _source_to_spare():
            return self._sent(packet)
        return None

    def _sent(self, packet: Packet) -> Fate:
        if packet.protocol == TCP:
            with self._ecn(packet):
                place, to, how = self._dialled(packet)
                return place.connect(to, packet.port, **how)
        outbound = packet.direction is Direction.OUTBOUND
        place, to = self.pod if outbound else self.mesh.client, _host(packet)
        uid = packet.uid if outbound else None
        if packet.protocol != UDP:
            return place.ping(to, uid=uid, payload=_payload(packet))
        return place.datagram(
            to,
            packet.port,
            uid=uid,
            source=self._source(packet),
            payload=_payload(packet),
            prepare=_prepared(packet),
        )

    def instead(self, packet: Packet, end: End) -> Iterator[Packet]:
        """Yield packets to send in place of one, if their fate is the same.

        Only the client sends echo requests. NAT may choose the first address as a source, so that a
        flow from it looks as if it had not changed.
        """
        if packet.direction is Direction.INBOUND and packet.protocol in {ICMP, ICMPV6}:
            yield replace(packet, source=int(ip_address(self.mesh.client.address)))
        if packet.direction is Direction.OUTBOUND and end.detail == SOURCE_CHANGED:
            names = self._devices.items()
            own = [address for address, name in names if name == packet.interface]
            yield from (replace(packet, source=address) for address in own[:0:-1])

    def claim(self, route: Route, packet: Packet, fate: Fate) -> Claim:
        """Return the claim that a fate matches a route; some packets are for the sidecar itself."""
        listener = _LISTENERS.get(packet.port) if packet.protocol == TCP else None
        if route is Route.DIRECT and listener is not None and packet.interface == "lo":
            return fate.reached(listener)
        return claim(route, fate)

    def open(self, packet: Packet) -> Connection | None:
        """Open a connection whose first packet equals the given one; None if impossible here."""
        if packet.protocol != TCP or packet.tcp_flags != SYN or not self.reach.opens(packet):
            return None
        place, to, how = self._dialled(packet)
        with _source_to_spare():
            return place.open(to, packet.port, **how)
        return None

    def _dialled(self, packet: Packet) -> tuple[Place, str, Dialling]:
        outbound = packet.direction is Direction.OUTBOUND
        how: Dialling = {
            "uid": packet.uid if outbound else None,
            "gid": packet.gid,
            "source": self._source(packet),
            "prepare": _prepared(packet),
            "interface": self._first if packet.interface == "lo" else packet.interface,
        }
        return self.pod if outbound else self.mesh.client, _host(packet), how

    def _source(self, packet: Packet) -> Address | None:
        """Return the source to bind; None if the kernel's choice is sufficient."""
        port = 0 if packet.source_port == 40000 else packet.source_port
        source = text_of(packet.source, packet.family)
        usual = {self.pod.address, self.mesh.loopback()}
        if packet.direction is Direction.OUTBOUND and source in usual and not port:
            return None
        return Address(source, port)

    def _ecn(self, packet: Packet) -> AbstractContextManager[None]:
        if (
            packet.protocol == TCP
            and packet.tcp_flags == ECN_SYN
            and packet.direction is Direction.OUTBOUND
        ):
            return self._kernel.changed(self.pod, {"ipv4/tcp_ecn": "1"})  # of both IP versions
        return nullcontext()


@contextmanager
def _source_to_spare() -> Iterator[None]:
    """End the block if the source of a flow is taken, or is not an address of the place."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EADDRNOTAVAIL}:
            raise


def _host(packet: Packet) -> str:
    return text_of(packet.destination, packet.family)


def payload(later: Packet) -> bytes:
    """Return data that makes a later packet of a connection as long as the given one."""
    headers = 32 + (20 if later.family == 4 else 40)  # TCP has the timestamps option
    usual = later.length == SYN_LENGTH[later.family] or later.length > LONGEST
    return b"every flow".ljust(0 if usual else later.length - headers, b".")


def _payload(packet: Packet) -> bytes:
    """Return the payload of a datagram or an echo request of the packet's length."""
    return bytes(max(packet.length - headers_of(packet.protocol, packet.family), 0))


def _prepared(packet: Packet) -> Prepare | None:
    v4 = packet.family == 4
    level = socket.IPPROTO_IP if v4 else socket.IPPROTO_IPV6
    options: list[tuple[int, int, int]] = []
    if packet.mark:
        options.append((socket.SOL_SOCKET, socket.SO_MARK, packet.mark))
    if packet.tos:
        options.append((level, socket.IP_TOS if v4 else socket.IPV6_TCLASS, packet.tos))
    if packet.ttl != 64:
        options.append((level, socket.IP_TTL if v4 else socket.IPV6_UNICAST_HOPS, packet.ttl))
    return _setter(options) if options else None


def _setter(options: Iterable[tuple[int, int, int]]) -> Prepare:
    def prepare(sock: socket.socket) -> None:
        for level, option, value in options:
            # Python takes numbers of 31 bits only; a mark has 32.
            sock.setsockopt(level, option, struct.pack("=I", value))

    return prepare

"""The recorder: a substitute for Pipy that logs every flow it accepts."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from pytest_fsmredir.model.flow import Acceptance, Acceptor, Address, Direction, Flow
from pytest_fsmredir.model.reserved import (
    ADMIN_PORT,
    ANY,
    HEALTH_PORT,
    INBOUND_PORT,
    LIVENESS_PORT,
    LOOPBACK,
    METRICS_PORT,
    OUTBOUND_PORT,
    READINESS_PORT,
    SIDECAR_UID,
    STARTUP_PORT,
)
from pytest_fsmredir.traffic.host import Host
from pytest_fsmredir.traffic.probes import sidecar_probes
from pytest_fsmredir.traffic.services import Serve, answer
from pytest_fsmredir.traffic.sockets import set_transparent
from pytest_fsmredir.traffic.stream import Stream

HEALTH_UID = 1600
"""Owner of the health responder, which is a separate container and not the sidecar."""

FORWARDING_LIMIT = 64
"""Limit of simultaneous forwarded flows, so that a loop does not exhaust descriptors."""

INBOUND_SOURCE = Address("127.0.0.6", 0)
"""Source address of inbound forwarding, as in Pipy; IPv6 has only one loopback address."""

_OTHER_LISTENERS = {
    METRICS_PORT: Acceptor.METRICS,
    LIVENESS_PORT: Acceptor.LIVENESS,
    READINESS_PORT: Acceptor.READINESS,
    STARTUP_PORT: Acceptor.STARTUP,
}
_OWN_PORTS = {ADMIN_PORT, OUTBOUND_PORT, INBOUND_PORT, HEALTH_PORT, *_OTHER_LISTENERS}


class Recorder:
    """The sidecar of one pod: listens as uid 1500 on the reserved ports.

    By default it answers captured flows itself, so that the banner immediately shows the acceptor;
    while forwarding it forwards them as Pipy does.

    Attributes:
        forwarding: Forward captured flows instead of answering them.
        services: Addresses that outbound forwarding replaces with others, as a proxy chooses an
            endpoint of a service.

    Args:
        health: Act as the health responder too, which in Kubernetes is a separate container.
        probe_ports: Ports that the kubelet sends a pod's probes to. They wait for a request; the
            other ports send the banner to every client.
        forwarding_limit: Limit of simultaneous forwarded flows; further flows are refused.
    """

    def __init__(
        self,
        host: Host,
        families: tuple[int, ...],
        own_addresses: set[str],
        *,
        health: bool = True,
        probe_ports: frozenset[int] = frozenset(),
        forwarding_limit: int = FORWARDING_LIMIT,
    ) -> None:
        self.forwarding = False
        self.services: Mapping[str, str] = {}
        self._host = host
        self._families = families
        self._health, self._probe_ports = health, probe_ports
        self._forwarding_limit = forwarding_limit
        self._own = own_addresses | set(LOOPBACK.values())
        self._listening = ExitStack()
        self._upstreams: list[Stream] = []

    def start(self) -> None:
        """Open every listener."""
        with ExitStack() as undo:
            for family in self._families:
                self._listen(undo, family)
            self._listening = undo.pop_all()

    def stop(self) -> None:
        """Close every listener and every connection, as if the sidecar had died."""
        self._listening.close()
        for stream in self._upstreams:
            stream.close()
        self._upstreams.clear()

    def _listen(self, undo: ExitStack, family: int) -> None:
        def open_port(
            port: int, by: Acceptor, serve: Serve = answer, uid: int = SIDECAR_UID
        ) -> None:
            host = LOOPBACK[family] if port == ADMIN_PORT else ANY[family]
            intercepts = by in (Acceptor.SIDECAR_INBOUND, Acceptor.SIDECAR_OUTBOUND)
            prepare: Callable[[socket.socket], None] | None = (
                set_transparent if intercepts else None
            )
            try:
                listener = self._host.listen(
                    Address(host, port), by=by, uid=uid, serve=serve, prepare=prepare
                )
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
                return  # the pod has lost the address, so the sidecar cannot listen there
            undo.callback(listener.close)

        open_port(OUTBOUND_PORT, Acceptor.SIDECAR_OUTBOUND, self._outbound)
        open_port(INBOUND_PORT, Acceptor.SIDECAR_INBOUND, self._inbound)
        open_port(ADMIN_PORT, Acceptor.ADMIN)
        if self._health:
            open_port(HEALTH_PORT, Acceptor.HEALTH, uid=HEALTH_UID)
        probes = sidecar_probes(self._host)
        for port, by in _OTHER_LISTENERS.items():
            open_port(port, by, probes if port in self._probe_ports else answer)

    def _outbound(self, stream: Stream, acceptance: Acceptance) -> None:
        service = acceptance.destination
        target = service._replace(host=self.services.get(service.host, service.host))
        self._serve(stream, acceptance, target, None)

    def _inbound(self, stream: Stream, acceptance: Acceptance) -> None:
        destination = acceptance.destination
        if acceptance.local != destination:
            # A sidecar without capabilities has no transparent socket. If NAT changes the source
            # port of a redirected connection, only a transparent socket keeps the packets
            # (nf_nat_ipv4_local_in, linux/net/netfilter/nf_nat_proto.c).
            set_transparent(stream.sock, on=False)
        source = INBOUND_SOURCE if destination.family == 4 else None
        target = Address(LOOPBACK[destination.family], destination.port)
        self._serve(stream, acceptance, target, source)

    def _serve(
        self, stream: Stream, acceptance: Acceptance, target: Address, source: Address | None
    ) -> None:
        if not self.forwarding:
            answer(stream, acceptance)
            return
        stream.watch()
        self._upstreams = [upstream for upstream in self._upstreams if not upstream.closed]
        # The destination of a direct connection to our listener is the listener itself: forwarding
        # it would be an endless loop.
        to_ourselves = target.host in self._own and target.port in _OWN_PORTS
        if to_ourselves or len(self._upstreams) >= self._forwarding_limit:
            stream.close()
            return
        flow = Flow(Direction.OUTBOUND, target, uid=SIDECAR_UID)
        upstream = self._host.stream(flow, source=source)
        if upstream is None:
            stream.close()
            return
        self._upstreams.append(upstream)
        join(stream, upstream)


def join(one: Stream, other: Stream) -> None:
    """Copy data and half-closes both ways; if one side is lost, close the other."""
    one.copy_to(other)
    other.copy_to(one)
    one.on_loss = lambda _: other.close()
    other.on_loss = lambda _: one.close()

"""Reports of the kernel about traced packets: whose packet they are about, and which rule."""

from __future__ import annotations

import socket

import pytest

from pytest_fsmredir.model.flow import Address
from pytest_fsmredir.traffic.forge import icmp, tcp
from pytest_fsmredir.traffic.netlink import attribute
from pytest_fsmredir.traffic.tracing import TracedRule, Tracer

ULOG_PACKET = 4 << 8
HERE, THERE = "2001:db8::1", "2001:db8::2"


def logged(packet: bytes, prefix: str) -> tuple[int, bytes]:
    body = bytes([socket.AF_INET6, 0, 0, 0])
    body += attribute(9, packet) + attribute(10, prefix.encode() + b" \0")
    return ULOG_PACKET, body


def traced(
    monkeypatch: pytest.MonkeyPatch, packet: bytes, prefix: str, protocol: int, transport: bytes
) -> frozenset[TracedRule] | None:
    tracer = Tracer.__new__(Tracer)  # without a socket
    monkeypatch.setattr(tracer, "_waiting", lambda: iter([logged(packet, prefix)]))
    return tracer.rules(protocol, transport)


SEGMENT = tcp(Address(HERE, 0x8100), Address(THERE, 8080), 2, seq=1).raw
RULE = "TRACE: nat:A:B:rule:3"


def test_rule_of_legacy_iptables_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a chain whose name contains a colon."""
    found = traced(monkeypatch, SEGMENT, RULE, 6, b"\x81\x00")
    assert found == frozenset({TracedRule("legacy", "ip6", "nat", "A:B", 3)})


@pytest.mark.parametrize(
    ("protocol", "transport"), [(58, b"\x81\x00"), (6, b"\x81\x01"), (17, b"\x81\x00")]
)
def test_other_packet_is_left_out(
    protocol: int, transport: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: a packet from port 33024 that counts as an echo reply, whose type is 129."""
    assert traced(monkeypatch, SEGMENT, RULE, protocol, transport) == frozenset()


def test_message_of_a_log_rule_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: an implementation's own log that counts as a trace."""
    packet = icmp(HERE, THERE, 129, 0, bytes(4)).raw
    assert traced(monkeypatch, packet, "nat:OUTPUT:rule:1", 58, b"\x81\x00") == frozenset()

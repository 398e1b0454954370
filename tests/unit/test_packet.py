"""Packets: differences between two headers, and the kinds of packets to send."""

from __future__ import annotations

import pytest

from pytest_fsmredir.model.flow import Address, Protocol
from pytest_fsmredir.traffic import forge, protocols
from pytest_fsmredir.traffic.packet import changed_fields

ENDS = {
    4: (Address("192.0.2.1", 1111), Address("198.51.100.2", 2222)),
    6: (Address("2001:db8::1", 1111), Address("2001:db8::2", 2222)),
}
HEADER: forge.IpFields = {
    "hops": 9, "service": 0xB9, "whole": True, "identification": 77, "label": 0x12345,
}  # fmt: skip


@pytest.mark.parametrize("family", [4, 6])
def test_intact_packet_has_no_changed_field(family: int) -> None:
    """Catches: a false alarm about a packet that arrives as it was sent."""
    packet = forge.udp(*ENDS[family], b"payload", **HEADER)

    assert changed_fields(packet, packet) == []


@pytest.mark.parametrize(
    ("family", "change", "said"),
    [
        (4, {"hops": 1}, "TTL 1 instead of 9"),
        (4, {"service": 1}, "DSCP 0 instead of 46"),
        (4, {"service": 0xB8}, "ECN 0 instead of 1"),
        (4, {"whole": False}, "fragment field 0x0000 instead of 0x4000"),
        (4, {"identification": 78}, "identification 78 instead of 77"),
        (6, {"hops": 1}, "hop limit 1 instead of 9"),
        (6, {"service": 1}, "DSCP 0 instead of 46"),
        (6, {"label": 0}, "flow label 0 instead of 74565"),
    ],
)
def test_changed_field_is_named(family: int, change: forge.IpFields, said: str) -> None:
    """Catches: a field that an implementation rewrites and that is not compared."""
    sent = forge.udp(*ENDS[family], b"payload", **HEADER)
    seen = forge.udp(*ENDS[family], b"payload", **(HEADER | change))

    assert changed_fields(sent, seen) == [said]


def test_ip_options_are_compared() -> None:
    """Catches: stripped options, or a header length that does not match the options."""
    plain = forge.udp(*ENDS[4], b"")
    alerting = forge.udp(*ENDS[4], b"", ip_options=bytes([148, 4, 0, 0]))

    assert alerting.body == plain.body
    assert "options none instead of 94040000" in changed_fields(alerting, plain)


def test_identification_that_the_kernel_chooses_is_not_a_change() -> None:
    """Catches: a false alarm, because the kernel replaces an identification of 0 (raw(7))."""
    sent, seen = (forge.udp(*ENDS[4], b"", identification=number) for number in (0, 4711))

    assert changed_fields(sent, seen) == []


@pytest.mark.parametrize("family", [4, 6])
def test_every_protocol_has_one_packet(family: int) -> None:
    """Catches: a protocol that is announced and not sent, or TCP among the other protocols."""
    some = protocols.other_protocols(*ENDS[family])
    every = protocols.other_protocols(*ENDS[family], every=True)

    assert {packet.number for _, packet in some} >= {4, 33, 47, 50, 51, 132}
    assert {packet.number for _, packet in every} >= {*range(7, 17), *range(61, 108)}
    assert not {1, 6, 17, 58} & {packet.number for _, packet in every}
    assert len({name for name, _ in every}) == len(every)


def test_reply_goes_to_the_sender_of_the_request() -> None:
    """Catches: a reply that connection tracking does not match with its request."""
    for query in protocols.icmp_queries("192.0.2.1", "198.51.100.2"):
        assert query.reply.goes(query.request.destination, query.request.source)
        assert query.reply.body[4:8] == query.request.body[4:8]


def test_group_messages_follow_their_rfcs() -> None:
    """Catches: a message that hosts ignore, such as one without router alert (RFC 3376, 3810)."""
    for _, packet in protocols.igmp_messages("192.0.2.1"):
        assert (packet.number, packet.raw[8], packet.raw[20:24]) == (2, 1, bytes([148, 4, 0, 0]))
        assert packet.is_multicast
    for name, packet in protocols.neighbour_messages("fe80::1"):
        assert packet.number == 58
        assert packet.raw[7] == (1 if name.startswith("MLD") else 255)
        assert packet.is_multicast
    assert not forge.udp(*ENDS[4], b"").is_multicast
    assert forge.udp(*ENDS[4], b"").protocol is Protocol.UDP

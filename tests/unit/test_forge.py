"""Forged packets: their fields, their checksums, and how a tap matches them."""

from __future__ import annotations

import pytest

from pytest_fsmredir.model.flow import Address, Protocol
from pytest_fsmredir.traffic import forge
from pytest_fsmredir.traffic.packet import Packet, parse

ENDS = {
    4: (Address("192.0.2.1", 1111), Address("198.51.100.2", 2222)),
    6: (Address("2001:db8::1", 1111), Address("2001:db8::2", 2222)),
}
ETHERTYPE = {4: 0x0800, 6: 0x86DD}


def sums_up(packet: Packet, protocol: int) -> bool:
    """Whether the checksum over addresses and body is correct (RFC 1071)."""
    addresses = packet.raw[12:20] if packet.source.family == 4 else packet.raw[8:40]
    length = len(packet.body)
    pseudo = addresses + length.to_bytes(4, "big") + protocol.to_bytes(4, "big")
    return forge.checksum(pseudo + packet.body) == 0xFFFF


def test_checksum_of_the_rfc_1071_example() -> None:
    assert forge.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


def test_crc32c_of_the_standard_test_vector() -> None:
    assert forge._crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("payload", [b"", b"odd", b"even"])
def test_tcp_segment(family: int, payload: bytes) -> None:
    source, destination = ENDS[family]
    packet = forge.tcp(source, destination, forge.SYN, seq=(1 << 32) + 7, ack=9, payload=payload)

    assert packet == parse(packet.raw, ETHERTYPE[family])
    assert (packet.protocol, packet.opens) == (Protocol.TCP, True)
    assert packet.goes(source, destination)
    assert (packet.seq, packet.ack) == (7, 9)
    assert packet.body.endswith(payload)
    assert sums_up(packet, 6)


@pytest.mark.parametrize("family", [4, 6])
def test_tcp_header_fields(family: int) -> None:
    """Catches: a variation of the SYN that a check announces and does not send."""
    options = bytes([2, 4, 5, 180])
    syn = forge.tcp(
        *ENDS[family], forge.SYN, seq=1, window=7, urgent=9, reserved=1, options=options
    )

    assert syn.body[12:16] == bytes([6 << 4 | 1, forge.SYN, 0, 7])
    assert (syn.body[18:20], syn.body[20:]) == (bytes([0, 9]), options)
    assert sums_up(syn, 6)


def test_ip_header_fields() -> None:
    """Catches: a variation of the IP header that a check announces and does not send."""
    four = forge.udp(*ENDS[4], b"", hops=3, service=0xB8, whole=True, identification=0x1234)
    six = forge.udp(*ENDS[6], b"", hops=3, service=0xB8, label=0x12345)

    assert (four.raw[1], four.raw[4:9]) == (0xB8, bytes([0x12, 0x34, 0x40, 0, 3]))
    assert (six.raw[:4], six.raw[7]) == (bytes.fromhex("6b812345"), 3)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("protocol", [17, forge.UDP_LITE])
def test_datagram(family: int, protocol: int) -> None:
    packet = forge.udp(*ENDS[family], b"payload", protocol=protocol, hops=3)

    assert packet.protocol is (Protocol.UDP if protocol == 17 else None)
    assert packet.raw[8 if family == 4 else 7] == 3
    assert sums_up(packet, protocol)


@pytest.mark.parametrize("family", [4, 6])
def test_too_big_quotes_the_packet_and_goes_to_its_sender(family: int) -> None:
    offending = forge.tcp(*ENDS[family], forge.ACK, seq=1)
    packet = forge.too_big(ENDS[family][1].host, offending, 1280)

    assert packet.protocol is Protocol.ICMP
    assert packet.destination.host == offending.source.host
    assert packet.body[4:8] == (1280).to_bytes(4, "big")
    assert packet.body[8:] == offending.raw[: len(packet.body) - 8]
    assert forge.checksum(packet.body) == 0xFFFF if family == 4 else sums_up(packet, 58)


@pytest.mark.parametrize("family", [4, 6])
def test_icmp_error_quotes_the_packet_and_goes_to_its_sender(family: int) -> None:
    """Catches: an ICMP error that every kernel ignores, blamed on the implementation."""
    offending = forge.udp(*ENDS[family], b"")
    packet = forge.icmp_error(ENDS[family][1].host, offending, 12, 1)

    assert packet.destination.host == offending.source.host
    assert packet.body[:2] == bytes([12, 1])
    assert packet.body[8:] == offending.raw
    assert forge.checksum(packet.body) == 0xFFFF if family == 4 else sums_up(packet, 58)


def test_neighbour_solicitation_has_the_one_valid_hop_limit() -> None:
    packet = forge.neighbour_solicitation("2001:db8::1", "2001:db8::2")

    assert packet.raw[7] == 255  # RFC 4861, 7.1.1
    assert sums_up(packet, 58)


def test_packets_match_by_addresses_and_content() -> None:
    packet = forge.udp(*ENDS[4], b"payload")

    assert packet.matches(forge.udp(*ENDS[4], b"payload", hops=3))
    assert not packet.matches(forge.udp(*ENDS[4], b"another"))
    assert not packet.matches(forge.udp(ENDS[4][1], ENDS[4][0], b"payload"))


def test_later_fragment_shows_no_ports() -> None:
    raw = bytearray(forge.udp(*ENDS[4], b"payload").raw)
    raw[6:8] = (185).to_bytes(2, "big")
    packet = parse(bytes(raw), ETHERTYPE[4])

    assert packet is not None
    assert packet.protocol is None
    assert packet.goes(*(end._replace(port=0) for end in ENDS[4]))

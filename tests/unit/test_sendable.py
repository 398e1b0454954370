"""Which flows the suite can send: one rule for single packets and for sets of them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.model.reserved import ADMIN_PORT, SIDECAR_UID
from pytest_fsmredir.probing.sendable import ECN_SYN, LONGEST, Reach, sendable
from pytest_fsmredir.rules.bdd import NONE
from pytest_fsmredir.rules.packet import ICMP, SYN, TCP, UDP, Packet
from pytest_fsmredir.rules.passage import Model
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.reading import read_text
from pytest_fsmredir.rules.seek import Seeker, one
from pytest_fsmredir.rules.space import Space
from pytest_fsmredir.rules.vocabulary import NEW

HIGHEST = 65534
OWN, SECOND, OTHER = "10.77.0.2", "10.77.0.3", "10.78.0.2"
CLIENT, REMOTE, BEYOND = "198.51.100.20", "1.1.1.1", "198.19.0.7"


def number(host: str) -> int:
    return int(ip_address(host))


POD = Surroundings({"eth0": (OWN, SECOND), "net1": (OTHER,)}, closed=True)
RULES = read_text("*nat\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n")
SEEKER = Seeker(Model(RULES, Space(4, POD.interfaces(RULES), POD.local(4)), POD))
REACH = Reach(SEEKER.space, POD, CLIENT, HIGHEST, BEYOND)
OUT = Packet(
    direction=Direction.OUTBOUND, family=4, source=number(OWN), destination=number(REMOTE), port=80
)
IN = replace(OUT, direction=Direction.INBOUND, source=number(REMOTE), destination=number(OWN))
PING = replace(OUT, protocol=ICMP, icmp_type=8)
CALL = replace(PING, direction=Direction.INBOUND, source=number(CLIENT), destination=number(OWN))

HOSTS = (OWN, SECOND, OTHER, "127.0.0.1", CLIENT, REMOTE, BEYOND, "169.254.1.1", "10.65.0.1")
VALUES: dict[str, tuple[Any, ...]] = {
    "direction": tuple(Direction), "source": tuple(map(number, HOSTS)),
    "destination": tuple(map(number, HOSTS)), "source_port": (40000, 15001, 1),
    "port": (80, ADMIN_PORT, 15003), "interface": ("lo", "eth0", "net1"),
    "protocol": (TCP, UDP, ICMP, 132), "uid": (0, 1000, SIDECAR_UID, HIGHEST, HIGHEST + 1),
    "gid": (0, 101, HIGHEST + 1), "mark": (0, 1), "tos": (0, 4, 2), "ttl": (64, 1),
    "length": (60, 61, LONGEST, LONGEST + 1), "tcp_flags": (SYN, ECN_SYN, 0x10),
    "icmp_type": (8, 0), "icmp_code": (0, 1),
}  # fmt: skip


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    """Draw a packet that can be sent, with a few fields changed."""
    changed = draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=3, unique=True))
    changes: dict[str, Any] = {name: draw(st.sampled_from(VALUES[name])) for name in changed}
    return replace(draw(st.sampled_from((OUT, IN, PING, CALL))), **changes)


def contains(some: int, packet: Packet) -> bool:
    """Whether a set contains a packet."""
    for name, value in packet.fields(SEEKER.space).items():
        some = SEEKER.space.bdd.both(some, SEEKER.domain.only(name, one(value)))
    return some != NONE


@given(packets())
def test_one_packet_and_sets_of_packets_meet_one_rule(packet: Packet) -> None:
    """Catches: a packet that the search chooses, and that the sender then refuses to send."""
    assert REACH.opens(packet) is contains(REACH.opening(packet.direction), packet)


@given(packets())
def test_chosen_packets_can_be_sent(packet: Packet) -> None:
    """Catches: a goal of the validation that no packet reaches, because its packet is not sent."""
    if contains(sendable(SEEKER, REACH)[packet.direction, NEW], packet):
        assert REACH.opens(packet)


@pytest.mark.parametrize(
    ("packet", "opens"),
    [
        (OUT, True),
        (replace(OUT, uid=HIGHEST + 1), False),
        (replace(OUT, gid=HIGHEST + 1), False),
        (replace(OUT, tcp_flags=ECN_SYN), True),
        (replace(OUT, tos=2), False),
        (replace(OUT, length=61), False),
        (replace(OUT, destination=number("169.254.1.1")), False),
        (replace(OUT, destination=number(SECOND), interface="lo"), True),
        (replace(OUT, destination=number(SECOND)), False),
        (replace(OUT, destination=number(BEYOND)), False),
        (replace(OUT, destination=number(BEYOND), interface="net1"), True),
        (replace(OUT, interface="net1"), False),
        (replace(OUT, protocol=UDP, length=LONGEST), True),
        (replace(OUT, protocol=UDP, gid=101), False),
        (replace(OUT, protocol=132), False),
        (IN, True),
        (replace(IN, ttl=1), True),
        (replace(IN, tcp_flags=ECN_SYN), False),
        (replace(IN, interface="net1"), False),
        (replace(IN, source=number("10.65.0.1")), False),
        (PING, True),
        (replace(PING, gid=101), False),
        (replace(PING, destination=number("10.65.0.1")), False),
        (replace(PING, icmp_code=1), False),
        (CALL, True),
        (replace(CALL, source=number(REMOTE)), False),
    ],
    ids=str,
)
def test_flows_that_can_be_sent(packet: Packet, opens: bool) -> None:
    """Catches: a flow that nobody answers, sent and taken for one that the rules drop."""
    assert REACH.opens(packet) is opens


@pytest.mark.parametrize(
    "packet",
    [
        replace(OUT, destination=number(OWN), interface="lo", uid=SIDECAR_UID, port=ADMIN_PORT),
        replace(OUT, source_port=15001),
        replace(OUT, protocol=UDP, length=LONGEST),
        replace(IN, ttl=1),
    ],
    ids=str,
)
def test_unusual_flows_do_not_validate_conditions(packet: Packet) -> None:
    """Catches: a call of the sidecar to itself, which loops, among packets that show conditions."""
    assert REACH.opens(packet)
    assert not contains(sendable(SEEKER, REACH)[packet.direction, NEW], packet)

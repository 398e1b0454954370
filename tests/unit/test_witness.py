"""The witness, with hand-written socket and connection tracking tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_fsmredir.model.flow import Acceptance, Acceptor, Address, loops
from pytest_fsmredir.traffic.sockettable import (
    ByteOrder,
    SocketRow,
    SocketTable,
    TcpState,
    TrackedFlow,
    parse_conntrack,
    parse_sockets,
)
from pytest_fsmredir.traffic.witness import Question, Sighting, WitnessScope, look

POD, SERVER, OUTSIDE = "10.0.0.1", "10.0.0.9", "10.0.0.2"
CLIENT = Address(POD, 40000)
DIALLED = Address(SERVER, 8080)
FROM_OUTSIDE = Address(OUTSIDE, 50000)
OWN_PORT = Address(POD, 8080)
OUTBOUND, INBOUND = Address("127.0.0.1", 15001), Address(POD, 15003)

HEADING = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid ..."
ROW = "   0: {} {} {} 00000000:00000000 00:00000000 00000000  {}        0 {} 1 ffff 20 4 30 10 -1"

TRACKED = (
    "ipv4     2 tcp      6 117 {state} src=10.0.0.1 dst=10.0.0.9 sport=40000 dport=8080 {flags}"
    "src=127.0.0.1 dst=10.0.0.1 sport=15001 dport={port} {ended}mark=0 zone=0 use=2"
)


def table(*rows: SocketRow, conntrack: str | None = None) -> SocketTable:
    return SocketTable(rows, conntrack)


def established(local: Address, peer: Address, uid: int = 1500, inode: int = 77) -> SocketRow:
    return SocketRow(local, peer, TcpState.ESTABLISHED, uid, inode)


def listening(port: int, uid: int = 1500, inode: int = 11) -> SocketRow:
    return SocketRow(Address("0.0.0.0", port), Address("0.0.0.0", 0), TcpState.LISTEN, uid, inode)


def seen(
    *rows: SocketRow,
    client: Address = CLIENT,
    to: Address = DIALLED,
    connected: bool = True,
    conntrack: str | None = None,
    ours: frozenset[int] = frozenset(),
) -> Sighting:
    scene = WitnessScope(table(*rows, conntrack=conntrack), frozenset({POD}), ours)
    return look(scene, Question(client, to, connected))


def test_addresses_are_words_in_the_machines_order() -> None:
    """Catches: addresses that are read in the wrong byte order on half of the machines."""
    text = {
        "little": ("0100007F:3A99", "0200000A:C350"),
        "big": ("7F000001:3A99", "0A000002:C350"),
    }
    orders: tuple[ByteOrder, ...] = ("little", "big")
    for order in orders:
        (row,) = parse_sockets(
            "\n".join([HEADING, ROW.format(*text[order], "01", 1500, 42)]), order
        )
        ends = (Address("127.0.0.1", 15001), Address("10.0.0.2", 50000))
        assert row == SocketRow(*ends, TcpState.ESTABLISHED, 1500, 42)


@pytest.mark.parametrize(
    ("word", "order", "host"),
    [
        ("0000000000000000FFFF00000200000A", "little", "10.0.0.2"),
        ("00000000000000000000FFFF0A000002", "big", "10.0.0.2"),
        ("B80D0120000000000000000001000000", "little", "2001:db8::1"),
        ("20010DB8000000000000000000000001", "big", "2001:db8::1"),
        ("00000000000000000000000000000000", "little", "::"),
    ],
)
def test_ipv6_rows(word: str, order: ByteOrder, host: str) -> None:
    """Catches: IPv4 on an IPv6 socket that is not found by the client's address."""
    (row,) = parse_sockets("\n".join([HEADING, ROW.format(f"{word}:0050", *[f"{word}:0051"], "06",
                                                          0, 0)]), order)  # fmt: skip
    assert row == SocketRow(Address(host, 80), Address(host, 81), TcpState.TIME_WAIT, 0, 0)


@pytest.mark.parametrize(
    ("state", "flags", "ended"),
    [
        ("TIME_WAIT", "", "[ASSURED] "),
        ("SYN_SENT", "[UNREPLIED] ", ""),
        ("ESTABLISHED", "packets=3 bytes=180 ", "packets=2 bytes=120 [ASSURED] "),
    ],
)
def test_conntrack_line(state: str, flags: str, ended: str) -> None:
    """Catches: a missed second tuple behind counters or flags."""
    line = TRACKED.format(state=state, flags=flags, ended=ended, port=40000)

    (tracked,) = parse_conntrack([line])
    assert replace(tracked, expires_s=None) == TrackedFlow(CLIENT, DIALLED, OUTBOUND, CLIENT)
    assert tracked.expires_s == int(line.split()[4])


def test_offloaded_connection_has_no_timeout() -> None:
    """Catches: a flow table connection that is skipped because its line has no timeout."""
    line = TRACKED.format(state="ESTABLISHED", flags="", ended="[OFFLOAD] ", port=40000)
    words = line.split()
    timeless = " ".join([*words[:4], *words[6:]])

    (tracked,) = parse_conntrack([timeless])
    assert (tracked.source, tracked.expires_s) == (CLIENT, None)


def test_conntrack_writes_ipv6_in_full() -> None:
    """Catches: an IPv6 flow that is missed because conntrack does not abbreviate addresses."""
    client, server = "2001:0db8:" + "0000:" * 5 + "0001", "2001:0db8:" + "0000:" * 5 + "0009"
    line = (
        f"ipv6     10 tcp      6 9 CLOSE src={client} dst={server} sport=5 dport=80"
        f" src=0000:0000:0000:0000:0000:0000:0000:0001 dst={client} sport=15001 dport=5 use=1"
    )
    (flow,) = parse_conntrack([line])

    assert flow.source == Address("2001:db8::1", 5)
    assert flow.destination == Address("2001:db8::9", 80)
    assert flow.arrived_at == Address("::1", 15001)


def test_other_protocols_are_skipped() -> None:
    """Catches: a UDP entry with the same ports that is taken for the flow."""
    line = TRACKED.format(state="", flags="", ended="", port=40000).replace("tcp", "udp")

    assert not list(parse_conntrack([line, "", "ipv4     2 unknown  2 500 src=1.2.3.4"]))


def test_missing_tables_are_empty(tmp_path: Path) -> None:
    """Catches: a run that ends on a kernel without IPv6 or connection tracking."""
    (tmp_path / "tcp").write_text(HEADING + "\n")

    assert SocketTable.read(tmp_path) == SocketTable([], None)


def test_redirected_flow() -> None:
    """Catches: an unrecognized outbound REDIRECT without readable connection tracking."""
    (accepted,) = seen(established(OUTBOUND, CLIENT), listening(15001)).accepted

    assert accepted.by is Acceptor.SIDECAR_OUTBOUND
    assert (accepted.local, accepted.peer, accepted.original) == (OUTBOUND, CLIENT, DIALLED)


def test_original_destination_comes_from_connection_tracking() -> None:
    """Catches: a reported destination that differs from the kernel's."""
    line = TRACKED.format(state="ESTABLISHED", flags="", ended="", port=40001)
    row = established(OUTBOUND, CLIENT._replace(port=40001))
    (accepted,) = seen(row, conntrack=line).accepted

    # The source port was changed on the way, so the row alone would not have been found.
    assert accepted.peer == Address(POD, 40001)
    assert accepted.original == DIALLED
    assert not seen(row).accepted


def test_inbound_flow() -> None:
    """Catches: an unrecognized inbound REDIRECT, which keeps the pod's address."""
    (accepted,) = seen(
        established(INBOUND, FROM_OUTSIDE), client=FROM_OUTSIDE, to=OWN_PORT
    ).accepted

    assert accepted.by is Acceptor.SIDECAR_INBOUND
    assert accepted.destination == OWN_PORT


@pytest.mark.parametrize(
    ("client", "to", "by"),
    [
        (CLIENT, DIALLED, Acceptor.SIDECAR_OUTBOUND),
        (FROM_OUTSIDE, OWN_PORT, Acceptor.SIDECAR_INBOUND),
    ],
)
def test_tproxy_keeps_the_destination(client: Address, to: Address, by: Acceptor) -> None:
    """Catches: TPROXY reported as no redirection."""
    (accepted,) = seen(
        established(to, client), listening(15001), listening(15003), client=client, to=to
    ).accepted

    assert (accepted.by, accepted.destination) == (by, to)


def test_application_with_the_sidecars_user_is_not_the_sidecar() -> None:
    """Catches: a sidecar recognized by its user alone."""
    rows = (established(OWN_PORT, FROM_OUTSIDE), listening(8080), listening(15003))
    (accepted,) = seen(*rows, client=FROM_OUTSIDE, to=OWN_PORT).accepted

    assert accepted.by is Acceptor.ORIGIN


def test_sockets_of_the_harness_are_skipped() -> None:
    """Catches: an acceptance that is reported twice, by the log and by the witness."""
    rows = (established(OWN_PORT, FROM_OUTSIDE), listening(8080))

    assert seen(*rows, client=FROM_OUTSIDE, to=OWN_PORT, ours=frozenset({11, 77})) == Sighting()


def test_other_program_at_the_sidecars_port() -> None:
    """Catches: any program at port 15001 that is taken for the sidecar."""
    assert not seen(established(OUTBOUND, CLIENT, uid=1337), listening(15001, uid=1337)).accepted


def test_clients_own_row_is_not_an_acceptance() -> None:
    """Catches: the sending socket, user 1500, taken for the accepting one."""
    assert seen(established(CLIENT, DIALLED)) == Sighting()


@pytest.mark.parametrize(
    "row",
    [
        SocketRow(OUTBOUND, CLIENT, TcpState.SYN_RECV, 1500, 0),
        SocketRow(OUTBOUND, CLIENT, TcpState.ESTABLISHED, 1500, 0),
        SocketRow(OUTBOUND, CLIENT, TcpState.ESTABLISHED, 0, 0),
    ],
)
def test_connection_that_is_not_accepted_yet(row: SocketRow) -> None:
    """Catches: a slow or stopped sidecar that is reported as accepting, or as absent."""
    sighting = seen(row, listening(15001))

    assert (sighting.accepted, sighting.pending) == ((), True)


def test_row_that_outlives_its_program() -> None:
    """Catches: a missed acceptance of a sidecar that closes at once."""
    row = SocketRow(OUTBOUND, CLIENT, TcpState.FIN_WAIT2, 0, 0)

    assert seen(row, listening(15001)).accepted
    assert not seen(row, listening(15001, uid=1000)).accepted
    assert not seen(row, listening(15001), connected=False).accepted  # of an earlier flow


def test_connection_tracking_shows_closed_connections() -> None:
    """Catches: a missed acceptance of a sidecar that resets the connection at once."""
    line = TRACKED.format(state="CLOSE", flags="", ended="", port=40000)
    sighting = seen(conntrack=line)

    assert [each.by for each in sighting.accepted] == [Acceptor.SIDECAR_OUTBOUND]
    assert sighting.tracking


def test_refused_flow_has_no_acceptance() -> None:
    """Catches: an acceptance that is inferred from the entry of an earlier flow."""
    line = TRACKED.format(state="TIME_WAIT", flags="", ended="", port=40000)

    assert seen(conntrack=line, connected=False).accepted == ()


def test_ports_that_the_sidecar_serves() -> None:
    """Catches: a missed acceptance of a metrics listener that waits for a request."""
    at = Address(POD, 15010)
    rows = (established(at, FROM_OUTSIDE), listening(15010))
    (accepted,) = seen(*rows, client=FROM_OUTSIDE, to=at).accepted

    assert (accepted.by, accepted.destination) == (Acceptor.METRICS, at)


def test_served_port_behind_dnat_is_the_sidecars() -> None:
    """Catches: a missed acceptance of the admin interface in FSM's PodIP mode (issue 12)."""
    dialled, client = Address("127.0.0.1", 15000), Address("127.0.0.1", 40000)
    place = Address(POD, 15000)
    line = (
        "ipv4 2 tcp 6 9 ESTABLISHED src=127.0.0.1 dst=127.0.0.1 sport=40000 dport=15000"
        f" src={POD} dst=127.0.0.1 sport=15000 dport=40000 [ASSURED] use=1"
    )
    accepted = Acceptance(0, Acceptor.ADMIN, place, client, dialled)

    for rows in ([established(place, client), listening(15000)], [listening(15000)]):
        sighting = seen(*rows, client=client, to=dialled, conntrack=line)
        assert sighting.accepted == (accepted,)
    assert seen(established(place, client), listening(15000), client=client, to=dialled).accepted


def test_tproxy_to_a_served_port_of_another_host_is_outbound() -> None:
    """Catches: a captured connection to another host's port 15000 taken for the admin interface."""
    remote = Address(SERVER, 15000)
    (accepted,) = seen(established(remote, CLIENT), listening(15000), to=remote).accepted
    assert accepted.by is Acceptor.SIDECAR_OUTBOUND


def test_onward_connections_are_named() -> None:
    """Catches: a second sidecar on the way that cannot be asked about the flow."""
    onward = Address(POD, 41000)
    sighting = seen(established(OUTBOUND, CLIENT), established(onward, DIALLED, inode=78))

    assert sighting.onward == (onward,)


AGAIN = Address(POD, 40500)
ONCE_MORE = Address(POD, 40501)


@pytest.mark.parametrize(
    ("listener", "client", "to"),
    [
        (OUTBOUND, CLIENT, DIALLED),
        (INBOUND, FROM_OUTSIDE, OWN_PORT),
        (DIALLED, CLIENT, DIALLED),  # by TPROXY
    ],
)
def test_sidecar_that_dials_itself_is_a_loop(
    listener: Address, client: Address, to: Address
) -> None:
    """Catches: a loop that looks like a captured flow, and that exhausts the machine."""
    rows = [
        established(listener, client),
        established(AGAIN, to), established(listener, AGAIN, inode=78),
        established(ONCE_MORE, to), established(listener, ONCE_MORE, inode=79),
        listening(listener.port),
    ]  # fmt: skip
    sighting = seen(*rows, client=client, to=to)

    assert loops(sighting.accepted)
    assert [each.peer for each in sighting.accepted] == [client, AGAIN, ONCE_MORE]


def test_sidecar_that_forwards_a_flow_is_not_a_loop() -> None:
    """Catches: other flows of the sidecar, or test clients with its user, reported as a loop."""
    others = Address("127.0.0.6", 41000)
    rows = [
        established(OUTBOUND, CLIENT), established(AGAIN, DIALLED),
        # A test client with the sidecar's user. Its capture is not a loop.
        established(ONCE_MORE, DIALLED, inode=99), established(OUTBOUND, ONCE_MORE, inode=98),
        # Inbound, at the same time.
        established(INBOUND, FROM_OUTSIDE, inode=80), established(others, OWN_PORT, inode=81),
        listening(15001), listening(15003),
    ]  # fmt: skip

    assert len(seen(*rows, ours=frozenset({99})).accepted) == 1
    assert len(seen(*rows, client=FROM_OUTSIDE, to=OWN_PORT).accepted) == 1


def test_endless_loop_is_truncated() -> None:
    """Catches: thousands of acceptances in one reply of an agent."""
    ends = [Address(POD, port) for port in range(41000, 42000)]
    rows = [row for end in ends for row in (established(end, DIALLED), established(OUTBOUND, end))]

    assert len(seen(established(OUTBOUND, CLIENT), *rows, listening(15001)).accepted) == 101

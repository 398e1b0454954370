"""The sentence of an explanation does not mislead: it names the rule for this very flow."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from pytest_fsmredir.model.flow import (
    Acceptor,
    Address,
    Claim,
    Direction,
    Fate,
    Flow,
    Protocol,
    Sent,
)
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.prove import LATER
from pytest_fsmredir.rules.reading import read_text
from pytest_fsmredir.rules.why.explain import explain, searched
from pytest_fsmredir.rules.why.peculiar import peculiar
from pytest_fsmredir.rules.why.scene import Scene
from tests.unit.test_evidence import (
    CLIENT,
    ORIGIN,
    POD,
    POLICY,
    RULES,
    SERVER,
    SIXTEENTH,
    TO_OUT,
    UID,
    gone,
    inbound,
    outbound,
    why,
)

INCLUSIVE = replace(
    POLICY,
    outbound_ip_range_exclusion_list=(),
    outbound_ip_range_inclusion_list=(ip_network("192.0.2.0/24"), ip_network("198.51.100.0/24")),
)
LAST = f"-A OUT -p tcp {TO_OUT}"
NO_RANGE = "-A OUT -d 10.0.0.0/8 -j RETURN"
NOT_SIDECAR = "-A OUT -o lo -m owner ! --uid-owner 1340 -j RETURN"
NOT_OUT = "-A PREROUTING -p tcp -j IN"
LEAKED = outbound(SERVER, 80, by=ORIGIN)
REPLIED = inbound(8080, ORIGIN)


@pytest.mark.parametrize(
    ("claim", "edits", "sentence"),
    [
        (
            outbound(SERVER, 80, uid=1500).direct,
            ((UID, f"{NOT_SIDECAR}\n{UID.replace('1500', '1340')}"),),
            "rule #2 of OUT exempts uid 1340, not uid 1500",
        ),
        (
            outbound(SERVER, 9010).direct,
            (("9001:9015", "9001:9009,9011:9015"),),
            "no rule of OUT exempts port 9010: 2 rules list 15 of the 16 excluded ports,"
            " port 9009 in rule #4",
        ),
        (
            outbound(SERVER, 80, uid=1500, by=Acceptor.SIDECAR_INBOUND).direct,
            ((UID, UID.replace("-j RETURN", "-p tcp -j REDIRECT --to-ports 15003")),),
            "rule #1 of OUT sends uid 1500 to 15003, but has to exempt it",
        ),
        (
            LEAKED.captured_outbound,
            ((LAST, LAST.replace("-p tcp", "-p tcp -m length --length 0:60")),),
            "the model expects captured outbound; seen: accepted by the destination itself;"
            " rule #6 of OUT takes only protocol tcp and length 0…60, which is not known of every"
            " packet",
        ),
        (
            inbound(15904, Acceptor.SIDECAR_INBOUND).direct,
            (),
            "no rule of IN exempts port 15904: rule #1 lists 1 of the 5 reserved ports",
        ),
        (
            inbound(7071, Acceptor.SIDECAR_INBOUND).direct,
            (("7070,7071", "7070"), ("--dports 9016", "--dports 9016,7071")),
            "no rule of IN exempts port 7071: rule #2 lists 1 of the 2 excluded ports",
        ),
        (
            REPLIED.captured_inbound,
            (("--dport 15010", f"-s {CLIENT.host}"),),
            f"rule #1 of IN exempts source {CLIENT.host}/32, but no list is about sources",
        ),
        (
            REPLIED.captured_inbound,
            (("-j REDIRECT --to-ports 15003", "-j REDIRECT"),),
            "rule #3 of IN sends this flow to the same port, not to 15003",
        ),
        (
            LEAKED.captured_outbound,
            (("--dports 9016", "! --dports 9016"),),
            "rule #5 of OUT exempts dport not 9016: the match is inverted",
        ),
        (
            LEAKED.captured_outbound,
            (("--dports 9016", "--dports 9016,80"),),
            "rule #5 of OUT exempts dport 80,9016, but no list names port 80",
        ),
        (
            LEAKED.captured_outbound,
            ((UID, "".join(f"{UID.replace('1500', str(n))}\n" for n in (1000,) * 7) + UID),),
            "rule #1 of OUT exempts uid 1000: only uid 1500 is the sidecar; so do 6 rules of OUT,"
            " from #2 to #7",
        ),
        (
            REPLIED.captured_inbound,
            ((NOT_OUT, "-A PREROUTING -p tcp -j OUT"), (LAST, "-A OUT -p udp -j DROP")),
            "rule #1 of PREROUTING leads to OUT, and no rule leads to IN",
        ),
    ],
)
def test_the_sentence_names_the_rule_for_this_very_flow(
    claim: Claim, edits: tuple[tuple[str, str], ...], sentence: str
) -> None:
    """Catches: blame for a rule that is right, or for the wrong reason."""
    assert why(claim, *edits).why == sentence


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        (
            f"-A OUT -p tcp -d 192.0.2.0/24 {TO_OUT}\n"
            f"-A OUT -p tcp -d 198.51.100.0/24 -o eth1 {TO_OUT}",
            "rule #6 of OUT captures 198.51.100.0/24, but not this flow: out eth0, not eth1",
        ),
        (
            f"-A OUT -p tcp -d 198.51.100.128/25 {TO_OUT}\n"
            f"-A OUT -p tcp -d 198.51.100.8/31 {TO_OUT}\n-A OUT -p tcp -d 192.0.2.0/24 {TO_OUT}",
            "rule #6 of OUT captures only 198.51.100.8/31 of the included range 198.51.100.0/24",
        ),
        (
            f"-A OUT -p tcp -d 192.0.2.0/24 {TO_OUT}",
            "no rule of OUT captures the included range 198.51.100.0/24",
        ),
        (
            f"-A OUT -p tcp ! -d 198.51.100.0/24 {TO_OUT}",
            "rule #5 of OUT is inverted: it captures all but 198.51.100.0/24",
        ),
        (
            f"-A OUT -j RETURN\n{LAST}",
            "rule #5 of OUT exempts every packet",
        ),
    ],
)
def test_a_leak_of_an_included_range_names_the_rule_of_that_range(
    rules: str, sentence: str
) -> None:
    """Catches: blame for the rule of another range, because it is near in the chain."""
    found = why(LEAKED.captured_outbound, gone(NO_RANGE), (LAST, rules), policy=INCLUSIVE)
    assert found.why == sentence


def test_an_inverted_range_captures_what_is_not_included() -> None:
    """Catches: blame for the redirect in its own chain, which is right for included ranges."""
    found = why(
        outbound("203.0.113.9", 80).direct,
        gone(NO_RANGE),
        (LAST, f"-A OUT -p tcp ! -d 192.0.2.0/24 {TO_OUT}\n"),
        policy=INCLUSIVE,
    )
    assert found.why == "rule #5 of OUT is inverted: it captures all but 192.0.2.0/24"


def test_two_rules_that_capture_more_than_is_included_are_not_hidden_by_each_other() -> None:
    """Catches: blame for the redirect in its own chain, because no rule alone is the cause."""
    wide = "".join(f"-A OUT -p tcp -d {net} {TO_OUT}\n" for net in ("192.0.0.0/2", "192.0.0.0/3"))
    found = why(outbound("203.0.113.9", 80).direct, gone(NO_RANGE), (LAST, wide), policy=INCLUSIVE)
    assert found.why == (
        "rule #5 of OUT captures destination 192.0.0.0/2, but no list includes 203.0.113.9"
    )


def test_an_exemption_before_the_rule_of_the_sidecars_own_flows_is_not_called_wrong() -> None:
    """Catches: a list that is said not to name a port which it names."""
    own = f"-A OUT -p tcp -o lo -m owner --uid-owner 1500 {TO_OUT.replace('15001', '15003')}"
    first = f"{SIXTEENTH}\n{own}\n{UID}"
    claim = outbound(POD, 9016, uid=1500, by=ORIGIN).captured_inbound
    assert why(claim, gone(SIXTEENTH), (UID, first)).why == (
        "rule #2 of OUT is for this flow, but stands behind rule #1, which exempts dport 9016"
    )


def test_a_rule_that_stops_open_connections_is_named() -> None:
    """Catches: blame for the redirect that the first packet of such a connection meets."""
    late = "*filter\n-A INPUT -m conntrack --ctstate ESTABLISHED -j DROP\nCOMMIT\n"
    pod = Surroundings({"eth0": (POD,)}, closed=True)
    found = searched(
        Scene(rules=read_text(late + RULES), pod=pod, policy=POLICY), 4, spec=LATER.sentence
    )
    assert found is not None
    assert found.why.startswith("by rule #1 of filter INPUT, state ESTABLISHED of open connections")


def test_an_accept_that_hides_the_rules_of_others_is_named() -> None:
    """Catches: a jump that is said to exempt the flow."""
    rest = "-A OUTPUT -p tcp -m tcp --dport 9016 -j REDIRECT --to-ports 5305"
    jump = "-A OUTPUT -p tcp -j OUT"
    accepting = SIXTEENTH.replace("RETURN", "ACCEPT")
    claim = outbound(SERVER, 9016, by=ORIGIN).direct
    wanted = replace(claim, expected="accepted on port 5305")
    assert why(wanted, (jump, f"{jump}\n{rest}"), (SIXTEENTH, accepting)).why == (
        "rule #5 of OUT accepts dport 9016, so that no later rule of the hook sees this flow"
    )


def test_an_exemption_of_one_address_of_the_pod_is_named() -> None:
    """Catches: an exemption that is said to be missing, though it has the first address only."""
    own = f"-A OUT -d {POD} -j RETURN\n{UID}"
    text = RULES.replace(UID, own)
    pod = Surroundings({"eth0": (POD,), "eth1": ("10.79.0.4",)}, closed=True)
    policy = replace(POLICY, outbound_ip_range_exclusion_list=())
    scene = Scene(rules=read_text(text.replace(f"{NO_RANGE}\n", "")), pod=pod, policy=policy)
    found = explain(outbound("10.79.0.4", 80).direct, scene)
    assert found.why == (
        "rule #1 of OUT exempts only 10.77.0.4/32, not the pod's address 10.79.0.4"
    )


def test_a_rule_for_packets_that_the_model_leaves_out_is_named() -> None:
    """Catches: silence about the one rule that stops packets."""
    reset = "*filter\n-A INPUT -p tcp --tcp-flags RST RST -j DROP\nCOMMIT\n"
    blame = peculiar(read_text(reset + RULES), 4)
    assert blame is not None
    assert blame.why.endswith(
        "rule #1 of filter INPUT stops packets with protocol tcp and --tcp-flags RST RST"
    )
    assert peculiar(read_text(RULES), 4) is None


def test_a_rule_against_connection_tracking_is_not_said_to_change_the_packet() -> None:
    """Catches: a search for a changed field, though the rule changes none."""
    raw = "*raw\n-A OUTPUT -p tcp -m owner --uid-owner 1500 -j CT --notrack\nCOMMIT\n"
    pod = Surroundings({"eth0": (POD,)}, closed=True)
    scene = Scene(rules=read_text(raw + RULES), pod=pod, policy=POLICY)
    found = explain(outbound(SERVER, 80, uid=1500, by=ORIGIN).direct, scene)
    assert found.why.endswith("rule #1 of raw OUTPUT takes the packet out of connection tracking")


@pytest.mark.parametrize(("payload", "blamed"), [(1372, True), (1371, False)])
def test_length_of_a_datagram_is_known(payload: int, blamed: bool) -> None:
    """Catches: "which is not known of this flow" about a length that the failure names."""
    flow = Flow(Direction.OUTBOUND, Address(SERVER, 53), Protocol.UDP, uid=1000)
    sent = Sent(payload=payload)
    fate = Fate(flow, Address(POD, 40000), (), "forbidden", sent=sent)
    long = "*filter\n-A OUTPUT -p udp -m length --length 1400:65535 -j DROP\nCOMMIT\n"
    said = why(fate.direct, ("*nat", f"{long}*nat")).why
    drops = "rule #1 of filter OUTPUT drops packets with protocol udp and length 1400…65535"
    assert (said == drops) is blamed
    assert "not known of this flow" not in said

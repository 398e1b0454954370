"""The explanation of a failed flow: its path through the rules, and the rule at fault."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from pytest_fsmredir.model.flow import (
    Acceptance,
    Acceptor,
    Address,
    Claim,
    Direction,
    Fate,
    Flow,
    Protocol,
    Sent,
)
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.reading import read_text
from pytest_fsmredir.rules.why.explain import Explanation, explain, searched
from pytest_fsmredir.rules.why.pathline import DECIDED
from pytest_fsmredir.rules.why.scene import Scene

POD = "10.77.0.4"
SERVER = "198.51.100.10"
CLIENT = Address("203.0.113.20", 40001)
LISTED = tuple(range(9001, 9017))
RULES = """\
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:IN - [0:0]
:OUT - [0:0]
-A PREROUTING -p tcp -j IN
-A OUTPUT -p tcp -j OUT
-A IN -p tcp -m tcp --dport 15010 -j RETURN
-A IN -p tcp -m multiport --dports 7070,7071 -j RETURN
-A IN -p tcp -j REDIRECT --to-ports 15003
-A OUT -m owner --uid-owner 1500 -j RETURN
-A OUT -d 127.0.0.0/8 -j RETURN
-A OUT -d 10.0.0.0/8 -j RETURN
-A OUT -p tcp -m multiport --dports 9001:9015 -j RETURN
-A OUT -p tcp -m multiport --dports 9016 -j RETURN
-A OUT -p tcp -j REDIRECT --to-ports 15001
COMMIT
"""
POLICY = Policy(
    outbound_port_exclusion_list=LISTED,
    inbound_port_exclusion_list=(7070, 7071),
    outbound_ip_range_exclusion_list=(ip_network("10.0.0.0/8"),),
)
SIDECAR = Acceptor.SIDECAR_OUTBOUND


def outbound(
    host: str, port: int, *, uid: int = 1000, by: Acceptor = SIDECAR, sent: Sent | None = None
) -> Fate:
    """Return the fate of a flow of the pod."""
    to, client = Address(host, port), Address(POD, 40000)
    path = (Acceptance(0, by, to, client),)
    return Fate(Flow(Direction.OUTBOUND, to, uid=uid), client, path, sent=sent or Sent())


def inbound(port: int, by: Acceptor) -> Fate:
    """Return the fate of a flow of a client outside."""
    to = Address(POD, port)
    return Fate(Flow(Direction.INBOUND, to), CLIENT, (Acceptance(0, by, to, CLIENT),))


def why(
    claim: Claim, *edits: tuple[str, str], policy: Policy = POLICY, earlier: tuple[Policy, ...] = ()
) -> Explanation:
    """Explain a claim by edited rules."""
    text = RULES
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    scene = Scene(
        rules=read_text(text), pod=Surroundings({"eth0": (POD,)}, closed=True),
        policy=policy, earlier=earlier,
    )  # fmt: skip
    return explain(claim, scene)


def gone(line: str) -> tuple[str, str]:
    """Return the edit that removes a line."""
    return f"{line}\n", ""


def to_last(line: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the edits that move a rule to the end of OUT."""
    return gone(line), ("15001\n", f"15001\n{line}\n")


TO_OUT = "-j REDIRECT --to-ports 15001"
SIXTEENTH = "-A OUT -p tcp -m multiport --dports 9016 -j RETURN"
UID = "-A OUT -m owner --uid-owner 1500 -j RETURN"
ORIGIN = Acceptor.ORIGIN


@pytest.mark.parametrize(
    ("fate", "edits", "sentence"),
    [
        (
            outbound(SERVER, 9016),
            (gone(SIXTEENTH), ("9001:9015", ",".join(map(str, LISTED[:15])))),
            "no rule of OUT exempts port 9016: rule #4 lists 15 of the 16 excluded ports,"
            " and one multiport match takes 15",
        ),
        (
            outbound(SERVER, 9016),
            to_last(SIXTEENTH),
            "rule #6 of OUT exempts this flow, but stands behind rule #5,"
            " which takes protocol tcp",
        ),
        (
            outbound(SERVER, 80, uid=1500),
            (("--uid-owner 1500", "--uid-owner 1337"),),
            "rule #1 of OUT exempts uid 1337, not uid 1500",
        ),
        (
            outbound(SERVER, 80, uid=1500),
            (("--uid-owner 1500", "--gid-owner 1500"),),
            "rule #1 of OUT compares the group, not the user",
        ),
        (
            outbound(SERVER, 80, uid=1500),
            (gone(UID),),
            "no rule of OUT exempts uid 1500 before rule #5",
        ),
        (
            outbound(SERVER, 9016),
            (("--dports 9016", "--sports 9016"),),
            "rule #5 of OUT compares the source, not the destination",
        ),
        (
            outbound(SERVER, 9016),
            (("--dports 9016", "--dports 9016 -m owner ! --uid-owner 1000"),),
            "rule #5 of OUT exempts port 9016, but not this flow: uid is 1000",
        ),
        (
            outbound("10.1.2.3", 80),
            (("-d 10.0.0.0/8", "-d 10.0.0.0/16"),),
            "rule #3 of OUT exempts only 10.0.0.0/16 of the excluded range 10.0.0.0/8",
        ),
        (
            outbound(SERVER, 80, uid=1500),
            (("-m owner --uid-owner 1500", "-m mark --mark 1337"),),
            "no rule of OUT exempts uid 1500: rule #1 asks for more (mark 0, not 1337)",
        ),
        (
            outbound(SERVER, 80, uid=1500),
            (gone(UID), ("15001\n", "15001\n-A OUT -p tcp -j RETURN\n")),
            "no rule of OUT exempts uid 1500 before rule #5",
        ),
        (
            outbound("10.1.2.3", 80),
            (("-A OUT -d 10.0.0.0/8", "-A IN -d 10.0.0.0/8"),),
            "rule #4 of IN exempts 10.0.0.0/8, but this flow passes OUT",
        ),
    ],
)  # fmt: skip
def test_a_captured_flow_names_the_exemption_that_did_not_act(
    fate: Fate, edits: tuple[tuple[str, str], ...], sentence: str
) -> None:
    """Catches: an explanation that names the redirect instead of the broken exemption."""
    found = why(fate.direct, *edits)
    assert found.why == sentence
    assert DECIDED in found.path


@pytest.mark.parametrize(
    ("fate", "edits", "sentence"),
    [
        (
            outbound("11.1.2.3", 80, by=ORIGIN),
            (("-d 10.0.0.0/8", "-d 10.0.0.0/7"),),
            "rule #3 of OUT exempts destination 10.0.0.0/7: the prefix is wider than in the list"
            " (10.0.0.0/8)",
        ),
        (
            outbound(SERVER, 80, uid=0, by=ORIGIN),
            ((UID, f"{UID}\n{UID.replace('1500', '0')}"),),
            "rule #2 of OUT exempts uid 0: only uid 1500 is the sidecar",
        ),
        (
            outbound(SERVER, 80, by=ORIGIN),
            (gone("-A OUTPUT -p tcp -j OUT"),),
            "no rule of OUTPUT jumps to OUT",
        ),
        (
            outbound(SERVER, 80, by=ORIGIN),
            (gone("-A OUT -p tcp -j REDIRECT --to-ports 15001"),),
            "no rule of OUT redirects this flow",
        ),
        (
            outbound(SERVER, 80, by=ORIGIN),
            ((TO_OUT, f"-m owner --uid-owner 0 {TO_OUT}"),),
            "rule #6 of OUT captures, but not for this flow: uid 1000, not 0",
        ),
    ],
)  # fmt: skip
def test_a_direct_flow_names_the_rule_that_exempts_it_or_did_not_capture_it(
    fate: Fate, edits: tuple[tuple[str, str], ...], sentence: str
) -> None:
    """Catches: an explanation of a leak that does not say which rule leaks."""
    assert why(fate.captured_outbound, *edits).why == sentence


def test_a_rule_of_an_earlier_configuration_is_called_withdrawn() -> None:
    """Catches: a stale rule that looks like a wrong one."""
    now = replace(POLICY, outbound_port_exclusion_list=LISTED[:15])
    claim = outbound(SERVER, 9016, by=ORIGIN).captured_outbound
    found = why(claim, policy=now, earlier=(POLICY,))
    assert (
        found.why == "rule #5 of OUT exempts dport 9016, which was withdrawn: no list names it now"
    )


def test_a_doubled_exemption_names_both_rules() -> None:
    """Catches: an explanation that blames one of two rules, so that mending it cures nothing."""
    wrong = UID.replace("1500", "1000")
    found = why(
        outbound(SERVER, 80, by=ORIGIN).captured_outbound, (UID, f"{wrong}\n{wrong}\n{UID}")
    )
    assert found.why.endswith("so does rule #2 of OUT")
    assert {place.number for place in found.places} == {1, 2}


def test_rules_of_the_other_family_only_are_named() -> None:
    """Catches: IPv6 without rules, explained as if a rule of IPv4 were at fault."""
    to = Address("2001:db8:5::10", 80)
    client = Address("fd77::4", 40000)
    flow = Flow(Direction.OUTBOUND, to, uid=1000)
    fate = Fate(flow, client, (Acceptance(0, ORIGIN, to, client),))
    pod = Surroundings({"eth0": (POD, client.host)}, closed=True)
    found = explain(fate.captured_outbound, Scene(rules=read_text(RULES), pod=pod, policy=POLICY))
    assert found.why.startswith("no rule for IPv6 redirects: only iptables-legacy IPv4")


def test_inbound_flows_are_explained() -> None:
    """Catches: an explanation that reads the outbound chain for a flow from outside."""
    fate = inbound(7071, Acceptor.SIDECAR_INBOUND)
    found = why(fate.direct, ("7070,7071", "7070"))
    assert found.why == "no rule of IN exempts port 7071: rule #2 lists 1 of the 2 excluded ports"
    assert found.path == (
        "PREROUTING #1 → IN #1 no (dport 7071, not 15010) · #2 no (dport 7071, not 7070)"
        f" · #3 → 15003   {DECIDED}"
    )


def test_a_flow_to_an_open_listener_of_the_sidecar_names_the_rule_that_opens_it() -> None:
    """Catches: the outbound listener's answer, taken for a sign that the flow was redirected."""
    fate = inbound(15001, Acceptor.SIDECAR_OUTBOUND)
    found = why(fate.captured_inbound, ("--dport 15010", "--dport 15001"))
    assert found.why == "rule #1 of IN exempts dport 15001, which no list names"


def test_a_flow_within_the_pod_names_the_exemption_that_has_no_redirect_before_it() -> None:
    """Catches: advice to mend a chain that the flow rightly does not pass."""
    fate = outbound(POD, 80, uid=1500, by=ORIGIN)
    found = why(fate.captured_inbound)
    assert found.why == (
        "no rule of OUT sends this flow to port 15003 before rule #1, which exempts it"
    )


def test_ranges_that_are_excluded_by_negation_are_named_together() -> None:
    """Catches: no explanation if more than a few rules have to go at once."""
    hosts = [f"192.0.2.{number}" for number in range(8)]
    rules = "\n".join(f"-A OUT ! -d {host} -j RETURN" for host in hosts)
    policy = replace(
        POLICY, outbound_ip_range_inclusion_list=tuple(ip_network(host) for host in hosts)
    )
    fate = outbound(hosts[0], 80, by=ORIGIN)
    found = why(fate.captured_outbound, (UID, f"{UID}\n{rules}"), policy=policy)
    assert found.places[0].number == 3


def test_a_capture_of_everything_names_the_jump_that_should_have_ranges() -> None:
    """Catches: blame for the redirect in its own chain, which is right for included ranges."""
    policy = replace(POLICY, outbound_ip_range_inclusion_list=(ip_network("192.0.2.1"),))
    edits = (
        (":OUT - [0:0]\n", ":OUT - [0:0]\n:TO - [0:0]\n"),
        (f"-A OUT -p tcp {TO_OUT}", f"-A OUT -j TO\n-A TO -p tcp {TO_OUT}"),
    )
    found = why(outbound(SERVER, 80).direct, *edits, policy=policy)
    assert found.why == "rule #6 of OUT captures every destination, not only what is included"


def test_an_excluded_port_in_an_included_range_names_the_missing_exemption() -> None:
    """Catches: blame for the rule of the included range, which is right."""
    policy = replace(
        POLICY,
        outbound_ip_range_exclusion_list=(),
        outbound_ip_range_inclusion_list=(ip_network(SERVER),),
    )
    edits = (
        gone(SIXTEENTH),
        gone("-A OUT -p tcp -m multiport --dports 9001:9015 -j RETURN"),
        gone("-A OUT -d 10.0.0.0/8 -j RETURN"),
        (f"-A OUT -p tcp {TO_OUT}", f"-A OUT -p tcp -d {SERVER} {TO_OUT}"),
    )
    found = why(outbound(SERVER, 9016).direct, *edits, policy=policy)
    assert found.why == "no rule of OUT exempts port 9016 before rule #3"


def test_rules_that_do_not_explain_a_fate_are_not_blamed() -> None:
    """Catches: a rule blamed for packets that the rules treat correctly."""
    found = why(outbound(SERVER, 9016).direct)
    assert not found.places
    assert found.why == (
        "the model expects direct; seen: accepted by the sidecar's outbound listener:"
        " the rules do not explain this"
    )


def test_a_condition_that_is_not_understood_is_named() -> None:
    """Catches: certainty about a rule that takes every tenth packet."""
    chance = f"-A OUT -m statistic --mode random --probability 0.1 -j RETURN\n{UID}"
    found = why(outbound(SERVER, 80, by=ORIGIN).captured_outbound, (UID, chance))
    assert "it depends on '-m statistic" in found.why
    assert [place.number for place in found.places] == [1]


def test_the_group_and_the_mark_of_a_flow_are_known() -> None:
    """Catches: an exemption for a group, which a walk without the group does not see."""
    fate = outbound(SERVER, 80, by=ORIGIN, sent=Sent(gid=1337, mark=7))
    for words in ("--gid-owner 1337", "--gid-owner 1337 -m mark --mark 7"):
        rule = f"-A OUT -m owner {words} -j RETURN\n{UID}"
        assert why(fate.captured_outbound, (UID, rule)).places[0].number == 1


def test_a_dropped_datagram_names_the_rule() -> None:
    """Catches: an explanation that only knows redirects."""
    to = Address(SERVER, 53)
    flow = Flow(Direction.OUTBOUND, to, Protocol.UDP, uid=1000)
    fate = Fate(flow, Address(POD, 40000), (), "no answer")
    filtered = "*filter\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p udp -j DROP\nCOMMIT\n"
    found = why(fate.direct, ("*nat", f"{filtered}*nat"))
    assert found.why == "rule #1 of filter OUTPUT drops packets with protocol udp"


def test_a_failure_without_a_flow_is_explained_by_a_search() -> None:
    """Catches: no explanation where a check looks at packets that are no flow."""
    filtered = "*filter\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p sctp -j DROP\nCOMMIT\n"
    pod = Surroundings({"eth0": (POD,)}, closed=True)
    scene = Scene(rules=read_text(filtered + RULES), pod=pod, policy=POLICY)
    found = searched(scene, 4, spec="SPEC-5.4")
    assert found is not None
    assert found.why.startswith(
        "rule #1 of filter OUTPUT drops packets with protocol 132 (such as protocol 132"
    )


def test_example_of_a_search_goes_the_way_of_the_failed_check() -> None:
    """Catches: an outgoing example for an inbound SYN that a limit drops."""
    limit = "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m limit --limit 10/sec -j ACCEPT"
    rest = "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP"
    filtered = f"*filter\n-A INPUT {limit}\n-A INPUT {rest}\nCOMMIT\n"
    pod = Surroundings({"eth0": (POD,)}, closed=True)
    scene = Scene(rules=read_text(filtered + RULES), pod=pod, policy=POLICY)
    found = searched(scene, 4, spec="SPEC-2.7")
    assert found is not None
    example = found.why.partition("(such as ")[2]
    assert f" to {POD}:" in example
    assert "by uid" not in example


def test_redirect_in_a_base_chain_that_takes_too_little() -> None:
    """Catches: a sentence about a jump to a chain without a name."""
    to_chain = ("-A OUTPUT -p tcp -j OUT", "-A OUTPUT -p tcp -m tcp --dport 8080 " + TO_OUT)
    found = why(outbound(SERVER, 80, by=ORIGIN).captured_outbound, to_chain)
    assert found.why == "rule #1 of OUTPUT captures, but not for this flow: dport 80, not 8080"

"""A failed flow as plain values: its walk through the rules, and who accepted it."""

from __future__ import annotations

import json
from dataclasses import replace

from pytest_fsmredir.model.flow import Address, Direction, Fate, Flow, Protocol
from pytest_fsmredir.model.followed import Delivery, Part, RuleWalk
from pytest_fsmredir.model.outcomes import Outcome, Row
from pytest_fsmredir.rules.why.steps import walked
from tests.unit.reports import V4
from tests.unit.test_evidence import ORIGIN, SERVER, SIXTEENTH, gone, outbound, to_last, why


def walk(*edits: tuple[str, str]) -> RuleWalk:
    """Return the walk of a flow to the excluded port 9016 through edited rules."""
    explained = why(outbound(SERVER, 9016).direct, *edits)
    assert explained.case is not None
    return walked(explained.case, explained.places)


def test_walk_has_every_rule_up_to_the_decision_and_the_place_of_the_missing_one() -> None:
    """Catches: a picture without the deciding rule, or without the one that should have decided."""
    steps = [(step.chain, step.number, step.part) for step in walk(gone(SIXTEENTH)).steps]
    assert steps == [
        ("OUTPUT", 1, Part.MATCHED),
        ("OUT", 1, Part.PASSED),
        ("OUT", 2, Part.PASSED),
        ("OUT", 3, Part.PASSED),
        ("OUT", 4, Part.PASSED),
        ("OUT", 0, Part.MISSING),
        ("OUT", 5, Part.DECIDED),
    ]


def test_walk_shows_a_rule_that_stands_too_late() -> None:
    """Catches: an exemption behind the redirect that the picture does not show."""
    found = walk(*to_last(SIXTEENTH))
    assert [found.steps[-1].number, found.steps[-1].part] == [6, Part.UNREACHED]
    assert found.steps[-1].blamed
    assert (found.end, found.wanted) == ("captured outbound", "direct")


def test_walk_says_why_a_rule_does_not_match() -> None:
    """Catches: boxes without the condition that fails."""
    assert walk(gone(SIXTEENTH)).steps[1].note == "uid 1000, not 1500"


def test_walk_has_no_counters() -> None:
    """Catches: reports of equal runs that differ in the values of counters."""
    counted = ("-A OUT -p tcp -j REDIRECT", "[7:420] -A OUT -p tcp -j REDIRECT")
    found = walk(gone(SIXTEENTH), counted).steps[-1]
    assert found.rule == "-A OUT -p tcp -j REDIRECT --to-ports 15001"


def test_long_walk_shows_what_matters() -> None:
    """Catches: a report of many megabytes for an implementation with thousands of rules."""
    many = "".join(
        f"-A OUT -p tcp -m tcp -d 192.0.2.{n} --dport {n} -j RETURN\n" for n in range(99)
    )
    found = walk(gone(SIXTEENTH), ("-A OUT -p tcp -j REDIRECT", f"{many}-A OUT -p tcp -j REDIRECT"))
    assert len(found.steps) < 20
    assert found.steps[-1].part is Part.DECIDED


def test_delivery_is_what_both_ends_saw() -> None:
    """Catches: a picture of packets with the address after NAT in the place of the one before."""
    fate = outbound(SERVER, 9016)
    hop = replace(fate.path[0], local=Address("127.0.0.1", 15001), original=fate.flow.destination)
    found = Delivery.of(replace(fate, path=(hop,)))
    assert (found.client, found.destination) == ("10.77.0.4:40000", f"{SERVER}:9016")
    assert [(each.local, each.destination) for each in found.hops] == [
        ("127.0.0.1:15001", f"{SERVER}:9016")
    ]


def test_delivery_of_a_ping_has_no_ports() -> None:
    """Catches: a ping to port 0."""
    flow = Flow(Direction.OUTBOUND, Address(SERVER, 0), Protocol.ICMP, uid=0)
    found = Delivery.of(Fate(flow, None, (), lost="no answer"))
    assert (found.client, found.destination, found.lost) == ("", SERVER, "no answer")


def test_delivery_of_a_loop_is_short() -> None:
    """Catches: thousands of hops in the report when the sidecar dials itself."""
    fate = outbound(SERVER, 80, by=ORIGIN)
    found = Delivery.of(replace(fate, path=fate.path * 500))
    assert (len(found.hops), found.accepted) == (8, 500)


def test_both_survive_the_way_from_a_worker() -> None:
    """Catches: results of pytest-xdist workers without their pictures."""
    delivery = Delivery.of(outbound(SERVER, 9016))
    row = Row(
        check="OPX-005", variant=V4, outcome=Outcome.FAIL, walk=walk(gone(SIXTEENTH)),
        delivery=delivery,
    )  # fmt: skip
    assert Row.from_dict(json.loads(json.dumps(row.as_dict()))) == row

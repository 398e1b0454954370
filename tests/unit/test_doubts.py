"""Flows that meet a condition that the model does not understand."""

from __future__ import annotations

import pytest

from pytest_fsmredir.implementations.reference.rules import (
    Family,
    SidecarPorts,
    creation,
    rule_sets,
)
from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.model.reserved import SIDECAR_UID
from pytest_fsmredir.probing.doubts import named
from pytest_fsmredir.rules.packet import Packet, text_of
from pytest_fsmredir.rules.prove import Prover
from pytest_fsmredir.rules.reading import read_text


def flows(words: str, policy: Policy | None = None) -> list[Packet]:
    policy = policy or Policy()
    text = creation(rule_sets(policy, SidecarPorts(), Family.IPV4))
    spared = f"-A OUTPUT -p tcp {words} -j ACCEPT\n"
    text = text.replace("-A OUTPUT -p tcp", f"{spared}-A OUTPUT -p tcp", 1)
    prover = Prover(read_text(text), policy, 4)
    doubts = prover.prove(Direction.OUTBOUND).doubts
    return [packet for doubt in doubts for packet in named(prover.seeker, doubt)]


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ("-m conntrack --ctrepldstport 40404", "source_port"),
        ("-m conntrack --ctreplsrcport 40404", "port"),
        ("-m owner --gid-owner 40404 --suppl-groups", "gid"),
        ("-m unknown --user 0x9dd4", "uid"),
        ("-m unknown --mark 40404", "mark"),
    ],
)
def test_number_in_a_condition_is_tried_in_each_field(words: str, seen: str) -> None:
    """Catches: an exemption of one number that is only a doubt because nothing tries it."""
    assert 40404 in {getattr(packet, seen) for packet in flows(words)}


def test_address_in_a_condition_is_dialled() -> None:
    """Catches: an exemption of one address that is only a doubt because nothing tries it."""
    found = flows("-m conntrack --ctreplsrc 198.51.100.77")
    assert "198.51.100.77" in {text_of(packet.destination, 4) for packet in found}


def test_flows_are_those_that_the_document_treats_alike() -> None:
    """Catches: a flow to an excluded port that counts as one that has to be captured."""
    words = "-m conntrack --ctreplsrcport 6379"
    excluded = Policy(outbound_port_exclusion_list=(6379,))
    for policy, tried in ((Policy(), True), (excluded, False)):
        ports = {packet.port for packet in flows(words, policy) if packet.uid != SIDECAR_UID}
        assert (6379 in ports) is tried

"""Redaction of captured pods whose rules are mutants: a fault stays, and none is added."""

from __future__ import annotations

import pytest

from pytest_fsmredir.errors import CaptureError
from pytest_fsmredir.implementations.base import Refused
from pytest_fsmredir.model.capture import Capture, CapturedInterface
from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.model.redacting.pod import redacted
from pytest_fsmredir.rules.errors import RulesError
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.prove import Prover
from pytest_fsmredir.rules.reading import read_text
from tests.mutants.collected import MUTANTS
from tests.mutants.correct import Case
from tests.mutants.mutant import Mutant

pytestmark = pytest.mark.slow

SAMPLE = MUTANTS[::25]
LISTS = {
    "flomesh.io/outbound-ip-range-exclusion-list": "10.9.0.0/16,52.31.1.7/32,2620:7:9::/48",
    "flomesh.io/outbound-port-exclusion-list": "5432,6379",
    "flomesh.io/inbound-port-exclusion-list": "9090",
}
POD = Capture(
    pod="shop/web-1",
    interfaces=(CapturedInterface("eth0", ("10.2.0.9/24", "fd00:2::9/64")),),
    annotations=LISTS,
)


def faults(pod: Capture, listing: str, family: int) -> list[str]:
    """Return what the model finds wrong, without addresses."""
    around = Surroundings({"eth0": pod.addresses})
    rules = read_text(pod.listings[listing], family)
    prover = Prover(rules, pod.configuration.policy(), family, around)
    found = [prover.prove(direction) for direction in Direction]
    return sorted(f"{f.duty} {f.end.kind}" for p in found for f in (*p.findings, *p.doubts))


@pytest.mark.parametrize("mutant", SAMPLE, ids=lambda mutant: mutant.name)
def test_redacted_mutant_has_the_faults_of_the_original(mutant: Mutant) -> None:
    """Catches: a rule that means something else after its addresses were replaced."""
    for family in (4, 6):
        own = tuple(each for each in POD.addresses if (":" in each) == (family == 6))
        case = Case(POD.configuration.policy(), family, own)
        listing = f"iptables{family}"
        try:
            text = mutant.rules_for(case).creation
            pod = Capture(
                pod=POD.pod,
                interfaces=POD.interfaces,
                annotations=LISTS,
                listings={listing: text},
            )
            before = faults(pod, listing, family)
        except (Refused, RulesError):  # not rules that a pod can have, or that the model reads
            continue
        try:
            other = redacted(pod).capture
        except CaptureError as why:
            assert "u32" in str(why)  # noqa: PT017 - the one match of mutants that is refused
            continue
        assert faults(other, listing, family) == before

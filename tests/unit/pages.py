"""A report with failures, pictures and hostile texts, to look at its page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_fsmredir.model.followed import Delivery, Hop, Part, RuleWalk, Step
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.model.rule_use import NamedRule, RuleUse
from tests.unit.reports import FACTS, write

if TYPE_CHECKING:
    from tests.unit.conftest import Project

VARIANTS = tuple(Variant("netns", kind, family) for kind in ("nft", "legacy") for family in (4, 6))
HOSTILE = (
    "<script>window.hacked=1</script> ]]> \u202e\x00\x1b[2J {{ 7*7 }} -->"
    " '\"><img src=x onerror=hack()>"
)
LONG = "chain_" + 300 * "x"
ADDRESS = {4: "198.51.100.10:7070", 6: "[2001:db8:5::10]:7070"}
CLIENT = {4: "10.77.0.7:40123", 6: "[fd77:1::7]:40123"}
AGAIN = [
    {
        "backend": each.backend,
        "variant": f"{each.iptables}/v{each.family}",
        "command": f"pytest --fsm-conformance --fsm-ip {each.family} --fsm-check ",
    }
    for each in VARIANTS
]
FAILED = ("OPX-002", "OPX-003", "IPX-001", "OUT-004")


def hostile_report(project: Project) -> Path:
    """Write a report in which some checks fail on four variants, and return its directory."""
    slowest = [{**AGAIN[0], "id": "OPX-002", "seconds": 7.5}]
    del slowest[0]["command"]
    facts = {**FACTS, "again": AGAIN, "slowest": slowest, "remarks": [HOSTILE]}
    outcomes = {"OUT-012": Outcome.ERROR, "V6-003": Outcome.WARN, "RES-015": Outcome.NOTE}
    outcomes |= dict.fromkeys(("LIFE-001", "CFG-001"), Outcome.NOT_RUN)
    return write(project, outcomes=outcomes, rows=_rows(), variants=VARIANTS, facts=facts)


def _rows() -> Iterator[Row]:
    for variant in VARIANTS:
        for number, check in enumerate(FAILED):
            yield _failed(check, variant, why=HOSTILE if number else _WHY)
        yield Row(
            check="ALL-003", variant=variant, outcome=Outcome.PASS, probes=9, proof="proved",
            rules=(_USE,),
        )  # fmt: skip


_WHY = "no rule of FSMREDIR_OUT exempts port 7070: rule #5 lists 1 of the 2 excluded ports"
_EXEMPT = NamedRule("nat FSMREDIR_OUT", 5, "-A FSMREDIR_OUT -p tcp --dport 6379 -j RETURN")
_USE = RuleUse(
    hit=(_EXEMPT, NamedRule(f"nat {LONG}", 1, HOSTILE)),
    missed=(NamedRule("nat FSMREDIR_OUT", 7, "-A FSMREDIR_OUT -j LOG"),),
    idle=(NamedRule("nat FSMREDIR_IN", 4, "-j ACCEPT", "rule #3 takes every packet"),),
    redundant=(_EXEMPT,),
    conditions=9,
    unshown=("FSMREDIR_OUT #7: no packet reaches it",),
)


def _failed(check: str, variant: Variant, why: str) -> Row:
    to, client = ADDRESS[variant.family], CLIENT[variant.family]
    hop = Hop("the sidecar's outbound listener", "127.0.0.1:15001", client, to)
    return Row(
        check=check, variant=variant, outcome=Outcome.FAIL, reason=f"{to}: expected direct; {why}",
        flow=f"tcp from uid 1000 to {to}", expected="direct",
        seen=f"accepted by {hop.by} (destination {to}, source {client})", probes=3,
        path="OUTPUT #1 → FSMREDIR_OUT #6 → 15001", why=why, walk=_walk(),
        symptom=("TCP of the application: expected direct",),
        delivery=Delivery("tcp", "outbound", 1000, client, to, (hop,), 1, ""),
    )  # fmt: skip


def _walk() -> RuleWalk:
    out = "FSMREDIR_OUT"
    steps = (
        Step("nat", "OUTPUT", 1, f"-A OUTPUT -p tcp -j {out}", Part.MATCHED, out),
        Step(
            "nat", out, 1, f"-A {out} -d 127.0.0.0/8 -j RETURN", Part.PASSED, "not in 127.0.0.0/8"
        ),
        Step("nat", out, 4, HOSTILE, Part.PASSED, "uid 1000, not 1500"),
        Step("nat", out, 5, f"-A {out} --dport 6379 -j RETURN", Part.PASSED, "dport 7070", True),
        Step("nat", out, 0, "", Part.MISSING, blamed=True),
        Step("nat", out, 6, f"-A {out} -j {LONG}", Part.MATCHED, LONG),
        Step("nat", LONG, 1, f"-A {LONG} -p tcp -j REDIRECT", Part.DECIDED, "15001"),
        Step("mangle", HOSTILE, 2, f"-A x -j {LONG}", Part.UNREACHED, "RETURN", True),
    )
    return RuleWalk(steps, "captured outbound", "direct")

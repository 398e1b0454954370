"""Group failed flows, and print the groups on the terminal."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_fsmredir.backends.protocols import JudgedMesh
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Acceptance, Acceptor, Address, Claim, Direction, Fate, Flow
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.report.failures import failure_lines
from pytest_fsmredir.report.groups import Group, grouped
from pytest_fsmredir.report.sections import FailureSections
from pytest_fsmredir.suite.symptoms import Symptom, symptom_of

V4, V6 = Variant("netns", "nft", 4), Variant("netns", "nft", 6)
SERVER, CLIENT, POD = "198.51.100.10", Address("10.77.0.1", 40000), Address("10.77.0.1", 8080)
EXCLUDED = Configuration({"flomesh.io/outbound-port-exclusion-list": "6379,7070"})


@dataclass
class Mesh:
    """The part of a mesh that explains a symptom."""

    configurations: tuple[Configuration, ...] = ()
    server: Any = field(default_factory=lambda: SimpleNamespace(address=SERVER))


def fate(uid: int | None, port: int, *by: Acceptor, lost: str | None = None) -> Fate:
    direction = Direction.INBOUND if uid is None else Direction.OUTBOUND
    to = Address(POD.host if uid is None else SERVER, port)
    path = tuple(Acceptance(serial, each, to, CLIENT) for serial, each in enumerate(by))
    return Fate(Flow(direction, to, uid=uid), CLIENT, path, lost)


def symptom(claim: Claim, *lists: Configuration) -> Symptom:
    return symptom_of(claim.fate, claim.expected, cast("JudgedMesh", Mesh(lists)))


OUTBOUND, ORIGIN = Acceptor.SIDECAR_OUTBOUND, Acceptor.ORIGIN
SIDECAR_CAPTURED = symptom(fate(1500, 8080, OUTBOUND).direct)
PORT_LOST = symptom(fate(1000, 7070, OUTBOUND).direct, EXCLUDED)


def row(
    check: str, symptom: Symptom = (), outcome: Outcome = Outcome.FAIL, variant: Variant = V4,
    reason: str = "lost",
) -> Row:  # fmt: skip
    return Row(check=check, variant=variant, outcome=outcome, reason=reason, symptom=symptom)


def ids(groups: list[Group]) -> list[list[str]]:
    return [[each.check for each in group.rows] for group in groups]


def test_symptom_names_the_sender_and_the_list() -> None:
    """Catches: a lost list and a lost exemption of the sidecar in one group."""
    assert SIDECAR_CAPTURED == ("TCP of the sidecar: expected direct",)
    assert PORT_LOST == (
        "TCP of the application: expected direct because of a list",
        "outbound_port_exclusion_list",
    )
    assert symptom(fate(None, 8111, ORIGIN).captured_inbound) == (
        "TCP from outside: expected captured inbound", "another port",
    )  # fmt: skip


def test_loop_has_the_symptom_of_the_sidecars_own_connection() -> None:
    """Catches: a second message where forwarded flows of the application loop."""
    looping = fate(1000, 8080, *[OUTBOUND] * 40, lost="reset")
    assert symptom(looping.captured_outbound) == SIDECAR_CAPTURED


def test_loop_is_one_phrase() -> None:
    """Catches: thousands of characters in one line for a flow that passes the sidecar 40 times."""
    seen = fate(1000, 8080, *[OUTBOUND] * 40, lost="reset").seen
    assert "passed the sidecar 40 times" in seen
    assert len(seen) < 200


def test_leak_has_one_symptom_whatever_the_check_claims() -> None:
    """Catches: a separate message for each way in which checks claim that a flow is captured."""
    leak = fate(1000, 8080, ORIGIN)
    claims = [
        leak.captured_outbound,
        leak.captured_outbound_as(Address("192.0.2.1", 1)),
        leak.never_direct,
        leak.passed(OUTBOUND, ORIGIN),
    ]
    assert {symptom(claim) for claim in claims} == {
        ("TCP of the application: expected captured outbound",)
    }
    assert symptom(leak.refused)[0] == "TCP of the application: expected captured outbound"
    assert symptom(leak.captured_outbound, EXCLUDED) == symptom(leak.captured_outbound)


def test_call_to_another_pod_that_misses_its_sidecar_is_inbound() -> None:
    """Catches: a second message, because only calls from outside count as inbound."""
    call = Fate(Flow(Direction.OUTBOUND, POD, uid=1000), CLIENT, fate(1000, 8080, ORIGIN).path)
    assert symptom(call.captured_inbound)[0] == "TCP from outside: expected captured inbound"


def test_malformed_list_explains_nothing() -> None:
    """Catches: a crash of the summary on the malformed list of a check."""
    malformed = Configuration({"flomesh.io/outbound-port-exclusion-list": "7070,,"})
    assert "list" not in symptom(fate(1000, 7070, OUTBOUND).direct, malformed)[0]


def test_each_fault_has_one_group() -> None:
    """Catches: 27 messages for a lost uid rule and a lost port."""
    sidecar = [row(f"UID-00{n}", SIDECAR_CAPTURED) for n in (3, 1, 2)]
    port = [row("CFG-001", PORT_LOST), row("OPX-002", PORT_LOST)]
    assert ids(grouped([*port, *sidecar])) == [
        ["UID-001", "UID-002", "UID-003"], ["OPX-002", "CFG-001"],
    ]  # fmt: skip


def test_groups_do_not_depend_on_the_order_of_rows() -> None:
    """Catches: a message under pytest-xdist that differs from the one of a single process."""
    kinds = [SIDECAR_CAPTURED, PORT_LOST, (*SIDECAR_CAPTURED, "another port"), ()]
    rows = [row(f"OUT-{n:03}", kinds[n % 4], reason=f"lost {n}") for n in range(40)]
    assert grouped(rows[::-1]) == grouped(rows[7:] + rows[:7]) == grouped(rows)


def test_special_flow_joins_the_group_of_the_plain_flow_on_its_variant() -> None:
    """Catches: a group for each port and user where all capture is missing."""
    plain = ("TCP of the application: expected captured outbound",)
    other_user = (*plain, "another user")
    rows = [
        row("OUT-001", plain, variant=V6),
        row("UID-004", other_user, variant=V6),
        row("UID-004", other_user, variant=V4),
    ]
    both, alone = grouped(rows)
    assert [each.check for each in both.rows] == ["OUT-001", "UID-004"]
    assert (alone.symptom, alone.rows) == (f"{plain[0]} (another user)", (rows[2],))


def test_warning_joins_the_failure_with_its_symptom() -> None:
    """Catches: a second message for a SHOULD that the same fault violates."""
    warned = row("OUT-001", SIDECAR_CAPTURED, Outcome.WARN)
    (group,) = grouped([warned, row("UID-001", SIDECAR_CAPTURED)])
    assert (group.outcome, group.rows[0].check) == (Outcome.FAIL, "UID-001")
    assert (group.others(Outcome.FAIL), group.others(Outcome.WARN)) == ([], ["OUT-001"])


def test_reasons_without_a_flow_are_compared_without_numbers() -> None:
    """Catches: a separate message for each address in the same reason."""
    reasons = ["pod 10.0.0.1 was not made", "pod 10.0.0.2 was not made", "no pod"]
    rows = [
        row(f"OUT-00{n}", outcome=Outcome.ERROR, reason=text) for n, text in enumerate(reasons, 1)
    ]
    assert ids(grouped(rows)) == [["OUT-001", "OUT-002"], ["OUT-003"]]


def test_refusals_of_different_lists_share_a_group() -> None:
    """Catches: a separate message for each configuration that the same fault refuses."""
    asked = [
        "the default configuration",
        "annotations {'flomesh.io/outbound-port-exclusion-list': '80'}",
        "MeshConfig {'inboundPortExclusionList': [80]}",
        "annotations {'a': '1'} and MeshConfig {'b': [2]}",
    ]
    reasons = [f"expected acceptance of {what}; seen refused: no" for what in asked]
    assert len(grouped([row("OUT-001", reason=text) for text in reasons])) == 1


def test_lines_wrap_and_count_other_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catches: a line that is wider than the terminal, or a failed check without its id."""
    monkeypatch.setenv("COLUMNS", "60")
    rows = [row(f"OUT-{n:03}", SIDECAR_CAPTURED, reason="lost " * 30) for n in range(1, 30)]
    brief = list(failure_lines(rows, verbose=False))
    whole = "\n".join(failure_lines(rows, verbose=True))
    assert all(len(line) <= 60 for line in brief)
    assert brief[0].startswith("FAIL   OUT-001 [netns-nft-v4] lost")
    assert "28 more checks fail" in " ".join(brief)
    assert "OUT-029" not in " ".join(brief)
    assert all(each.check in whole for each in rows)


def test_variants_of_the_plainest_check_share_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a line for each variant of one defect."""
    monkeypatch.setenv("COLUMNS", "80")
    rows = [row("OUT-001", SIDECAR_CAPTURED, variant=variant) for variant in (V6, V4)]
    assert list(failure_lines(rows, verbose=False)) == [
        "FAIL   OUT-001 [netns-nft-v4 netns-nft-v6] lost"
    ]


def reported(row: Row) -> SimpleNamespace:
    return SimpleNamespace(row=row.as_dict(), longrepr=f"{row.check} title\n  flow  x")


def test_pytest_explains_a_group_once() -> None:
    """Catches: an explanation for each failed check, or a second one in the short summary on CI."""
    rows = [row("UID-001", SIDECAR_CAPTURED), row("UID-002", SIDECAR_CAPTURED)]
    own, first, second = SimpleNamespace(longrepr="own"), *map(reported, rows)
    stats: dict[str, list[Any]] = {"failed": [own, second, first], "passed": [own]}
    before = {name: list(reports) for name, reports in stats.items()}
    sections = FailureSections("row")

    sections.fold(stats, {(each.check, each.variant): each for each in rows}, verbose=False)
    assert stats["failed"] == [own, first]
    assert first.longrepr.startswith("UID-001 title\n  flow  x\n  and ")
    sections.shorten()
    assert first.longrepr == "UID-001 title (and 1 more result with this symptom)"
    sections.restore(stats)
    assert stats == before
    assert (own.longrepr, first.longrepr) == ("own", "UID-001 title\n  flow  x")


def test_verbose_pytest_explains_every_check() -> None:
    """Catches: -v that still leaves failures out."""
    rows = [replace(row("UID-001", SIDECAR_CAPTURED), check=f"UID-00{n}") for n in (1, 2)]
    stats: dict[str, list[Any]] = {"failed": list(map(reported, rows))}
    whole = list(stats["failed"])
    FailureSections("row").fold(
        stats, {(each.check, each.variant): each for each in rows}, verbose=True
    )
    assert stats["failed"] == whole

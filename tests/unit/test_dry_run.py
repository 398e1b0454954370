"""The table of flows and expected fates of ``--fsm-explain``, recorded without a network."""

from __future__ import annotations

from pytest_fsmredir.report.flow_table import table
from pytest_fsmredir.suite import catalogue
from pytest_fsmredir.suite.dry_run import recorded

CHECKS = catalogue.load()

SEES_MORE = {"COEX-009", "CT-004", "CT-006", "KUBE-005", "OUT-028", "PROTO-006", "PROTO-017"} | {
    "PROTO-022", "SAN-005", "V6-007", "V6-008",
}  # fmt: skip
"""Checks whose later flows depend on captured packets or on output of programs."""


def shown(check_id: str) -> list[str]:
    """Return the lines of a table, with single blanks."""
    return [" ".join(line.split()) for line in table(recorded(CHECKS[check_id])).splitlines()]


def test_flows_are_shown_with_their_fates() -> None:
    """Catches: an explanation that only a reader of Python understands."""
    assert shown("OPX-002") == [
        "pod outbound-port-exclusion-list 6379,7070",
        "",
        "pod uid 1000 -> server:8080 TCP captured outbound",
        "pod uid 1000 -> server:6379,7070 TCP direct",
    ]


def test_state_of_the_sidecar_and_other_requirements_are_shown() -> None:
    """Catches: a table that has one flow with two fates, and does not say when each is due."""
    assert shown("LIFE-001")[2:] == [
        "pod uid 1000 -> server:8080 TCP captured outbound",
        "pod uid 1000 -> server:8080 TCP not accepted [the sidecar is stopped]",
        "pod uid 1500 -> server:8081 TCP direct [the sidecar is stopped]",
        "it fails with: connections left the pod to the ports {opened}, not to 8081 alone",
    ]


def test_every_permitted_fate_is_shown() -> None:
    """Catches: a table that demands capture where a refusal is permitted too."""
    assert shown("OUT-012")[-1].endswith("captured outbound or not accepted")


def test_long_lists_are_shortened() -> None:
    """Catches: an explanation with thousands of ports."""
    (line,) = shown("OUT-002")[2:]
    assert line.startswith("pod uid 1000 -> server:1,2,3,4,7,8,15,16,... (")


def test_addresses_have_names() -> None:
    """Catches: placeholder addresses, which mean nothing to a reader."""
    assert shown("OIX-001")[0] == "pod outbound-ip-range-exclusion-list server/32"


def test_each_configuration_of_a_pod_is_shown() -> None:
    """Catches: a flow with two fates, and no word of the second run that changes its fate."""
    lines = shown("LIFE-005")
    assert lines[0] == "pod not programmed; run 1: no lists"
    assert "pod uid 1000 -> server:8080 TCP captured outbound [run 1]" in lines
    assert shown("OII-017")[0].startswith(
        "pod not programmed; run 1: outbound-ip-range-inclusion-list server/32,; run 2:"
    )


def test_every_check_is_recorded() -> None:
    """Catches: a check that the recording mesh cannot run, and a recording that does not say so."""
    recordings = {check.id: recorded(check) for check in CHECKS.checks}
    incomplete = {id for id, recording in recordings.items() if recording.missing}
    silent = [id for id, each in recordings.items() if not (each.flows or each.others)]
    assert incomplete == SEES_MORE
    assert [id for id in silent if id not in SEES_MORE] == []


def test_incomplete_recording_says_what_is_missing() -> None:
    """Catches: a table that seems complete, although the check does more."""
    assert shown("CT-004")[-1].startswith("not shown: the rest, which depends on what a run sees:")

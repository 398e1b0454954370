"""The order of checks: plain ones first."""

from __future__ import annotations

import pytest

from pytest_fsmredir.suite import catalogue
from pytest_fsmredir.suite.ordering import rank, rank_of_file

CHECKS = [check.id for check in catalogue.load().checks]


def test_plain_traffic_comes_before_special_cases() -> None:
    """Catches: ``pytest -x`` that stops at COEX-001 although no traffic is captured at all."""
    wanted = [
        "SAN-001",
        "OUT-001",
        "IN-001",
        "UID-001",
        "OUT-002",
        "OPX-001",
        "CFG-001",
        "COEX-001",
    ]
    assert sorted(reversed(wanted), key=rank) == wanted


def test_checks_in_two_parts_come_last() -> None:
    """Catches: connections that are idle too briefly because their check runs early."""
    in_two_parts = [each.id for each in catalogue.load().checks if each.in_two_parts]

    assert in_two_parts
    assert all(rank(each) > rank("ZZZZ-001") for each in in_two_parts)


@pytest.mark.parametrize("prefix", sorted({check.partition("-")[0] for check in CHECKS}))
def test_each_prefix_has_a_place(prefix: str) -> None:
    """Catches: a new prefix that runs last because it is not in the order."""
    assert rank(f"{prefix}-999") < rank("ZZZZ-001")


def test_file_runs_where_its_plainest_check_belongs() -> None:
    """Catches: OUT-001 after a file of special cases that has an earlier prefix."""
    assert rank_of_file(["OUT-005", "OUT-001"]) < rank_of_file(["OUT-002", "LO-001"])
    assert rank_of_file([]) > rank("ZZZZ-001")


def test_files_of_checks_in_two_parts_come_last() -> None:
    """Catches: a file that holds other checks too, so that the run waits for idle connections."""
    files = [catalogue.checks_in(file) for file in catalogue.files()]
    files.sort(key=lambda checks: rank_of_file(check.id for check in checks))
    in_two_parts = [check.in_two_parts for checks in files for check in checks]
    assert in_two_parts == sorted(in_two_parts)

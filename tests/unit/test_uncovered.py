"""What a run says about IPv6 that an implementation leaves out."""

from __future__ import annotations

import pytest

from pytest_fsmredir.model.outcomes import Outcome, Row
from pytest_fsmredir.report.uncovered import uncovered_ipv6
from tests.unit.runs import V4, V6

PASS, FAIL, WARN = Outcome.PASS, Outcome.FAIL, Outcome.WARN


def told(v6: dict[str, Outcome], v4: Outcome = PASS) -> str:
    rows = [Row(check=check, variant=V4, outcome=v4) for check in ("OUT-001", "IN-001")]
    rows += [Row(check=check, variant=V6, outcome=outcome) for check, outcome in v6.items()]
    return uncovered_ipv6(rows).partition(". ")[0]


@pytest.mark.parametrize(
    ("leaks", "words"),
    [
        (WARN, "bypasses the sidecar"),
        (PASS, "is blocked"),
        (Outcome.NOT_RUN, "is not captured"),
    ],
)
def test_words_tell_a_leak_from_a_block(leaks: Outcome, words: str) -> None:
    """Catches: "bypasses the sidecar" of an implementation that rejects all TCP over IPv6."""
    seen = {"OUT-001": FAIL, "IN-001": FAIL, "V6-001": leaks, "V6-002": leaks}
    wanted = f"IPv6 is not covered: TCP over IPv6 {words} in both directions (OUT-001, IN-001)"
    assert told(seen) == wanted


def test_each_direction_has_its_own_words() -> None:
    """Catches: one word for two fates."""
    seen = {"OUT-001": FAIL, "IN-001": FAIL, "V6-001": PASS, "V6-002": WARN}
    wanted = "outbound TCP over IPv6 is blocked and inbound TCP over IPv6 bypasses the sidecar"
    assert told(seen) == f"IPv6 is not covered: {wanted} (OUT-001, IN-001)"


def test_one_direction_is_enough_for_a_hint() -> None:
    """Catches: no way out for an implementation that covers one direction of IPv6."""
    seen = {"OUT-001": FAIL, "IN-001": PASS, "V6-001": PASS}
    wanted = "IPv6 is covered in part: outbound TCP over IPv6 is blocked (OUT-001)"
    assert told(seen) == wanted


@pytest.mark.parametrize(
    ("v4", "v6"),
    [(PASS, {"OUT-001": PASS, "IN-001": PASS}), (PASS, {}), (FAIL, {"OUT-001": FAIL})],
)
def test_other_runs_get_no_hint(v4: Outcome, v6: dict[str, Outcome]) -> None:
    """Catches: a hint about IPv6 for a fault of both IP versions."""
    assert told(v6, v4) == ""

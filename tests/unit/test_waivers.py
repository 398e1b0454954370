"""Waivers: their content, their expiry, and waivers that are not needed."""

from __future__ import annotations

from datetime import date

import pytest

from pytest_fsmredir.config.waivers import Waiver, read_waivers, reject_unusable, stale
from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.model.checks import Level
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.model.withdrawn import WITHDRAWN, Withdrawn, reject_withdrawn
from pytest_fsmredir.suite import catalogue

TODAY = date(2026, 11, 23)
LINK = "https://example.com/issues/1"
GOOD = {"id": "OUT-001", "reason": "known", "link": LINK}
WAIVER = Waiver(id="OUT-001", reason="known", link=LINK)


def outcome(value: Outcome, family: int = 4) -> Row:
    return Row(check="OUT-001", variant=Variant("netns", "nft", family), outcome=value)


def test_waiver_is_read() -> None:
    """Catches: an expiry that is ignored."""
    (read,) = read_waivers([{**GOOD, "expires": "2026-12-31"}], "w.yaml")
    assert read == Waiver(id="OUT-001", reason="known", link=LINK, expires=date(2026, 12, 31))
    assert read.as_dict()["expires"] == "2026-12-31"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("OUT-001", "must be a list"),
        (["OUT-001"], "must be a mapping with id"),
        ([{**GOOD, "reasn": "x"}], "did you mean 'reason'"),
        ([{"reason": "x", "link": LINK}], "has no id"),
        ([{**GOOD, "reason": " "}], r"\(OUT-001\) has no reason"),
        ([{"id": "OUT-001", "reason": "x"}], "has no link"),
        ([{**GOOD, "link": "issue 4"}], "has no link"),
        ([{**GOOD, "expires": "soon"}], "'soon' must be a date"),
        ([{**GOOD, "reason": ["a"]}], r"\['a'\] must be a string"),
        ([GOOD, GOOD], "OUT-001 is waived twice"),
    ],
)
def test_malformed_waiver_is_refused(document: object, message: str) -> None:
    """Catches: a waiver without effect, or with a field that is never read."""
    with pytest.raises(SettingsError, match=f"w.yaml.*{message}"):
        read_waivers(document, "w.yaml")


def test_waiver_holds_on_its_last_day() -> None:
    """Catches: a waiver that ends a day early."""
    last = Waiver(id="OUT-001", reason="known", link=LINK, expires=TODAY)
    reject_unusable([last], catalogue.load(), TODAY)


@pytest.mark.parametrize(
    ("waiver", "message"),
    [
        (Waiver(id="OUT-01", reason="r", link=LINK), "no such check; did you mean 'OUT-0"),
        (Waiver(id="OUT-*", reason="r", link=LINK), "no such check"),
        (
            Waiver(id="OUT-001", reason="r", link=LINK, expires=date(2026, 11, 22)),
            "OUT-001 expired on 2026-11-22",
        ),
    ],
)
def test_unknown_or_expired_waiver_is_refused(waiver: Waiver, message: str) -> None:
    """Catches: an unknown or expired waiver that goes unnoticed."""
    with pytest.raises(SettingsError, match=message):
        reject_unusable([waiver], catalogue.load(), TODAY)


def test_check_that_cannot_fail_cannot_be_waived() -> None:
    """Catches: a waiver that is never used and never stale."""
    checks = catalogue.load()
    info = next(check.id for check in checks.checks if check.level is Level.INFO)
    with pytest.raises(SettingsError, match="never fails"):
        reject_unusable([Waiver(id=info, reason="r", link=LINK)], checks, TODAY)


@pytest.mark.parametrize(
    ("outcomes", "is_stale"),
    [
        ([Outcome.PASS, Outcome.PASS], True),
        ([Outcome.PASS, Outcome.UNSUPPORTED], True),
        ([Outcome.WAIVED, Outcome.PASS], False),
        ([Outcome.WARN, Outcome.PASS], False),
        ([Outcome.ERROR, Outcome.PASS], False),
        ([Outcome.UNSUPPORTED, Outcome.NOT_RUN], False),
        ([], False),
    ],
)
def test_waiver_is_stale_when_its_check_passes_wherever_it_ran(
    outcomes: list[Outcome], is_stale: bool
) -> None:
    """Catches: a waiver that stays after the defect is fixed."""
    rows = [outcome(value, family) for value, family in zip(outcomes, (4, 6), strict=False)]
    assert stale([WAIVER], rows) == ([WAIVER] if is_stale else [])


def test_withdrawn_check_differs_from_an_unknown_one() -> None:
    """Catches: a message that says that a withdrawn id never existed."""
    gone = Withdrawn("OUT-099", "0.4", "the seed does not say so")
    with pytest.raises(SettingsError, match=r"OUT-099 was withdrawn in 0\.4: the seed does not"):
        reject_withdrawn("--fsm-check", "OUT-099", [gone])
    reject_withdrawn("--fsm-check", "OUT-001", [gone])


def test_withdrawn_id_is_not_reused() -> None:
    """Catches: a new check with the id of an old one, which changes the meaning of old reports."""
    ids = [each.id for each in WITHDRAWN]
    assert len(set(ids)) == len(ids)
    assert not [each for each in ids if each in catalogue.load()]

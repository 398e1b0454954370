"""Reading the rules of a pod before the search."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_fsmredir.probing.listing import read_rules, without_counters

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTIAL = "local 10.0.0.1 dev eth0 table local"
WHOLE = f"{PARTIAL}\nlocal fd00::1 dev eth0 table local"


class Listings:
    """Programs that print one listing after another."""

    def __init__(self, listings: Sequence[str]) -> None:
        self.left = list(listings)

    def run(self, _pod: object, _argv: Sequence[str]) -> SimpleNamespace:
        return SimpleNamespace(status=0, stdout=self.left.pop(0), stderr="")


@pytest.mark.parametrize(
    ("printed", "read", "left"),
    [
        ((WHOLE, "later"), WHOLE, 1),
        ((PARTIAL, WHOLE, "later"), WHOLE, 1),
        ((PARTIAL, PARTIAL, PARTIAL, "later"), PARTIAL, 1),
    ],
)
def test_interrupted_listing_is_read_again(printed: tuple[str, ...], read: str, left: int) -> None:
    """Catches: a pod that counts as one without IPv6, because its routes were just changing."""
    programs = Listings(printed)
    pod = SimpleNamespace(addresses=("10.0.0.1", "fd00::1"))
    found = read_rules(cast("Any", programs), cast("Any", pod))
    assert (found, len(programs.left)) == ((read, ""), left)


def test_only_counters_are_left_out() -> None:
    """Catches: an address in brackets whose last digits count as a counter."""
    rule = "[{}] -A IN -j DNAT --to-destination [fd77:1::24]:15003"
    assert without_counters(rule.format("12:3456")) == rule.format("0:0")
    assert without_counters('{"packets": 12, "bytes": 34}') == '{"packets": 0, "bytes": 0}'

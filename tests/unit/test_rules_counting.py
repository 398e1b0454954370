"""How many flows cross a condition that counts them."""

from __future__ import annotations

import pytest

from pytest_fsmredir.rules.counting import flows_to_cross


@pytest.mark.parametrize(
    ("condition", "flows"),
    [
        ("-m limit --limit 1/hour --limit-burst 30", 31),
        ("-m limit --limit 1/hour", 6),
        ("limit rate 400 per minute burst 7", 8),
        ("-m quota --quota 6000", 101),
        ("quota val 25 val_unit kbytes used 0", 427),
        ("-m statistic --mode nth --every 40 --packet 0", 41),
        ("numgen mode inc mod 10 offset 0 0", 11),
        ("-m statistic --mode random --probability 0.5", 42),
        ("-m recent --rcheck --seconds 60 --hitcount 20 --name x", 21),
        ("-m connlimit --connlimit-above 15 --connlimit-mask 32", 16),
        ("ct count val 20 inv True", 21),
        ("-m time --timestart 01:00:00", None),
        ("-m bpf --object-pinned x", None),
    ],
)
def test_condition_says_how_many_flows_cross_it(condition: str, flows: int | None) -> None:
    """Catches: a search that ends before a rate limit begins to act."""
    assert flows_to_cross(condition) == flows

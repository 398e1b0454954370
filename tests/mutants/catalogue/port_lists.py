"""Mistakes with a list of ports before it becomes rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pytest_fsmredir.model.policy import ListName
from tests.mutants.policies import (
    Listed,
    PolicyChange,
    at_most,
    ignored,
    items,
    with_gaps_of_one,
    without_first,
    without_followers,
    without_insides,
    without_last,
    without_last_full_slot,
    without_last_of_slots,
    without_middle,
    without_sixteenth,
    without_slot_of_one,
)

Mistake = tuple[str, str, str, PolicyChange]
"""Name, what, source, change."""


def in_list(listed: ListName) -> Iterator[Mistake]:
    """Yield the mistakes."""
    yield from _in_places(listed)
    yield from _in_numbers(listed)


def _in_places(listed: ListName) -> Iterator[Mistake]:
    """Yield (name, what, source, change) of mistakes with positions in the list."""

    def edit(change: Callable[[Listed], Listed]) -> PolicyChange:
        return items(listed, change)

    yield "ignored", "the list is ignored", "B09: istio/istio 38415", ignored(listed)
    yield "first-lost", "the first port is lost", "B01", edit(without_first)
    yield "last-lost", "the last port is lost", "B01", edit(without_last)
    yield "only-first", "only the first port counts", "B09: istio/istio 30280", edit(at_most(1))
    yield "cut-at-15", "ports from the 16th on are lost", "B01, F01", edit(at_most(15))
    yield "cut-at-16", "ports from the 17th on are lost", "B01: off by one", edit(at_most(16))
    yield "cut-at-30", "ports from the 31st on are lost", "B01: two matches", edit(at_most(30))
    yield "cut-at-64", "ports from the 65th on are lost", "B02: a fixed buffer", edit(at_most(64))
    yield (
        "cut-at-101",
        "ports from the 102nd on are lost",
        "B02: a fixed buffer",
        edit(at_most(101)),
    )
    yield "sixteenth-lost", "the 16th port is lost", "B03: slots of 15", edit(without_sixteenth)
    yield "middle-lost", "the port in the middle is lost", "B01", edit(without_middle)
    yield (
        "last-of-slots-lost",
        "the last port of each full match is lost",
        "B03: slots of 15",
        edit(without_last_of_slots),
    )
    yield (
        "slot-of-one-lost",
        "the 16th of 16 ports is lost, the 31st of 31",
        "B03: slots of 15",
        edit(without_slot_of_one),
    )
    yield (
        "last-full-slot-lost",
        "the last 15 ports of 30, 45, 60 are lost",
        "B03: slots of 15",
        edit(without_last_full_slot),
    )
    yield (
        "last-of-even-lists-lost",
        "ports are read in pairs",
        "B03",
        edit(lambda p: p[: len(p) // 2 * 2]),
    )


def _in_numbers(listed: ListName) -> Iterator[Mistake]:
    """Yield (name, what, source, change) of mistakes with port numbers."""

    def edit(change: Callable[[Listed], Listed]) -> PolicyChange:
        return items(listed, change)

    yield (
        "one-up",
        "each port is off by one, upwards",
        "off by one",
        edit(lambda p: tuple(min(port + 1, 65535) for port in p)),
    )
    yield (
        "one-down",
        "each port is off by one, downwards",
        "off by one",
        edit(lambda p: tuple(max(port - 1, 1) for port in p)),
    )
    yield (
        "inside-of-runs-lost",
        "only the first and the last of consecutive ports have an effect",
        "B03: a run turned into its ends",
        edit(without_insides),
    )
    yield (
        "followers-lost",
        "only the first of consecutive ports has an effect",
        "B03: a run turned into its start",
        edit(without_followers),
    )
    yield (
        "gaps-of-one-filled",
        "a port between two listed ports counts as listed",
        "B03: linkerd/linkerd2-proxy-init PR 7; runs joined over a gap",
        edit(with_gaps_of_one),
    )
    yield (
        "above-32767-lost",
        "ports above 32767 are lost",
        "F02: a port as a signed 16-bit number",
        edit(lambda p: tuple(port for port in p if port < 32768)),
    )
    yield (
        "65535-lost",
        "port 65535 is lost",
        "F02: an off-by-one at the upper limit",
        edit(lambda p: tuple(port for port in p if port < 65535)),
    )
    yield (
        "port-1-lost",
        "port 1 is lost",
        "F02: an off-by-one at the lower limit",
        edit(lambda p: tuple(port for port in p if port > 1)),
    )

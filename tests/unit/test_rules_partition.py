"""Ranges in place of numbers: their indexes, and requests that they cannot answer."""

from __future__ import annotations

import pytest

from pytest_fsmredir.rules.errors import UndividedError
from pytest_fsmredir.rules.forms import Field
from pytest_fsmredir.rules.partition import Partition, partitions
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.reading import read_text
from pytest_fsmredir.rules.space import LOOPBACK, Space

WIDTHS = {field: 16 for field in Field}


def test_numbers_between_two_cuts_share_an_index() -> None:
    """Catches: a range that begins or ends one number off."""
    part = Partition([(10, 19), (15, 30)], 8)

    assert [part.index(n) for n in (0, 9, 10, 14, 15, 19, 20, 30, 31, 255)] == [
        0, 0, 1, 1, 2, 2, 3, 3, 4, 4,
    ]  # fmt: skip
    assert [part.lowest(n) for n in range(5)] == [0, 10, 15, 20, 31]


def test_indexes_past_the_last_range_mean_the_last_one() -> None:
    """Catches: bits that stand for no number, which would be packets that do not exist."""
    part = Partition([(10, 19), (30, 30)], 8)

    assert part.width == 3
    assert part.indexes(((31, 255),)) == ((4, 7),)
    assert part.lowest(7) == 31


def test_numbers_wider_than_the_field_are_left_out() -> None:
    """Catches: an address of IPv6 that is asked about in IPv4."""
    part = Partition([(5, 5), (1 << 40, 1 << 41)], 8)

    assert part.indexes(((5, 5), (1 << 40, 1 << 41))) == ((1, 1),)


def test_whole_field_is_one_range() -> None:
    """Catches: a field of no bits."""
    part = Partition([], 8)

    assert (part.width, part.indexes(((0, 255),))) == (1, ((0, 1),))


@pytest.mark.parametrize("asked", [(11, 19), (10, 18), (0, 5), (12, 12)])
def test_part_of_a_range_is_refused(asked: tuple[int, int]) -> None:
    """Catches: a silent answer about more numbers than were asked about."""
    with pytest.raises(UndividedError, match=f"from {asked[0]} to {asked[1]}"):
        Partition([(10, 19)], 8).indexes((asked,))


def test_number_that_is_alone_in_its_range() -> None:
    """Catches: a destination of NAT that counts as equal to another address."""
    part = Partition([(10, 10), (20, 29), (255, 255)], 8)

    assert [n for n in (0, 10, 20, 29, 255) if part.is_alone(n)] == [10, 255]


@pytest.mark.parametrize(
    "rule",
    [
        "-A OUTPUT -p tcp -m mark --mark 0x1/0x1 -j ACCEPT",
        "-A OUTPUT -p tcp -m tos --tos 0x10/0x3f -j ACCEPT",
        "-A OUTPUT -p tcp -j TTL --ttl-set 7",
    ],
)
def test_fields_whose_bits_are_compared_or_written_keep_them(rule: str) -> None:
    """Catches: a mask or a write that is applied to the index of a range."""
    rules = read_text(f"*mangle\n:OUTPUT ACCEPT [0:0]\n{rule}\nCOMMIT\n")
    routing = Surroundings().routing(rules, 4)

    divided = partitions(rules, routing, [], {**WIDTHS, Field.DESTINATION: 32})

    assert not {Field.MARK, Field.TOS} & divided.keys()
    assert (Field.TTL in divided) is ("TTL" not in rule)


def test_range_that_holds_other_numbers_is_no_new_value() -> None:
    """Catches: NAT to an address that cannot be told from the old one."""
    part = Partition([(10, 19)], 32)
    space = Space(4, ("lo", "eth0"), (LOOPBACK[4],), partitions={Field.DESTINATION: part})

    with pytest.raises(UndividedError, match="number 12 "):
        space.changed(Field.DESTINATION, 12)

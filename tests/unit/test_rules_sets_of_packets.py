"""The set algebra of the proofs, compared with plain enumeration."""

from __future__ import annotations

import random

import pytest

from pytest_fsmredir.rules.bdd import ALL, NONE, Bdd, Intervals, contains, joined, outside
from pytest_fsmredir.rules.errors import TooComplexError

WIDTH = 6


def numbers(bdd: Bdd, of: int) -> set[int]:
    """Return the numbers in a set over the first variables."""
    every = range(1 << WIDTH)
    return {
        n for n in every if bdd.holds(of, [bool(n >> (WIDTH - 1 - i) & 1) for i in range(WIDTH)])
    }


def drawn(chance: random.Random) -> Intervals:
    spans = [sorted(chance.choices(range(1 << WIDTH), k=2)) for _ in range(chance.randrange(4))]
    return joined((low, high) for low, high in spans)


@pytest.mark.parametrize("seed", range(30))
def test_algebra_agrees_with_enumeration(seed: int) -> None:
    """Catches: an operation that is wrong for some sets."""
    chance, bdd = random.Random(seed), Bdd()  # noqa: S311 - a seeded draw
    bits = [bdd.variable(i) for i in range(WIDTH)]
    a, b, c = (drawn(chance) for _ in range(3))
    x, y, z = (bdd.within(bits, spans) for spans in (a, b, c))
    in_x, in_y, in_z = ({n for n in range(1 << WIDTH) if contains(spans, n)} for spans in (a, b, c))
    assert numbers(bdd, x) == in_x
    assert numbers(bdd, bdd.both(x, y)) == in_x & in_y
    assert numbers(bdd, bdd.either(x, y)) == in_x | in_y
    assert numbers(bdd, bdd.minus(x, y)) == in_x - in_y
    assert numbers(bdd, bdd.choose(x, y, z)) == (in_x & in_y) | (in_z - in_x)
    assert bdd.within(bits, outside(a, WIDTH)) == bdd.opposite(x)


def test_equal_sets_have_the_same_node() -> None:
    """Catches: an empty set that is not recognized as empty."""
    bdd = Bdd()
    bits = [bdd.variable(i) for i in range(WIDTH)]
    half = bdd.within(bits, ((0, 31),))
    assert bdd.either(half, bdd.within(bits, ((32, 63),))) == ALL
    assert bdd.both(half, bdd.within(bits, ((32, 63),))) == NONE


def test_a_masked_number_is_a_set() -> None:
    """Catches: a constant bit that is read as a variable."""
    bdd = Bdd()
    bits = [bdd.variable(i) if i == WIDTH - 1 else NONE for i in range(WIDTH)]
    assert numbers(bdd, bdd.within(bits, ((1, 1),))) == {n for n in range(64) if n & 1}


def test_quantified_variable_is_gone() -> None:
    """Catches: a doubt that is dropped, or that stays although both answers agree."""
    bdd = Bdd()
    free, bit = bdd.variable(0), bdd.variable(1)
    assert bdd.either_way(bdd.both(free, bit), [0]) == bit
    assert bdd.either_way(bdd.choose(free, bit, bdd.opposite(bit)), [0]) == ALL


def test_store_has_a_limit() -> None:
    """Catches: rules that exhaust the memory."""
    bdd = Bdd(node_limit=50)
    bits = [bdd.variable(i) for i in range(20)]
    with pytest.raises(TooComplexError):
        bdd.within(bits, tuple((n, n) for n in range(0, 4000, 7)))

"""Follow NAT chains in every order in which the kernel may call them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain as concatenated
from itertools import groupby, permutations, product
from typing import Final

from pytest_fsmredir.rules.bdd import ALL
from pytest_fsmredir.rules.errors import TooComplexError
from pytest_fsmredir.rules.forms import Chain, Hook, Unknown
from pytest_fsmredir.rules.space import Space

_ALIKE_LIMIT: Final = 3
"""Limit of NAT chains of one hook and one priority, whose every order is followed."""


class Orders:
    """The orders of the NAT chains of a rule set.

    The kernel calls chains of one priority by when they were registered, and no listing shows
    that (linux/net/netfilter/core.c, nf_hook_entries_grow).
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._unknown: dict[tuple[Hook, int], Unknown] = {}

    def of(self, hook: Hook, chains: Sequence[Chain]) -> Iterator[tuple[int, tuple[Chain, ...]]]:
        """Yield every possible order of some chains, and the packets for which it is in force.

        Args:
            hook: Their hook.
            chains: By priority. Those without an effect are left out.

        Raises:
            TooComplexError: There are too many orders.
        """
        acting = [chain for chain in chains if chain.rules or not chain.accepts]
        alike = [tuple(group) for _, group in groupby(acting, key=lambda chain: chain.priority)]
        if any(len(group) > _ALIKE_LIMIT for group in alike):
            raise TooComplexError(
                f"more than {_ALIKE_LIMIT} nat chains at {hook} have one priority"
            )
        every = [
            tuple(concatenated.from_iterable(groups))
            for groups in product(*map(permutations, alike))
        ]
        left = ALL
        for number, order in enumerate(every[:-1]):
            some = self._space.bdd.both(left, self._held(hook, number, order))
            left = self._space.bdd.minus(left, some)
            yield some, order
        yield left, every[-1]

    def _held(self, hook: Hook, number: int, order: Sequence[Chain]) -> int:
        """Return the variable of one order: it holds or not, as for a test not understood."""
        first = f"{order[0].origin} {order[0].table}"
        what = f"which chain comes first at {hook}, such as that of {first}: the priority is equal"
        test = self._unknown.setdefault((hook, number), Unknown(what))
        return self._space.holds(test, {})

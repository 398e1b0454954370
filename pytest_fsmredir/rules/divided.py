"""Represent the packets of a pod by as few bits as its rules and questions need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytest_fsmredir.model.reserved import INBOUND_PORT, OUTBOUND_PORT
from pytest_fsmredir.rules.bdd import joined
from pytest_fsmredir.rules.forms import Field
from pytest_fsmredir.rules.nft_values import WIDTHS
from pytest_fsmredir.rules.packet import domain_spans, unseen
from pytest_fsmredir.rules.partition import Spans, partitions
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.ruleset import Routing, RuleSet
from pytest_fsmredir.rules.space import BROAD, LOOPBACK, MULTICAST, Space


def divided_space(
    rules: RuleSet,
    family: int,
    surroundings: Surroundings,
    interfaces: Sequence[str],
    asked: Iterable[Spans] = (),
) -> Space:
    """Return the packets of a pod; the numbers of most fields are divided into ranges.

    Args:
        rules: The rules that packets pass.
        family: IP version.
        surroundings: The pod.
        interfaces: The names of its interfaces.
        asked: What is asked about packets besides what the rules and the kernel ask.
    """
    width = 32 if family == 4 else 128
    routing = surroundings.routing(rules, family)
    numbers = [*domain_spans(family, surroundings), *_kernel(family, surroundings, routing)]
    return Space(
        family,
        interfaces,
        surroundings.local(family),
        unseen(rules),
        partitions(
            rules,
            routing,
            [*numbers, *asked],
            {**WIDTHS, Field.DESTINATION: width, Field.SOURCE: width},
        ),
    )


def _kernel(family: int, surroundings: Surroundings, routing: Routing) -> Iterator[Spans]:
    """Yield what the kernel asks about packets, and where REDIRECT leads them."""
    first = LOOPBACK[family][0] | 1
    spans = [LOOPBACK[family], (first, first), MULTICAST[family], BROAD[family]]
    spans += [(a, a) for owned in surroundings.own(family).values() for a in owned]
    spans += [*surroundings.local(family), *surroundings.unusual(routing, family)]
    spans += [(2**32 - 1, 2**32 - 1)]
    yield Field.DESTINATION, tuple(spans)
    yield Field.PORT, joined((port, port) for port in (OUTBOUND_PORT, INBOUND_PORT))

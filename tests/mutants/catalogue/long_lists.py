"""Long lists that are truncated, or that lose items between two batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pytest_fsmredir.model.policy import ListName
from tests.mutants.mutant import Mutant
from tests.mutants.policies import Listed, at_most, items

_SOURCE = "B64"
_LISTS = {
    "outbound-ports": ListName.OUTBOUND_PORT_EXCLUSION,
    "inbound-ports": ListName.INBOUND_PORT_EXCLUSION,
    "excluded-ranges": ListName.OUTBOUND_IP_RANGE_EXCLUSION,
    "included-ranges": ListName.OUTBOUND_IP_RANGE_INCLUSION,
}
_LIMITS = (300, 512, 1000, 1024, 2048, 4096)


def _last(count: int) -> Callable[[Listed], Listed]:
    """Keep only the last items, up to a number."""
    return lambda listed: listed[-count:]


def _each_version(edit: Callable[[Listed], Listed]) -> Callable[[Listed], Listed]:
    """Edit the ranges of each IP version separately."""

    def change(listed: Listed) -> Listed:
        parts = ([each for each in listed if each.version == version] for version in (4, 6))
        return tuple(each for part in parts for each in edit(tuple(part)))

    return change


def _without_thousandth(listed: Listed) -> Listed:
    """Drop the item between two batches of 999 items."""
    return tuple(item for place, item in enumerate(listed) if place % 1000 != 999)


def _wrapped(listed: Listed) -> Listed:
    """Keep only the items that an index of eight bits counts, if the list is longer."""
    return listed if len(listed) < 512 else listed[: len(listed) % 256]


def _mutant(name: str, what: str, listed: ListName, edit: Callable[[Listed], Listed]) -> Mutant:
    return Mutant(name=name, what=what, source=_SOURCE, policy=items(listed, edit))


def _mutants() -> Iterator[Mutant]:
    for name, listed in _LISTS.items():
        words = name.replace("-", " ")
        for limit in _LIMITS:
            what = f"{words}: what goes beyond {limit} items is lost"
            yield _mutant(f"{name}-cut-at-{limit}", what, listed, at_most(limit))
        what = f"{words}: what comes before the last 4096 items is lost"
        yield _mutant(f"{name}-last-4096-kept", what, listed, _last(4096))
        what = f"{words}: each thousandth item is lost"
        yield _mutant(f"{name}-thousandths-lost", what, listed, _without_thousandth)
        what = f"{words}: the number of items is kept in eight bits"
        yield _mutant(f"{name}-counted-in-a-byte", what, listed, _wrapped)
    for name in ("excluded-ranges", "included-ranges"):
        for limit in (512, 4096):
            what = f"{name.replace('-', ' ')}: of each version, {limit} are honoured"
            edit = _each_version(at_most(limit))
            yield _mutant(f"{name}-of-a-version-cut-at-{limit}", what, _LISTS[name], edit)


MUTANTS = tuple(_mutants())

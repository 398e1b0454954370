"""Lists that are not read as sets: duplicates, order, neighbours, the other direction's list."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from itertools import pairwise
from typing import Any

from pytest_fsmredir.model.configuration import Configuration, parse_ip_range
from pytest_fsmredir.model.policy import ListName, Network, Policy
from tests.mutants.mutant import Mutant
from tests.mutants.policies import Listed, PolicyChange, items
from tests.mutants.reader import Reader

_SOURCE = "B65"
_OUT, _IN = ListName.OUTBOUND_PORT_EXCLUSION, ListName.INBOUND_PORT_EXCLUSION
_EXCLUDED = ListName.OUTBOUND_IP_RANGE_EXCLUSION
_INCLUDED = ListName.OUTBOUND_IP_RANGE_INCLUSION
_PORTS, _RANGES = (_OUT, _IN), (_EXCLUDED, _INCLUDED)
_WORDS = {_OUT: "outbound", _IN: "inbound", _EXCLUDED: "excluded", _INCLUDED: "included"}

Kept = Callable[[int, int], bool]
"""Whether an item is kept that the annotation and the MeshConfig name so many times."""


def _counting(listed: ListName, kept: Kept) -> Reader:
    """Read one list depending on how often each scope names an item."""

    def lists(configuration: Configuration) -> dict[ListName, tuple[str, ...]]:
        own = [
            item.strip()
            for item in configuration.annotations.get(listed.annotation or "", "").split(",")
        ]
        mesh = [str(item) for item in configuration.traffic.get(listed.mesh_config_key, ())]
        found = configuration.effective()
        found[listed] = tuple(
            item for item in found[listed] if kept(own.count(item), mesh.count(item))
        )
        return found

    return Reader(lists=lists)


_DOUBLES: tuple[tuple[str, str, Kept], ...] = (
    ("double-cancels", "is lost where its annotation names it twice", lambda own, _: own != 2),
    ("mesh-double-cancels", "is lost where the MeshConfig names it twice", lambda _, m: m != 2),
    ("once-each-cancels", "is lost where each scope names it once", lambda o, m: (o, m) != (1, 1)),
    ("even-cancels", "is lost where it is named evenly often", lambda o, m: (o + m) % 2 == 1),
    ("triple-lost", "is lost where one scope names it three times", lambda o, m: 3 not in (o, m)),
)  # fmt: skip


def _doubled(listed: ListName) -> Iterator[Mutant]:
    for name, what, kept in _DOUBLES:
        yield Mutant(
            name=f"{listed.value.removesuffix('_list').replace('_', '-')}-{name}",
            what=f"an item of {listed.value} {what}",
            source=_SOURCE,
            read=_counting(listed, kept),
        )


def _ascending(listed: Listed) -> Listed:
    """Return the items that are greater than all items before them, like a broken sorted search."""
    found: list[Any] = []
    for item in listed:
        if not found or item > found[-1]:
            found.append(item)
    return tuple(found)


def _ascending_by_version(ranges: Listed) -> Listed:
    return tuple(
        network
        for version in (4, 6)
        for network in _ascending(tuple(each for each in ranges if each.version == version))
    )


def _merged_pairs(ports: Listed) -> Listed:
    """Return the ports, and the ports between two neighbouring items that differ by two."""
    between = (min(pair) + 1 for pair in pairwise(ports) if abs(pair[0] - pair[1]) == 2)
    return (*ports, *between)


def _merged_close(ports: Listed) -> Listed:
    """Return the ports of a short list, and the ports between two that differ by two."""
    if len(ports) > 12:
        return ports
    return (*ports, *(port + 1 for port in ports if port + 2 in ports))


def _without_neighbours(ports: Listed) -> Listed:
    """Return the ports of a short list whose lower neighbour is not listed."""
    return tuple(port for port in ports if len(ports) > 12 or port - 1 not in ports)


def _addresses_merged(ranges: Listed) -> Listed:
    """Return the ranges, and the two addresses of one prefix for each two neighbours.

    The prefix holds another address where the first neighbour is odd.
    """
    single = {each for each in ranges if each.prefixlen == each.max_prefixlen}
    firsts = (each for each in single if any(each[0] + 1 == other[0] for other in single))
    return (*ranges, *sorted(each.supernet() for each in firsts))


def _each(
    lists: Sequence[ListName], name: str, what: str, edit: Callable[[Listed], Listed]
) -> Iterator[Mutant]:
    """Yield a mutant for each list; its word stands in the name and in the description."""
    for listed in lists:
        word = _WORDS[listed]
        yield Mutant(
            name=name.format(word),
            what=what.format(word),
            source=_SOURCE,
            policy=items(listed, edit),
        )


def _lost_if_in_both() -> Iterator[Mutant]:
    for listed, other in (_PORTS, _PORTS[::-1]):
        yield Mutant(
            name=f"{_WORDS[listed]}-port-of-both-directions-lost",
            what=f"a port that the {_WORDS[other]} list names as well is not exempt"
            f" {_WORDS[listed]}",
            source=_SOURCE,
            policy=_lost_if_in(listed, other),
        )


def _lost_if_in(listed: ListName, other: ListName) -> PolicyChange:
    def change(policy: Policy) -> Policy:
        named = getattr(policy, other.value)
        lose = items(listed, lambda ports: tuple(port for port in ports if port not in named))
        return lose(policy)

    return change


def _usual_form(text: str) -> Sequence[Network]:
    """Drop IPv6 ranges that are not written as in RFC 5952."""
    network = parse_ip_range(text)
    address = text.partition("/")[0]
    return [network] if address == str(ip_address(address)) else []


def _whole(text: str) -> Sequence[Network]:
    """Drop IPv6 ranges without an abbreviation."""
    network = parse_ip_range(text)
    return [] if text.count(":") == 7 and "::" not in text else [network]


MUTANTS = (
    *(mutant for listed in (*_PORTS, *_RANGES) for mutant in _doubled(listed)),
    *_each(_PORTS, "{}-ports-ascending-only",
           "{} port exclusion: a port that follows a greater one is lost", _ascending),
    *_each(_PORTS, "{}-ports-two-apart-merged",
           "{} port exclusion: two ports side by side take in the one between", _merged_pairs),
    *_each(_PORTS, "{}-ports-close-ones-merged",
           "{} port exclusion: in a short list the port between two counts", _merged_close),
    *_each(_PORTS, "{}-ports-short-followers-lost",
           "{} port exclusion: in a short list neighbours are lost", _without_neighbours),
    *_lost_if_in_both(),
    *_each(_RANGES, "{}-ranges-ascending-only",
           "an {} range that follows a greater one of its version is lost", _ascending_by_version),
    *_each(_RANGES, "{}-addresses-merged",
           "two {} addresses side by side become a range of two, whatever its alignment",
           _addresses_merged),
    Mutant(
        name="unusual-ipv6-form-skipped",
        what="an IPv6 range that is not written as in RFC 5952 is dropped",
        source=_SOURCE,
        read=Reader(ranges=_usual_form),
    ),
    Mutant(
        name="ipv6-unabbreviated-skipped",
        what="an IPv6 range without an abbreviation is dropped",
        source=_SOURCE,
        read=Reader(ranges=_whole),
    ),
)  # fmt: skip

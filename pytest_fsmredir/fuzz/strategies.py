"""Strategies for configurations: they are always valid, and mostly unusual.

Each value needs only one draw, because draws take most of hypothesis's time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from itertools import product
from typing import TypeVar, overload

from hypothesis import strategies as st

from pytest_fsmredir.model.configuration import IP_RANGE_LISTS, Configuration
from pytest_fsmredir.model.features import ALL_FEATURES, Feature
from pytest_fsmredir.model.policy import ListName
from pytest_fsmredir.probing.aim import SIDECARS_OWN_PORTS, can_be_dialled

SHORT = 3
LONG = (16, 17, 15, 14, 8, 7, 100)
"""Lengths at which lists break: 16 ports are too many for one iptables match; 8 and 8 are 16.

The most informative lengths come first, because shrinking prefers them.
"""

_FEATURES = {name: Feature(name.value.removesuffix("_list").replace("_", "-")) for name in ListName}
_PORTS = (
    1, 2, 53, 80, 443, 1023, 1024, 6379, 7070, 14999, 15000, 15001, 15002, 15003, 15004, 15009,
    15010, 15011, 15900, 15901, 15902, 15903, 15904, 15905, 32768, 60999, 65534, 65535,
)  # fmt: skip
_HIGHEST_PORT = 65535
_INTERFACES = ("eth0", "net1", "eth", "eth1", "eth00", "e", "eth0.4094", "enp129s0f1np142")
_SCOPES = (*3 * [(False, False)], (True, False), (False, True), (True, True))
_SEPARATORS = (",", ", ", " ,")
_KNOWN_ADDRESSES = {
    4: ("2.2.2.2", "1.1.1.1", "10.1.2.3", "10.244.0.10", "172.16.0.1", "192.168.1.1",
        "198.51.100.10", "203.0.113.20", "223.255.255.254"),
    6: ("2001:db8::2", "2001:db8:5::10", "2001:db8:c::20", "2606:4700::1111", "fd00:1::9",
        "fdff:ffff::1"),
}  # fmt: skip
_ANYWHERE = {4: ("1.0.0.0", "223.255.255.255"), 6: ("2000::", "3fff::")}
# Common prefix lengths are drawn more often.
_PREFIXES = {
    4: (32, 24, 32, 24, 24, 16, 16, 8, 31, 30, 25, 23, 17, 15, 9, 1, 0),
    6: (128, 64, 128, 64, 64, 48, 32, 127, 120, 65, 63, 49, 16, 3, 1, 0),
}
_STEPS = (0, 1, -1, 2, 127, 128, 255, 256, -256, 32768, 65536)

_SHAPES = {version: tuple(product(each, _STEPS)) for version, each in _PREFIXES.items()}
"""Each prefix length with each distance to a neighbour, by IP version."""

Place = IPv4Address | IPv6Address

T = TypeVar("T")


@st.composite
def configurations(
    draw: st.DrawFn,
    *,
    families: tuple[int, ...] = (4, 6),
    features: Collection[Feature] = ALL_FEATURES,
) -> Configuration:
    """Return a configuration that is valid in every part.

    It contains no list that the features do not claim. It also contains no inbound exclusions of
    the sidecar's own ports and no empty annotations, because these may be refused.

    Args:
        draw: Draws from a strategy.
        families: IP versions of the ranges; a version that is given twice is drawn twice as often.
        features: The features that the implementation claims.
    """
    lengths = LONG if draw(st.sampled_from((False, False, True))) else ()
    places = draw(st.lists(st.one_of([_places(each) for each in families]), min_size=1, max_size=2))
    near = RangesAt(places)
    ranges = _lists(st.sampled_from(range(len(near))).map(near.__getitem__), near, lengths)
    annotations: dict[str, str] = {}
    traffic: dict[str, Sequence[object]] = {}
    for name in ListName:
        if _FEATURES[name] not in features:
            continue
        values = ranges if name in IP_RANGE_LISTS else _other_lists(name, lengths)
        of_pod, of_mesh = draw(_scopes(values))
        if of_pod and name.annotation is not None:
            annotations[name.annotation] = of_pod
        if of_mesh:
            traffic[name.mesh_config_key] = of_mesh
    return Configuration(annotations, traffic)


class RangesAt(Sequence[str]):
    """CIDR ranges at and near some addresses; they overlap, nest and keep host bits.

    A policy needs a few of these hundreds, so each is made on demand.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        """Take the addresses."""
        self._places = places

    def __len__(self) -> int:
        return sum(len(_SHAPES[place.version]) for place in self._places)

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> list[str]: ...

    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        for place in self._places:
            shapes = _SHAPES[place.version]
            if at < len(shapes):
                prefix, step = shapes[at]
                return f"{place + step}/{prefix}"
            at -= len(shapes)
        raise IndexError


@st.composite
def _scopes(
    draw: st.DrawFn, values: st.SearchStrategy[Sequence[object]]
) -> tuple[str, Sequence[object]]:
    """Return one list as annotation and as MeshConfig value; each may be empty."""
    in_pod, in_mesh = draw(st.sampled_from(_SCOPES))
    separator = draw(st.sampled_from(_SEPARATORS)) if in_pod else ""
    of_pod = separator.join(map(str, draw(values))) if in_pod else ""
    return of_pod, draw(values) if in_mesh else ()


@cache
def _other_lists(name: ListName, lengths: Sequence[int]) -> st.SearchStrategy[Sequence[object]]:
    """Return a strategy for the values of one scope of a list of ports or interfaces."""
    if name is ListName.NETWORK_INTERFACE_EXCLUSION:
        return _lists(st.sampled_from(_INTERFACES), _INTERFACES, ())
    closed = SIDECARS_OWN_PORTS if name is ListName.INBOUND_PORT_EXCLUSION else ()
    return _lists(_ports(closed), range(1, _HIGHEST_PORT + 1), lengths, closed)


def _lists(
    items: st.SearchStrategy[T],
    pool: Sequence[T],
    lengths: Sequence[int],
    closed: Collection[T] = (),
) -> st.SearchStrategy[Sequence[T]]:
    """Return a strategy for short lists, with duplicates, and for lists of given lengths.

    Args:
        items: For single items.
        pool: The source of long lists: consecutive items, which shrink quickly.
        lengths: Lengths of the long lists; empty for short lists only.
        closed: Items to exclude.
    """
    short = st.lists(items, min_size=1, max_size=SHORT)
    if not lengths:
        return short

    def run(count: int, start: int) -> list[T]:
        return [item for item in pool[start : start + count] if item not in closed]

    starts = st.integers(0, len(pool) - max(lengths))
    runs = st.builds(run, st.sampled_from(lengths), starts)
    mixed = st.sampled_from(lengths).flatmap(
        lambda count: st.lists(items, min_size=count, max_size=count, unique=True)
    )
    return st.one_of(short, runs, mixed)


def _ports(closed: Collection[int]) -> st.SearchStrategy[int]:
    """Return a strategy for ports, half of them special ports."""

    def port(number: int) -> int:
        return number if number <= _HIGHEST_PORT else _PORTS[number % len(_PORTS)]

    ports = st.integers(1, 2 * _HIGHEST_PORT).map(port)
    return ports.filter(lambda each: each not in closed) if closed else ports


def _places(family: int) -> st.SearchStrategy[Place]:
    """Return a strategy for addresses of ranges."""
    address: Callable[[int | str], Place] = IPv4Address if family == 4 else IPv6Address
    known = st.sampled_from([address(text) for text in _KNOWN_ADDRESSES[family]])
    low, high = (int(address(text)) for text in _ANYWHERE[family])
    anywhere = st.integers(low, high).map(address)
    return known | anywhere.filter(lambda place: can_be_dialled(str(place)))

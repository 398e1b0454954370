"""Strategies for configurations: valid ones only, and mostly odd ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from hypothesis import strategies as st

from pytest_fsmredir.fuzz.aim import SIDECARS_OWN_PORTS, can_be_dialled
from pytest_fsmredir.spec.configuration import IP_RANGE_LISTS, Configuration
from pytest_fsmredir.spec.features import ALL_FEATURES, Feature
from pytest_fsmredir.spec.policy import ListName

SHORT = 3
LONG = (7, 8, 14, 15, 16, 17, 100)
"""Lengths at which lists break: at 16 ports one iptables match is full, and 8 and 8 are 16."""

_FEATURES = {name: Feature(name.value.removesuffix("_list").replace("_", "-")) for name in ListName}
_PORTS = (1, 2, 53, 80, 443, 1023, 1024, 6379, 7070, 32768, 60999, 65534, 65535)
_BESIDE_RESERVED = (14999, 15000, 15001, 15002, 15003, 15004, 15010, 15900, 15901, 15904, 15905)
_INTERFACES = ("eth0", "net1", "eth", "eth1", "eth00", "e", "eth0.4094", "enp129s0f1np1.42")
_SEPARATORS = (",", ", ", " ,")
_ADDRESSES = {
    4: ("2.2.2.2", "1.1.1.1", "10.1.2.3", "10.244.0.10", "172.16.0.1", "192.168.1.1",
        "198.51.100.10", "203.0.113.20", "223.255.255.254"),
    6: ("2001:db8::2", "2001:db8:5::10", "2001:db8:c::20", "2606:4700::1111", "fd00:1::9",
        "fdff:ffff::1"),
}  # fmt: skip
_PREFIXES = {
    4: (32, 31, 30, 25, 24, 23, 17, 16, 15, 12, 9, 8, 7, 1, 0),
    6: (128, 127, 120, 96, 65, 64, 63, 49, 48, 32, 16, 8, 3, 1, 0),
}
_ANYWHERE = {4: ("1.0.0.0", "223.255.255.255"), 6: ("2000::", "3fff::")}
_STEPS = (0, 1, -1, 2, 127, 128, 255, 256, -256)
_NEAR = 2**17

T = TypeVar("T")
Draw = Callable[["st.SearchStrategy[T]"], T]


@st.composite
def configurations(
    draw: st.DrawFn,
    *,
    families: tuple[int, ...] = (4, 6),
    features: Collection[Feature] = ALL_FEATURES,
) -> Configuration:
    """Return a configuration that is valid in every part.

    A list without a feature that claims it stays away, as do inbound exclusions of the sidecar's
    own ports, which may be refused, and empty annotations, which may be refused as well.

    Args:
        draw: Draws from a strategy.
        families: Of the IP ranges.
        features: What the implementation claims.
    """
    lengths = LONG if draw(st.sampled_from((False, False, True))) else ()
    ranges = ip_ranges(draw(st.lists(anchors(families), min_size=1, max_size=2)))
    annotations: dict[str, str] = {}
    traffic: dict[str, Sequence[object]] = {}
    for name in ListName:
        if _FEATURES[name] not in features:
            continue
        if name is ListName.NETWORK_INTERFACE_EXCLUSION:
            traffic |= draw(_interface_list())
            continue
        items = ranges if name in IP_RANGE_LISTS else ports(name)
        if pod := draw(values(items, lengths)):
            separator = draw(st.sampled_from(_SEPARATORS))
            annotations[str(name.annotation)] = separator.join(map(str, pod))
        if mesh := draw(values(items, lengths)):
            traffic[name.mesh_config_key] = mesh
    return Configuration(annotations, traffic)


def values(items: st.SearchStrategy[T], lengths: Sequence[int]) -> st.SearchStrategy[list[T]]:
    """Return a strategy for short lists, doubles included, and for lists of some lengths."""
    short = st.lists(items, max_size=SHORT)
    if not lengths:
        return short
    return st.one_of(short, st.sampled_from(lengths).flatmap(lambda n: _distinct(items, n)))


def ports(name: ListName) -> st.SearchStrategy[int]:
    """Return a strategy for the ports of a list."""
    every = st.one_of(
        st.integers(1, 65535), st.sampled_from(_PORTS), st.sampled_from(_BESIDE_RESERVED)
    )
    if name is ListName.INBOUND_PORT_EXCLUSION:
        return every.filter(lambda port: port not in SIDECARS_OWN_PORTS)
    return every


def anchors(families: tuple[int, ...]) -> st.SearchStrategy[tuple[int, int]]:
    """Return a strategy for addresses that ranges lie at, as (family, number)."""
    return st.one_of([_anchors(family) for family in families])


def ip_ranges(places: Sequence[tuple[int, int]]) -> st.SearchStrategy[str]:
    """Return a strategy for CIDR ranges near some addresses, so that they overlap and nest.

    Host bits stay as they come.
    """
    return st.one_of([_ranges_at(family, number) for family, number in places])


def _anchors(family: int) -> st.SearchStrategy[tuple[int, int]]:
    address = IPv4Address if family == 4 else IPv6Address
    low, high = _ANYWHERE[family]
    known = st.sampled_from([int(address(text)) for text in _ADDRESSES[family]])
    anywhere = st.integers(int(address(low)), int(address(high)))
    dialled = anywhere.filter(lambda number: can_be_dialled(str(address(number))))
    return st.tuples(st.just(family), st.one_of(known, dialled))


def _ranges_at(family: int, number: int) -> st.SearchStrategy[str]:
    address = IPv4Address if family == 4 else IPv6Address

    def written(step: int, prefix: int) -> str:
        return f"{address(number + step)}/{prefix}"

    steps = st.one_of(st.sampled_from(_STEPS), st.integers(-_NEAR, _NEAR))
    return st.builds(written, steps, st.sampled_from(_PREFIXES[family]))


def _interface_list() -> st.SearchStrategy[dict[str, Sequence[object]]]:
    key = ListName.NETWORK_INTERFACE_EXCLUSION.mesh_config_key
    names = st.lists(st.sampled_from(_INTERFACES), max_size=2)
    return names.map(lambda chosen: {key: chosen} if chosen else {})


def _distinct(items: st.SearchStrategy[T], count: int) -> st.SearchStrategy[list[T]]:
    return st.lists(items, min_size=count, max_size=count, unique=True)

"""Addresses outside a cluster that its nodes answer for, so that checks can dial them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import ip_network

from pytest_fsmredir.backends.needs import Need

_DOCUMENTED = ("10.96.0.0/15", "10.243.0.0/16", "10.244.0.0/15")
"""Examples of FSM's documentation that are also the usual ranges of clusters."""

_NOBODYS = {
    4: (
        "1.1.1.0/24", "2.2.0.0/16",
        "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "16.0.0.0/4", "32.0.0.0/3", "64.0.0.0/3", "96.0.0.0/4", "112.0.0.0/5",
    ),
    6: ("2000::/3",),
}  # fmt: skip
"""Its other examples, addresses that belong to nobody, and enough public ones that a range of
every length fits in. No image can be pulled while the nodes answer for them."""


def free_ranges(taken: Iterable[str], families: Collection[int]) -> tuple[str, ...]:
    """Return the ranges that nodes can answer for in a cluster.

    Args:
        taken: Addresses and ranges that it uses itself.
        families: The IP versions that its pods have.
    """
    own = [ip_network(each) for each in taken]
    wanted = [*_DOCUMENTED, *_NOBODYS[4], *_NOBODYS[6]]
    networks = [each for each in map(ip_network, wanted) if each.version in families]
    return tuple(str(each) for each in networks if not any(each.overlaps(o) for o in own))


def needs_met(ranges: Iterable[str], family: int) -> frozenset[Need]:
    """Return the needs of checks of an IP version that are met where nodes answer for ranges."""
    answered = frozenset(ranges)
    met = {
        Need.REMOTE_ADDRESSES: answered.issuperset(_NOBODYS[family]),
        Need.DEFAULT_CLUSTER_RANGES: answered.issuperset(_DOCUMENTED),
    }
    return frozenset(need for need, is_met in met.items() if is_met)

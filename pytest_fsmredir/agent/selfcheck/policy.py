"""The pod's lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple, Union

Network = Union[IPv4Network, IPv6Network]

PRINTED: dict[str, list[str]] = {}
"""Lists that the command puts into the printed file, by their names in the contract."""

_LISTS = (
    "outbound_ip_range_exclusion_list",
    "outbound_ip_range_inclusion_list",
    "outbound_port_exclusion_list",
    "inbound_port_exclusion_list",
    "network_interface_exclusion_list",
)


class Unseen(Exception):
    """The check cannot see what it has to judge."""


class Policy(NamedTuple):
    """The pod's lists, parsed."""

    excluded: Sequence[Network] = ()
    included: Sequence[Network] = ()
    ports: Sequence[int] = ()
    inbound_ports: Sequence[int] = ()
    interfaces: Sequence[str] = ()

    def captures(self, host: str) -> bool:
        """Whether the lists of ranges leave an address to the sidecar."""
        address = ip_address(host)
        included = not self.included or any(address in each for each in self.included)
        return included and not any(address in each for each in self.excluded)


def read_policy(environment: Mapping[str, str]) -> Policy:
    """Return the lists of the printed file, united with those of the environment.

    Raises:
        Unseen: An item is malformed.
    """
    lists = [_items(name, environment) for name in _LISTS]
    try:
        excluded, included = (
            [ip_network(item, strict=False) for item in each] for each in lists[:2]
        )
        ports, inbound = ([_port(item) for item in each] for each in lists[2:4])
    except ValueError as why:
        raise Unseen(f"the lists cannot be read: {why}") from None
    return Policy(excluded, included, ports, inbound, lists[4])


def _items(name: str, environment: Mapping[str, str]) -> list[str]:
    given = environment.get("FSM_" + name.upper(), "").split(",")
    items = [str(item).strip() for item in (*PRINTED.get(name, ()), *given)]
    return list(dict.fromkeys(filter(None, items)))


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ValueError(f"{text!r} is not a port from 1 to 65535")
    return int(text)

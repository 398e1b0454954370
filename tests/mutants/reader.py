"""How an implementation reads its lists, item by item; a mutant changes one of the steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pytest_fsmredir.errors import AnnotationError
from pytest_fsmredir.model.configuration import (
    IP_RANGE_LISTS,
    PORT_LISTS,
    Configuration,
    parse_interface,
    parse_ip_range,
    parse_port,
)
from pytest_fsmredir.model.policy import ListName, Network, Policy

T = TypeVar("T")

Ports = Callable[[str], Sequence[int]]
Ranges = Callable[[str], Sequence[Network]]


@dataclass(frozen=True)
class Reader:
    """Reads raw lists, item by item; an item yields zero, one or several values."""

    ports: Ports = lambda text: [parse_port(text)]
    ranges: Ranges = lambda text: [parse_ip_range(text)]
    interface: Callable[[str], str] = parse_interface
    lists: Callable[[Configuration], dict[ListName, tuple[str, ...]]] = lambda configuration: (
        configuration.effective()
    )

    def __call__(self, configuration: Configuration, earlier: Sequence[Configuration]) -> Policy:
        """Return the policy."""
        del earlier
        lists = self.lists(configuration)
        try:
            ports = [_flat(self.ports(item) for item in lists[name]) for name in PORT_LISTS]
            ranges = [_flat(self.ranges(item) for item in lists[name]) for name in IP_RANGE_LISTS]
            interfaces = map(self.interface, lists[ListName.NETWORK_INTERFACE_EXCLUSION])
            return Policy(
                outbound_ip_range_exclusion_list=ranges[0],
                outbound_ip_range_inclusion_list=ranges[1],
                outbound_port_exclusion_list=ports[0],
                inbound_port_exclusion_list=ports[1],
                network_interface_exclusion_list=tuple(interfaces),
            )
        except ValueError as why:
            raise AnnotationError(str(why)) from None


def _flat(found: Iterable[Sequence[T]]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(item for items in found for item in items))


def or_none(parse: Callable[[str], T]) -> Callable[[str], Sequence[T]]:
    """Skip items that cannot be parsed."""

    def read(text: str) -> Sequence[T]:
        try:
            return [parse(text)]
        except ValueError:
            return []

    return read


def raw(
    split: Callable[[str], Sequence[str]],
) -> Callable[[Configuration], dict[ListName, tuple[str, ...]]]:
    """Split annotations in another way, and use the MeshConfig's lists unchanged."""

    def lists(configuration: Configuration) -> dict[ListName, tuple[str, ...]]:
        found = {}
        for name in ListName:
            given = configuration.annotations.get(name.annotation or "")
            own = tuple(split(given)) if given is not None else ()
            mesh = tuple(map(str, configuration.traffic.get(name.mesh_config_key, ())))
            found[name] = (*mesh, *own)
        return found

    return lists

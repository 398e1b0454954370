"""Small changes to a policy's lists, which combine into mutants. Pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pytest_fsmredir.model.policy import ListName, Policy

PolicyChange = Callable[[Policy], Policy]
Listed = tuple[Any, ...]


def items(name: ListName, edit: Callable[[Listed], Listed]) -> PolicyChange:
    """Edit one list of a policy."""

    def change(policy: Policy) -> Policy:
        new: dict[str, Any] = {name.value: edit(getattr(policy, name.value))}
        return replace(policy, **new)

    return change


def ignored(*names: ListName) -> PolicyChange:
    """Treat some lists as empty."""

    def change(policy: Policy) -> Policy:
        for name in names:
            policy = items(name, lambda listed: ())(policy)
        return policy

    return change


def without_first(listed: Listed) -> Listed:
    """Drop the first item."""
    return listed[1:]


def without_last(listed: Listed) -> Listed:
    """Drop the last item."""
    return listed[:-1]


def at_most(count: int) -> Callable[[Listed], Listed]:
    """Keep only the first items, up to a number."""
    return lambda listed: listed[:count]


def without_sixteenth(listed: Listed) -> Listed:
    """Drop the item between two full slots of a multiport match."""
    return (*listed[:15], *listed[16:])


def without_last_of_slots(listed: Listed) -> Listed:
    """Drop the last item of each full slot of a multiport match."""
    return tuple(item for place, item in enumerate(listed) if place % 15 != 14)


def without_slot_of_one(listed: Listed) -> Listed:
    """Drop the item that would be alone in its slot."""
    return listed[:-1] if len(listed) > 1 and len(listed) % 15 == 1 else listed


def without_last_full_slot(listed: Listed) -> Listed:
    """Drop the last slot of a multiport match if it is full."""
    return listed[:-15] if len(listed) > 15 and len(listed) % 15 == 0 else listed


def without_insides(ports: Listed) -> Listed:
    """Drop the ports whose two neighbours are both listed."""
    return tuple(port for port in ports if not {port - 1, port + 1} <= set(ports))


def without_followers(ports: Listed) -> Listed:
    """Drop the ports whose lower neighbour is listed."""
    return tuple(port for port in ports if port - 1 not in ports)


def with_gaps_of_one(ports: Listed) -> Listed:
    """Add the ports whose two neighbours are both listed."""
    return (*ports, *(port + 1 for port in ports if port + 2 in ports and port + 1 not in ports))


def without_middle(listed: Listed) -> Listed:
    """Drop the item in the middle of a long list."""
    middle = len(listed) // 2
    return listed if len(listed) < 5 else (*listed[:middle], *listed[middle + 1 :])

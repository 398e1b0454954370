"""Small changes to a policy's lists, to combine into mutants. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pytest_fsmredir.spec.policy import ListName, Policy

PolicyChange = Callable[[Policy], Policy]
Listed = tuple[Any, ...]


def items(name: ListName, edit: Callable[[Listed], Listed]) -> PolicyChange:
    """Edit one list of a policy."""

    def change(policy: Policy) -> Policy:
        new: dict[str, Any] = {name.value: edit(getattr(policy, name.value))}
        return replace(policy, **new)

    return change


def ignored(*names: ListName) -> PolicyChange:
    """Take some lists as empty."""

    def change(policy: Policy) -> Policy:
        for name in names:
            policy = items(name, lambda listed: ())(policy)
        return policy

    return change


def without_first(listed: Listed) -> Listed:
    """Lose the first item."""
    return listed[1:]


def without_last(listed: Listed) -> Listed:
    """Lose the last item."""
    return listed[:-1]


def at_most(count: int) -> Callable[[Listed], Listed]:
    """Lose what goes beyond a number of items."""
    return lambda listed: listed[:count]


def without_sixteenth(listed: Listed) -> Listed:
    """Lose what stands between two full slots of a multiport match."""
    return (*listed[:15], *listed[16:])

"""The value of ``--fsm-nodes``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_fsmredir.errors import SettingsError

EVERY = "all"


def nodes_named(names: Iterable[str], backends: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the given names, or ``all``, each once.

    Args:
        names: The names in the option.
        backends: Names of the backends of the run.
        where: The source of the names, for messages.

    Raises:
        SettingsError: No backend of the run has nodes, or ``all`` is combined with a name.
    """
    named = tuple(dict.fromkeys(names))
    if named and set(backends) == {"netns"}:
        raise SettingsError(
            f"{where}: the backend netns has no nodes: add --fsm-backend kind or cluster"
        )
    if EVERY in named and len(named) > 1:
        raise SettingsError(f"{where}: {EVERY!r} cannot be combined with node names")
    return named

"""Wrong refusals: late, with side effects, or without a message."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_fsmredir.errors import ConfigurationError
from pytest_fsmredir.implementations.base import Refused, Target
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.policy import Policy
from tests.mutants.loading import Load, Plan, install, must, nothing
from tests.mutants.mutant import Mutant


def _unread_if_bad(configuration: Configuration, earlier: Sequence[Configuration]) -> Policy:
    """Read no lists of a malformed configuration, so that loading refuses it."""
    del earlier
    try:
        return configuration.policy()
    except ConfigurationError:
        return Policy()


def _refusing_after(first: Load, *, silently: bool = False) -> Load:
    """Look for malformed items only after some action, and then refuse."""

    def load(pod: Target, plans: Sequence[Plan]) -> None:
        try:
            pod.configuration.policy()
        except ConfigurationError as why:
            first(pod, plans)
            raise Refused("" if silently else str(why)) from None
        install(pod, plans)

    return load


def _only(family: int) -> Load:
    """Load one family."""
    return lambda pod, plans: install(pod, [plan for plan in plans if plan.family == family])


def _flushed(family: int) -> Load:
    """Empty the nat table of one family."""

    def load(pod: Target, plans: Sequence[Plan]) -> None:
        for plan in plans:
            if plan.family == family:
                must(pod.run([plan.program, "--wait", "5", "-t", "nat", "-F"]))

    return load


def _refusing_without_lists(pod: Target, plans: Sequence[Plan]) -> None:
    """Refuse a pod without lists, and program any other."""
    if not any(pod.configuration.effective().values()):
        raise Refused("no list is given")
    install(pod, plans)


def _mutant(name: str, what: str, source: str, load: Load) -> Mutant:
    return Mutant(name=name, what=what, source=source, read=_unread_if_bad, load=load)


MUTANTS = (
    *(
        _mutant(
            f"bad-list-found-after-ipv{family}",
            f"the rules of IPv{family} are loaded before a bad item is found",
            "B18, B32: a family at a time",
            _refusing_after(_only(family)),
        )
        for family in (4, 6)
    ),
    *(
        _mutant(
            f"refused-run-flushes-ipv{family}",
            f"a run that refuses has emptied the nat table of IPv{family}",
            "B18: cleaned up before the check",
            _refusing_after(_flushed(family)),
        )
        for family in (4, 6)
    ),
    _mutant(
        "refused-in-silence",
        "a bad list is refused without a message",
        "SPEC-13.8; a tester's broken implementation",
        _refusing_after(nothing, silently=True),
    ),
    _mutant(
        "refuses-without-lists",
        "a pod without any list is refused",
        "issue 12: an implementation that refuses the empty configuration",
        _refusing_without_lists,
    ),
)

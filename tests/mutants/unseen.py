"""The kinds of mutants that the self-check cannot see from inside a pod, and why."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Kind:
    """Mutants that the check cannot see for one reason.

    Attributes:
        title: What they break.
        why: Why the check cannot see it.
        globs: Patterns of their names.
    """

    title: str
    why: str
    globs: tuple[str, ...]


KINDS: tuple[Kind, ...] = ()


def kind_of(name: str) -> Kind | None:
    """Return the kind of a mutant that the check cannot see; None if it has to see it."""
    return next((k for k in KINDS if any(fnmatchcase(name, g) for g in k.globs)), None)

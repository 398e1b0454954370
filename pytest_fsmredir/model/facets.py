"""Facets: abilities that a backend may lack, which a check asks for in its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Protocol, TypeVar, get_type_hints

from pytest_fsmredir.errors import CatalogueError

Body = Callable[..., Iterator[None] | None]
"""The function of a check. If it yields, other checks run between its two parts."""

Class = TypeVar("Class", bound=type)
Facet = TypeVar("Facet")

_NEEDS = "__fsm_needs__"
_PARTS = "__fsm_parts__"


class FacetSource(Protocol):
    """A mesh that makes facets."""

    def facet(self, kind: type[Facet]) -> Facet:
        """Return the facet of a protocol.

        Raises:
            BackendError: The backend does not make it.
        """
        ...


def facet(*needs: str) -> Callable[[Class], Class]:
    """Register a protocol as a facet. A check that asks for it has these needs."""

    def mark(kind: Class) -> Class:
        setattr(kind, _NEEDS, needs)
        return kind

    return mark


def together(kind: Class) -> Class:
    """Register a dataclass of facets; a check that asks for it asks for each of them."""
    parts = tuple(get_type_hints(kind).values())
    setattr(kind, _PARTS, parts)
    return facet(*(need for part in parts for need in _needs(part)))(kind)


def needs_of(id: str, function: Body, declared: Iterable[str]) -> frozenset[str]:
    """Return the needs of a check: declared ones, and those that follow from its signature.

    Raises:
        CatalogueError: A parameter after the first one is not a facet, or a facet implies a
            declared need.
    """
    implied = {need for kind in _parameters(function) if kind for need in _needs(kind)}
    if doubled := sorted(implied.intersection(declared)):
        raise CatalogueError(f"{id}: a parameter already implies the need {doubled[0]!r}")
    return frozenset(implied.union(declared))


def needs_met_by(makers: Iterable[type]) -> frozenset[str]:
    """Return the needs that some implementations of facets meet."""
    return frozenset(need for maker in makers for base in maker.__mro__ for need in _needs(base))


def call(function: Body, mesh: FacetSource) -> Iterable[None]:
    """Call the function of a check with the mesh and the facets that it asks for.

    Returns:
        The pauses of the check; empty if it does not pause.
    """
    arguments = (_made(mesh, kind) if kind else mesh for kind in _parameters(function))
    return function(*arguments) or ()


def _made(mesh: FacetSource, kind: type) -> object:
    """Return a facet, or several together."""
    parts: tuple[type, ...] = vars(kind).get(_PARTS, ())
    return kind(*map(mesh.facet, parts)) if parts else mesh.facet(kind)


@cache
def _parameters(function: Body) -> tuple[type | None, ...]:
    """Return the facet of each parameter, in order; None for the mesh, which can only be first.

    Parameters by keyword only belong to the cases of a check.
    """
    kinds: list[type | None] = []
    for position, parameter in enumerate(inspect.signature(function).parameters.values()):
        if parameter.kind is parameter.KEYWORD_ONLY:
            continue
        kind = _kind(function, parameter.annotation)
        if kind is None and position:
            raise CatalogueError(
                f"{function.__name__}: parameter {parameter.name} is not annotated with a facet"
                " such as Taps"
            )
        kinds.append(kind)
    return tuple(kinds)


def _kind(function: Body, annotation: object) -> type | None:
    # Annotations are names, because check files import annotations from __future__.
    if isinstance(annotation, str):
        annotation = getattr(function, "__globals__", {}).get(annotation)
    return annotation if isinstance(annotation, type) and _needs(annotation) else None


def _needs(kind: type) -> tuple[str, ...]:
    needs: tuple[str, ...] = vars(kind).get(_NEEDS, ())
    return needs

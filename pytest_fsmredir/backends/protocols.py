"""What a backend offers to those who run the checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from pytest_fsmredir.backends.base import Mesh
from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.checks import Body
from pytest_fsmredir.model.configuration import Configuration


class JudgedMesh(Mesh, Protocol):
    """A mesh as the runner of the checks sees it.

    Attributes:
        observed: Flows sent and programming attempts made, to tell a check that looked at nothing.
        watch: Called after each flow of a sweep, with the flows so far and their number in all
            where that is known.
    """

    observed: int
    watch: Callable[[int, int | None], None]

    @property
    def configurations(self) -> tuple[Configuration, ...]:
        """What the pods of the check are programmed with."""
        ...

    def losses(self) -> list[str]:
        """Return what the implementation has taken away from the pods of the check.

        One phrase for each link, address or route. A check that then breaks is not our error.
        """
        ...

    def close(self) -> None:
        """End all that the check opened."""
        ...


class Wanted(NamedTuple):
    """A check's function, and what it will be run with.

    Attributes:
        function: The check's.
        family: IP version.
        iptables: The iptables variant.
        node: The node that its pods are to be on; empty for any.
    """

    function: Body
    family: int
    iptables: IptablesVariant
    node: str = ""


class Backend(Protocol):
    """Makes meshes.

    Attributes:
        name: As on the command line.
    """

    name: str

    def offers(self, family: int) -> frozenset[Need]:
        """Return the needs of checks that it can meet on an IP version."""
        ...

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions that its pods have."""
        ...

    def prepare(self, wanted: Iterable[Wanted]) -> None:
        """Make what checks will want, as far as that is better made at once.

        Raises:
            BackendError: Something cannot be made.
        """
        ...

    def mesh(
        self, family: int, iptables: IptablesVariant, *, exhaustive: bool, node: str = ""
    ) -> JudgedMesh:
        """Return the mesh of one run of one check; the caller closes it.

        Args:
            family: IP version.
            iptables: The iptables variant.
            exhaustive: Whole ranges instead of samples are wanted.
            node: One of the nodes that the backend was made for, which all pods are to be on;
                empty for any.
        """
        ...

    @property
    def kept(self) -> str:
        """What it will leave behind because that was asked for, and how to remove it."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """What a reader of the verdict should know about what was judged, a sentence each."""
        ...

    def close(self) -> None:
        """Remove everything that was made."""
        ...

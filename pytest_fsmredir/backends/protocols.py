"""The interface between backends and the runner of the checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from pytest_fsmredir.backends.base import Mesh, Pod
from pytest_fsmredir.implementations.base import Completed, IptablesVariant
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.facets import Body, FacetSource
from pytest_fsmredir.model.flow import Fate

Files = Mapping[str, str | bytes]
"""The content of files, by name."""

Take = Callable[[], Files]
"""Takes one kind of evidence; raises an error if it cannot be taken."""


class Suspect(Pod, Protocol):
    """A pod whose rules may have decided the fate of a flow."""

    @property
    def interfaces(self) -> Mapping[str, Sequence[str]]:
        """The pod's addresses, by interface, without loopback; the primary interface first."""
        ...

    @property
    def configuration(self) -> Configuration:
        """The configuration of the last programming."""
        ...

    @property
    def earlier(self) -> Sequence[Configuration]:
        """The configurations of earlier programmings."""
        ...

    @property
    def outcome(self) -> str:
        """How the last run of the implementation on it ended, in words."""
        ...


class JudgedMesh(Mesh, FacetSource, Protocol):
    """A mesh as the runner of the checks sees it; it makes the facets that checks ask for.

    Attributes:
        observed: Flows sent and programming attempts made; 0 identifies a check that observed
            nothing.
        watch: Called after each flow of a sweep, with the number of flows so far, and the total if
            it is known.
        python: The Python program in its pods.
    """

    python: str
    observed: int
    watch: Callable[[int, int | None], None]

    @property
    def configurations(self) -> tuple[Configuration, ...]:
        """The configurations of the check's pods."""
        ...

    def losses(self) -> list[str]:
        """Return what the implementation removed from the check's pods: links, addresses, routes.

        One phrase for each. If the check then breaks, the harness is not at fault.
        """
        ...

    def suspects(self, fate: Fate | None) -> Sequence[Suspect]:
        """Return the pods of the check that a flow left and reached, in this order.

        Args:
            fate: The fate of the flow; None for every pod of the check.
        """
        ...

    def sent_again(self, pod: Pod, fate: Fate) -> Files:
        """Send a flow once more, and return what both sides saw, as files by name.

        Raises:
            BackendError: The backend cannot capture packets.
        """
        ...

    def inspect(self, pod: Pod, argv: Sequence[str]) -> Completed:
        """Run a program of ours in a pod as root, to read its rules and tables.

        Raises:
            BackendError: The backend cannot.
        """
        ...

    def particulars(self, pod: Pod) -> Iterable[tuple[str, Take]]:
        """Return what this backend knows about a pod, such as the output of the implementation.

        Returns:
            The name of each kind, and the function that takes it.
        """
        ...

    def enter(self, pod: Pod) -> None:
        """Run a shell in a pod on the terminal of this process, until it ends.

        Raises:
            BackendError: The backend cannot.
        """
        ...

    def close(self) -> None:
        """Close everything that the check opened."""
        ...


class Wanted(NamedTuple):
    """A check's function, and the parameters of its run.

    Attributes:
        function: The function of the check.
        family: IP version.
        iptables: The iptables variant.
        node: The node for its pods; empty for any.
    """

    function: Body
    family: int
    iptables: IptablesVariant
    node: str = ""


class Backend(Protocol):
    """Creates meshes.

    Attributes:
        name: Its name on the command line.
    """

    name: str

    def offers(self, family: int) -> frozenset[str]:
        """Return the needs that it can meet for an IP version.

        These are the needs of the facets that it makes, and members of :class:`.needs.Need`.
        """
        ...

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions that its pods have."""
        ...

    def prepare(self, wanted: Iterable[Wanted]) -> None:
        """Create resources of the coming checks that are better created together.

        Raises:
            BackendError: A resource cannot be created.
        """
        ...

    def mesh(
        self, family: int, iptables: IptablesVariant, *, exhaustive: bool, node: str = ""
    ) -> JudgedMesh:
        """Return the mesh of one run of one check; the caller closes it.

        Args:
            family: IP version.
            iptables: The iptables variant.
            exhaustive: Test whole ranges instead of samples.
            node: The node for all pods, one of the nodes that the backend was made for; empty for
                any.

        Raises:
            BackendError: The node cannot be judged.
        """
        ...

    def renew(self) -> bool:
        """Replace what all checks share if it was lost; return whether it was.

        A check that ended in an error because of that can run again.

        Raises:
            BackendError: It cannot be replaced.
        """
        ...

    @property
    def kept(self) -> str:
        """What the backend leaves behind on request, and how to remove it."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """Remarks for the reader of the verdict about the judged environment, one sentence each."""
        ...

    def close(self) -> None:
        """Remove everything that the backend created."""
        ...

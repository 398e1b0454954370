"""The interface of an implementation under test and its input: the contract as types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_fsmredir.errors import tail
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.features import Feature
from pytest_fsmredir.model.outcomes import IptablesVariant as IptablesVariant

OF_IPTABLES = (IptablesVariant.NFT, IptablesVariant.LEGACY)
"""The variants with iptables programs."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The result of a command in a pod.

    Attributes:
        status: Exit status; None if it exceeded its deadline and was killed.
        stdout: Standard output, undecodable bytes replaced.
        stderr: Standard error, undecodable bytes replaced.
    """

    status: int | None
    stdout: str
    stderr: str

    @property
    def failure(self) -> str:
        """The exit status and the last lines of standard error, for a message."""
        how = "overran its deadline" if self.status is None else f"exited {self.status}"
        return f"{how}: {tail(self.stderr)}"


class Run(Protocol):
    """Runs a program in a pod's network namespace, as :meth:`Target.run` does."""

    def __call__(self, argv: Sequence[str], stdin: str = "") -> Completed:
        """Run a program to its end."""
        ...


class Refused(Exception):
    """An implementation declined to program a pod; the message says why.

    This is not an error of the harness. The check decides whether the refusal is correct.
    """

    @property
    def silent(self) -> bool:
        """Whether the implementation gave no reason."""
        return not str(self).strip()


class RefusedInSilence(Refused):
    """An implementation declined without a reason; the message is ours."""

    silent = True


class Hung(Refused):
    """An implementation did not end in time and was killed."""


class Target(Protocol):
    """A pod as its implementation sees it while programming it."""

    @property
    def name(self) -> str:
        """The pod's name."""
        ...

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses, IPv4 first."""
        ...

    @property
    def configuration(self) -> Configuration:
        """The settings as the user wrote them."""
        ...

    @property
    def iptables(self) -> IptablesVariant:
        """The variant of the programs on PATH."""
        ...

    def run(self, argv: Sequence[str], stdin: str = "") -> Completed:
        """Run a program inside the pod's network namespace, with the contract's environment.

        It runs as uid 0 with an init container's capabilities, in an empty private directory, and
        is killed, with all its children, after the contract's deadline.
        """
        ...


class Implementation(Protocol):
    """An implementation under test: it programs the redirection of a pod.

    Attributes:
        name: Its name in the header and the report.
        features: The optional features that it claims.
    """

    name: str
    features: frozenset[Feature]

    def program(self, target: Target) -> None:
        """Program one pod.

        Raises:
            Refused: The configuration cannot be honoured; nothing was programmed.
        """
        ...

"""What an implementation under test is, and what it is given: the contract as types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pytest_fsmredir.errors import tail
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.features import Feature


class IptablesVariant(StrEnum):
    """Which of the two back ends of iptables the programs on PATH are of; ``native`` is nft alone.

    On a machine without iptables there is no other variant.
    """

    NFT = "nft"
    LEGACY = "legacy"
    NATIVE = "native"


OF_IPTABLES = (IptablesVariant.NFT, IptablesVariant.LEGACY)
"""The variants that have the programs of iptables."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command run inside a pod ended.

    Attributes:
        status: Exit status; None when it overran its deadline and was killed.
        stdout: What it printed, undecodable bytes replaced.
        stderr: The same for standard error.
    """

    status: int | None
    stdout: str
    stderr: str

    @property
    def failure(self) -> str:
        """How it failed: its exit status, and the last lines of its standard error."""
        how = "overran its deadline" if self.status is None else f"exited {self.status}"
        return f"{how}: {tail(self.stderr)}"


class Run(Protocol):
    """Runs a program in a pod's network namespace, as :meth:`Target.run` does."""

    def __call__(self, argv: Sequence[str], stdin: str = "") -> Completed:
        """Run it to its end."""
        ...


class Refused(Exception):
    """An implementation declined to program a pod; the message says why.

    Not an error of the harness: whether declining was right is for the check to say.
    """

    @property
    def silent(self) -> bool:
        """Whether the implementation said nothing at all."""
        return not str(self).strip()


class RefusedInSilence(Refused):
    """An implementation declined without a word; the message is ours."""

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
        """What the user wrote."""
        ...

    @property
    def iptables(self) -> IptablesVariant:
        """The variant that the programs on PATH are of."""
        ...

    def run(self, argv: Sequence[str], stdin: str = "") -> Completed:
        """Run a program inside the pod's network namespace, with the contract's environment.

        It runs as uid 0 with an init container's capabilities, in an empty private directory, and
        is killed, with all its children, after the contract's deadline.
        """
        ...


class Implementation(Protocol):
    """Whatever programs the redirection of a pod; the thing judged.

    Attributes:
        name: Shown in the header and the report.
        features: What it claims to honour beyond the core.
    """

    name: str
    features: frozenset[Feature]

    def program(self, target: Target) -> None:
        """Program one pod.

        Raises:
            Refused: The configuration can't be honoured; nothing was programmed.
        """
        ...

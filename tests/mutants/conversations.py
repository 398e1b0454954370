"""What a rule set and the pods' programs say to each other, and trials that this spares.

The kernel does the same with the same packets when the same programs have given it the same. So a
mutant that would say in a trial, word for word, what the correct rule set said there, and hear the
same answers, gets the same verdict without running it.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pytest_fsmredir.implementations.base import Completed, IptablesVariant, Refused, Target
from pytest_fsmredir.model.configuration import Configuration
from tests.mutants.mutant import Mutant, MutantImplementation, read


@dataclass(frozen=True)
class Conversation:
    """One programming of a pod.

    Attributes:
        name: The pod's.
        addresses: The pod's.
        configuration: The pod's.
        iptables: The variant of its programs.
        calls: Each program that was run, with its input and how it ended.
        refusal: Why the pod was refused; None if it was not.
    """

    name: str
    addresses: tuple[str, ...]
    configuration: Configuration
    iptables: IptablesVariant
    calls: tuple[tuple[tuple[str, ...], str, Completed], ...]
    refusal: str | None


Conversations = dict[str, tuple[Conversation, ...]]
"""By trial."""


class Listener:
    """An implementation that does what another does, and writes down the conversations.

    Attributes:
        name: The other's.
        features: The other's.
    """

    def __init__(self, implementation: MutantImplementation) -> None:
        self.name, self.features = implementation.name, implementation.features
        self._implementation = implementation
        self._heard: list[Conversation] = []
        self._told = 0

    def since(self, pods: Collection[str]) -> tuple[Conversation, ...]:
        """Return what was said since the last call, and all that was ever said in some pods."""
        before, new = self._heard[: self._told], self._heard[self._told :]
        self._told = len(self._heard)
        return (*(said for said in before if said.name in pods), *new)

    def program(self, target: Target) -> None:
        """Program a pod.

        Raises:
            Refused: The other refused.
        """
        line = _Tapped(target)
        refusal = None
        try:
            self._implementation.program(line)
        except Refused as why:
            refusal = str(why)
            raise
        finally:
            self._heard.append(
                Conversation(
                    target.name, target.addresses, target.configuration, target.iptables,
                    tuple(line.calls), refusal,
                )
            )  # fmt: skip


def says_the_same(mutant: Mutant, conversations: Sequence[Conversation]) -> bool:
    """Whether a mutant would have had the same conversations in these pods."""
    if mutant.read is not read:
        return False  # it may have an eye on pods of trials before
    implementation = MutantImplementation(mutant)
    return all(_repeats(implementation, conversation) for conversation in conversations)


def save(conversations: Conversations, file: Path) -> None:
    """Write a file, all at once."""
    partial = file.with_suffix(".part")
    partial.write_bytes(pickle.dumps(conversations))
    partial.rename(file)


def load(file: Path) -> Conversations:
    """Return what the file holds; nothing as long as there is none."""
    return _loaded(file) if file.exists() else {}


@cache
def _loaded(file: Path) -> Conversations:
    found: Conversations = pickle.loads(file.read_bytes())  # noqa: S301 - written by this run
    return found


class _Tapped:
    """A pod that writes down what is run in it."""

    def __init__(self, target: Target) -> None:
        self.name, self.addresses = target.name, target.addresses
        self.configuration, self.iptables = target.configuration, target.iptables
        self.calls: list[tuple[tuple[str, ...], str, Completed]] = []
        self._target = target

    def run(self, argv: Sequence[str], stdin: str = "") -> Completed:
        answer = self._target.run(argv, stdin)
        self.calls.append((tuple(argv), stdin, answer))
        return answer


class _DiffersError(Exception):
    """Something else was said."""


class _Replayed:
    """A pod that answers as one did, as long as it is told the same."""

    def __init__(self, conversation: Conversation) -> None:
        self.name, self.addresses = conversation.name, conversation.addresses
        self.configuration, self.iptables = conversation.configuration, conversation.iptables
        self.calls: Iterator[tuple[tuple[str, ...], str, Completed]] = iter(conversation.calls)

    def run(self, argv: Sequence[str], stdin: str = "") -> Completed:
        then_argv, then_stdin, answer = next(self.calls, ((), "", None))
        if answer is None or (then_argv, then_stdin) != (tuple(argv), stdin):
            raise _DiffersError
        return answer


def _repeats(implementation: MutantImplementation, conversation: Conversation) -> bool:
    pod = _Replayed(conversation)
    refusal = None
    with suppress(_DiffersError):
        try:
            implementation.program(pod)
        except Refused as why:
            refusal = str(why)
        return refusal == conversation.refusal and next(pod.calls, None) is None
    return False

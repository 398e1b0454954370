"""The pod of a failed flow: its rules, as they are in force, and what they have to honour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.rules import live
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.ruleset import RuleSet
from pytest_fsmredir.rules.why.case import Case
from pytest_fsmredir.rules.why.sending import SentPacket


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is known about the pod of a failed flow.

    Attributes:
        rules: The rules of every family and variant in it.
        pod: Its interfaces and addresses.
        policy: The policy that it has to honour.
        earlier: The policies that it was programmed with before.
        printed: What the command printed that read the rules.
    """

    rules: RuleSet
    pod: Surroundings
    policy: Policy
    earlier: tuple[Policy, ...] = ()
    printed: str = ""

    @classmethod
    def read(
        cls,
        printed: str,
        interfaces: Mapping[str, Sequence[str]],
        policy: Policy,
        earlier: Iterable[Policy] = (),
    ) -> Scene:
        """Return the scene in a pod.

        Args:
            printed: What :func:`reading` printed in the pod.
            interfaces: The pod's addresses, by interface.
            policy: The policy that it has to honour.
            earlier: The policies that it was programmed with before.

        Raises:
            RulesError: The rules cannot be read.
        """
        pod = Surroundings(dict(interfaces), closed=True)
        return cls(
            rules=live.read(printed),
            pod=pod,
            policy=policy,
            earlier=tuple(earlier),
            printed=printed,
        )

    def case(self, sending: SentPacket) -> Case:
        """Return a packet in this pod."""
        return Case(self.rules, self.pod, self.policy, self.earlier, sending)


def reading(python: str) -> list[str]:
    """Return the command to run in a pod; it prints the rules and the routes.

    Args:
        python: The Python program in the pod.
    """
    return live.command(python)


def reading_again(printed: str) -> list[str]:
    """Return the command to run later in a pod; it prints the rules with their new counters.

    Args:
        printed: What the command of :func:`reading` printed there.
    """
    return live.recounting(printed)


def listings(printed: str) -> dict[str, str]:
    """Return the output of each program that the command started, by name."""
    return live.sections(printed)

"""The link to the agents of one pod: commands go out in batches, replies come back in order."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from pytest_fsmredir.agent.forms import Json
from pytest_fsmredir.backends.kubernetes.cluster.client import ExecStream
from pytest_fsmredir.errors import BackendError

GRACE_S = 20.0
"""Seconds that a reply may take in addition to the time that the command itself may take."""


class Command(NamedTuple):
    """A command for one agent of a pod."""

    agent: str
    name: str
    arguments: dict[str, Json]


@dataclass
class AgentLink:
    """An open link to the agents of a pod.

    Attributes:
        pod: Name of the pod.
        stream: The exec stream that carries commands and replies.
        agents: Names of the agents in the pod.
        numbers: The number of each agent in the run, by the agent's name.
        round_trips: Batches sent so far.
        deferred: Commands to send at the start of the next batch.
        lost: Why the link is lost; empty while it works.
    """

    pod: str
    stream: ExecStream
    agents: tuple[str, ...]
    numbers: dict[str, int] = field(default_factory=dict)
    round_trips: int = 0
    deferred: list[Command] = field(default_factory=list)
    lost: str = ""

    def ask(self, agent: str, name: str, /, *, wait_s: float = 0.0, **arguments: Json) -> Json:
        """Send one command, which itself may take ``wait_s``, and return its result."""
        (result,) = self.ask_all([Command(agent, name, arguments)], wait_s=wait_s)
        return result

    def ask_all(self, commands: Iterable[Command], *, wait_s: float = 0.0) -> list[Json]:
        """Send several commands at once and return their results.

        Raises:
            BackendError: An agent could not execute a command, or the link is lost.
        """
        asked = list(commands)
        if not asked:
            return []
        if self.lost:
            raise BackendError(f"there is no line to {self.pod} any more: {self.lost}")
        first, self.deferred = self.deferred, []
        return self._all([*first, *asked], wait_s + GRACE_S)[len(first) :]

    def defer(self, command: Command) -> None:
        """Send a command with the next batch, before the others, and ignore its result."""
        self.deferred.append(command)

    def close(self) -> None:
        """Close the link."""
        self.lost = self.lost or "it was hung up"
        self.stream.close()

    def _all(self, batch: list[Command], within_s: float) -> list[Json]:
        lines = (f"{c.agent}\t{json.dumps([c.name, c.arguments])}\n" for c in batch)
        replies = self._exchange("".join(lines), len(batch), within_s)
        queues = {agent: [r for a, r in replies if a == agent] for agent in self.agents}
        results = [queues[command.agent].pop(0) for command in batch]
        for command, result in zip(batch, results, strict=True):
            if "error" in result:
                raise BackendError(f"{self.pod}: {command.name}: {result['error']}")
        return [result["result"] for result in results]

    def _exchange(self, text: str, count: int, within_s: float) -> list[tuple[str, Json]]:
        try:
            self.stream.write(text)
            replies = [self._reply(within_s) for _ in range(count)]
        except (BackendError, ValueError) as error:
            # A late reply would be taken for the reply to the next command.
            self.lost = str(error)
            with suppress(Exception):  # the error that matters is already stored
                self.stream.close()
            raise BackendError(f"the line to pod {self.pod} was lost: {error}") from None
        self.round_trips += 1
        return replies

    def _reply(self, within_s: float) -> tuple[str, Json]:
        agent, _, text = self.stream.read_line(within_s).partition("\t")
        return agent, json.loads(text)

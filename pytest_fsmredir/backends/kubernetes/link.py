"""The line to the agents of one pod: commands go out in batches, replies come back in order."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from pytest_fsmredir.agent.forms import Json
from pytest_fsmredir.backends.kubernetes.client import Stream
from pytest_fsmredir.errors import BackendError

GRACE_S = 20.0
"""What a reply may take beyond the time that the command itself may take."""


class Command(NamedTuple):
    """A command for one agent of a pod."""

    agent: str
    name: str
    arguments: dict[str, Json]


@dataclass
class Link:
    """An open line.

    Attributes:
        pod: Its name.
        stream: What it goes over.
        agents: The agents at its end.
        numbers: The number that each of them has in the run.
        round_trips: Batches sent so far.
        deferred: Commands that go out before the next ones.
    """

    pod: str
    stream: Stream
    agents: tuple[str, ...]
    numbers: dict[str, int] = field(default_factory=dict)
    round_trips: int = 0
    deferred: list[Command] = field(default_factory=list)

    def ask(self, agent: str, name: str, /, *, wait_s: float = 0.0, **arguments: Json) -> Json:
        """Give one command, which itself may take ``wait_s``, and return its result."""
        (result,) = self.ask_all([Command(agent, name, arguments)], wait_s=wait_s)
        return result

    def ask_all(self, commands: Iterable[Command], *, wait_s: float = 0.0) -> list[Json]:
        """Give several commands at once and return their results.

        Raises:
            BackendError: An agent could not do it, or the line is cut.
        """
        asked = list(commands)
        if not asked:
            return []
        first, self.deferred = self.deferred, []
        return self._all([*first, *asked], wait_s + GRACE_S)[len(first) :]

    def defer(self, command: Command) -> None:
        """Have a command done before the next one; its result is of no interest."""
        self.deferred.append(command)

    def close(self) -> None:
        """Hang up."""
        self.stream.close()

    def _all(self, batch: list[Command], within_s: float) -> list[Json]:
        lines = (f"{c.agent}\t{json.dumps([c.name, c.arguments])}\n" for c in batch)
        self.stream.write("".join(lines))
        self.round_trips += 1
        replies = [self._reply(within_s) for _ in batch]
        queues = {agent: [r for a, r in replies if a == agent] for agent in self.agents}
        results = [queues[command.agent].pop(0) for command in batch]
        for command, result in zip(batch, results, strict=True):
            if "error" in result:
                raise BackendError(f"{self.pod}: {command.name}: {result['error']}")
        return [result["result"] for result in results]

    def _reply(self, within_s: float) -> tuple[str, Json]:
        agent, _, text = self.stream.read_line(within_s).partition("\t")
        return agent, json.loads(text)

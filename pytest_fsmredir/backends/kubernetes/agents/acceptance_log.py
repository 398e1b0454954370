"""Everything that was accepted anywhere in a run, put together from the logs of all agents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from operator import itemgetter

from pytest_fsmredir.agent.forms import SPAN, Moments, acceptance_of
from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink, Command
from pytest_fsmredir.model.flow import Acceptance


class AcceptanceLog:
    """The acceptances of a run.

    A banner tells of one at once, and by its serial number which of its agent's it was; the others
    are fetched. Those fetched together are put in order by the time at their agents: on one
    node that is one clock, on several it is as good as the nodes' clocks.

    Attributes:
        log: In the order they became known.
    """

    def __init__(self) -> None:
        self.log: list[Acceptance] = []
        self._known: dict[int, int] = {}
        self._next = 1
        self._seen = 0  # agents begin with number 1, so these serial numbers are nobody's

    def enrol(self, link: AgentLink, timeout_s: float) -> None:
        """Give the agents of a line their numbers."""
        for agent in link.agents:
            link.numbers[agent] = self._next
            self._known[self._next] = 0
            self._next += 1
        link.ask_all(
            Command(agent, "hello", {"number": number, "timeout_s": timeout_s})
            for agent, number in link.numbers.items()
        )

    def note(self, told: Acceptance | None) -> bool:
        """Log what a banner told; False when something before it has to be fetched first."""
        if told is None:
            return True
        number, index = divmod(told.serial, SPAN)
        if index < self._known.get(number, 0):
            return True
        if index > self._known.get(number, 0):
            return False
        self._known[number] = index + 1
        self.log.append(told)
        return True

    def witnessed(self, accepted: Iterable[Acceptance]) -> None:
        """Log what a witness saw somebody accept who keeps no log."""
        for acceptance in accepted:
            self.log.append(replace(acceptance, serial=self._seen))
            self._seen += 1

    def fetch(self, links: Iterable[AgentLink]) -> None:
        """Log what the agents of these lines know and we do not."""
        news: list[tuple[int, Acceptance]] = []
        for link in links:
            for agent, moments in self._news(link).items():
                self._known[link.numbers[agent]] += len(moments)
                news += moments
        self.log += [acceptance for _, acceptance in sorted(news, key=itemgetter(0))]

    def _news(self, link: AgentLink) -> dict[str, Moments]:
        replies = link.ask_all(
            Command(agent, "log", {"since": self._known[number]})
            for agent, number in link.numbers.items()
        )
        found: dict[str, Moments] = {}
        for agent, reply in zip(link.numbers, replies, strict=True):
            decoded = ((int(at), acceptance_of(form)) for at, form in reply)
            found[agent] = [(at, told) for at, told in decoded if told is not None]
        return found

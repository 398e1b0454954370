"""Merge the acceptance logs of all agents of a run into one log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from operator import itemgetter

from pytest_fsmredir.agent.forms import SPAN, Moments, acceptance_of
from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink, Command
from pytest_fsmredir.model.flow import Acceptance


class AcceptanceLog:
    """The acceptances of a run.

    A banner reports one acceptance at once; its serial number identifies the agent and the position
    in that agent's log. All other acceptances are fetched from the agents. Acceptances that are
    fetched together are sorted by the time at their agents. On one node that is one clock; on
    several nodes the order is as accurate as the nodes' clocks agree.

    Attributes:
        log: The acceptances in the order in which they became known.
    """

    def __init__(self) -> None:
        self.log: list[Acceptance] = []
        self._known: dict[int, int] = {}
        self._next = 1
        self._seen = 0  # agents begin with number 1, so no agent has these serial numbers

    def enrol(self, link: AgentLink, timeout_s: float) -> None:
        """Number the agents of a link, and tell each agent its number."""
        for agent in link.agents:
            link.numbers[agent] = self._next
            self._known[self._next] = 0
            self._next += 1
        link.ask_all(
            Command(agent, "hello", {"number": number, "timeout_s": timeout_s})
            for agent, number in link.numbers.items()
        )

    def note(self, reported: Acceptance | None) -> bool:
        """Log the acceptance in a banner; return False if an earlier one must be fetched first."""
        if reported is None:
            return True
        number, index = divmod(reported.serial, SPAN)
        if index < self._known.get(number, 0):
            return True
        if index > self._known.get(number, 0):
            return False
        self._known[number] = index + 1
        self.log.append(reported)
        return True

    def witnessed(self, accepted: Iterable[Acceptance]) -> None:
        """Log acceptances of programs that keep no log, as a witness saw them."""
        for acceptance in accepted:
            self.log.append(replace(acceptance, serial=self._seen))
            self._seen += 1

    def fetch(self, links: Iterable[AgentLink]) -> None:
        """Log the acceptances of the agents of these links that are not known yet."""
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
            found[agent] = [(at, accepted) for at, accepted in decoded if accepted is not None]
        return found

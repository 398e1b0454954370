"""Handle a connection that an agent in a pod holds."""

from __future__ import annotations

from collections.abc import Callable

from pytest_fsmredir.agent.forms import Json, Report, bytes_form, bytes_of
from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink
from pytest_fsmredir.backends.kubernetes.agents.manifests import APP
from pytest_fsmredir.model.flow import PLAIN, Acceptance, Fate, Flow
from pytest_fsmredir.traffic.connection import Connection


class RemoteConnection(Connection):
    """A connection attempt of an agent, and its result as the agent reports it."""

    def __init__(
        self,
        flow: Flow,
        link: AgentLink,
        number: int,
        path: Callable[[], tuple[Acceptance, ...]],
    ) -> None:
        self.flow, self._sent = flow, PLAIN  # the agent does not report what else was sent
        self.client = None
        self.lost = None
        self.received = bytearray()
        self.answered_by = None
        self._link, self._number = link, number
        self._path_now = path
        self._ended = False

    def take(self, report: Report) -> None:
        """Store the state that the agent reports."""
        self.client, self.lost = report.client, report.lost
        self.answered_by = report.answered_by
        self.received += report.received
        self._ended = report.ended

    @property
    def ended(self) -> bool:
        """Whether the other side has half-closed the connection, or the connection is gone."""
        if not self._ended and self._number:
            self.take(Report.of(self._ask("look")))
        return self._ended

    @property
    def path(self) -> tuple[Acceptance, ...]:
        """Every acceptance since the attempt began."""
        return self._path_now()

    @property
    def fate(self) -> Fate:
        """The result of the attempt."""
        return Fate(self.flow, self.client, self.path, self.lost)

    def exchange(self, payload: bytes, within_s: float) -> bytes:
        """Send the payload and return what comes back, up to the payload's length."""
        reply = self._ask(
            "exchange", payload=bytes_form(payload), within_s=within_s, wait_s=within_s
        )
        self.take(Report.of(reply[1]))
        return bytes_of(reply[0])

    def send(self, payload: bytes, *, urgent: bool = False) -> None:
        """Queue a payload, or send a few bytes as urgent data."""
        self.take(Report.of(self._ask("send", payload=bytes_form(payload), urgent=urgent)))

    def finish(self, within_s: float) -> bool:
        """Half-close the connection, and return whether the other side then half-closes too."""
        reply = self._ask("finish", within_s=within_s, wait_s=within_s)
        self.take(Report.of(reply[1]))
        return bool(reply[0])

    def close(self) -> None:
        """Abort the connection."""
        if self._number and not self._link.lost:
            self._ask("close")
        self._number = 0

    def _ask(self, name: str, *, wait_s: float = 0.0, **arguments: Json) -> Json:
        return self._link.ask(APP, name, wait_s=wait_s, number=self._number, **arguments)

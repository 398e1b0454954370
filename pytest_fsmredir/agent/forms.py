"""JSON forms of the values in commands and replies, for both ends."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_fsmredir.model.flow import Acceptance, Acceptor, Address
from pytest_fsmredir.traffic.witness import Question, Sighting

Json = Any
"""A value as the json module parses it."""

SPAN = 10_000_000
"""Number of serial numbers of one agent; agent ``n`` starts at ``n * SPAN``."""


def address_form(address: Address | None) -> Json:
    """Return an address as JSON."""
    return None if address is None else [address.host, address.port]


def address_of(form: Json) -> Address | None:
    """Return an address from its JSON form."""
    return None if form is None else Address(str(form[0]), int(form[1]))


def acceptance_form(acceptance: Acceptance | None) -> Json:
    """Return an acceptance as JSON."""
    if acceptance is None:
        return None
    ends = (acceptance.local, acceptance.peer, acceptance.original)
    return [acceptance.serial, acceptance.by.name, *(address_form(end) for end in ends)]


def acceptance_of(form: Json) -> Acceptance | None:
    """Return an acceptance from its JSON form."""
    if form is None:
        return None
    serial, by, local, peer, original = form
    return Acceptance(
        int(serial), Acceptor[by], Address(*local), Address(*peer), address_of(original)
    )


@dataclass(frozen=True, slots=True)
class Report:
    """The current state of a flow.

    Attributes:
        client: The client's own address.
        lost: How it ended without an answer, in one word.
        answered_by: The acceptance in the banner.
        received: The bytes that arrived since the last report.
        ended: The other side has half-closed, or the connection is lost.
        connected: Whether the handshake completed, even if the connection ended since.
    """

    client: Address | None = None
    lost: str | None = None
    answered_by: Acceptance | None = None
    received: bytes = b""
    ended: bool = False
    connected: bool = False

    def as_form(self) -> Json:
        """Return the report as JSON."""
        return [
            address_form(self.client),
            self.lost,
            acceptance_form(self.answered_by),
            bytes_form(self.received),
            self.ended,
            self.connected,
        ]

    @classmethod
    def of(cls, form: Json) -> Report:
        """Return a report from its JSON form."""
        client, lost, answered_by, received, ended, connected = form
        return cls(
            address_of(client),
            lost,
            acceptance_of(answered_by),
            bytes_of(received),
            bool(ended),
            bool(connected),
        )


def question_form(question: Question) -> Json:
    """Return a question to the witness as JSON."""
    ends = (question.client, question.destination)
    return [*(address_form(end) for end in ends), question.connected]


def question_of(form: Json) -> Question:
    """Return a question from its JSON form."""
    client, destination, connected = form
    return Question(Address(*client), Address(*destination), bool(connected))


def sighting_form(sighting: Sighting) -> Json:
    """Return what a witness saw as JSON."""
    return [
        [acceptance_form(each) for each in sighting.accepted],
        [address_form(each) for each in sighting.onward],
        sighting.pending,
        sighting.tracking,
    ]


def sighting_of(form: Json) -> Sighting:
    """Return what a witness saw from its JSON form."""
    accepted, onward, pending, tracking = form
    told = (acceptance_of(each) for each in accepted)
    return Sighting(
        tuple(each for each in told if each is not None),
        tuple(Address(*each) for each in onward),
        bool(pending),
        bool(tracking),
    )


def bytes_form(data: bytes) -> str:
    """Return bytes as JSON."""
    return b64encode(data).decode()


def bytes_of(form: str) -> bytes:
    """Return bytes from their JSON form."""
    return b64decode(form)


Arguments = Mapping[str, Json]
Moments = Sequence[tuple[int, Acceptance]]
"""Acceptances, each with its agent's time in nanoseconds since the epoch."""

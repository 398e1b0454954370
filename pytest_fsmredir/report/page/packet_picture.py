"""The picture of a flow's packets: client, kernel, sidecar and server, with the addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_fsmredir.model.flow import Acceptor, Direction, Route
from pytest_fsmredir.report.page.lines import columns, wrapped
from pytest_fsmredir.report.render import template

WIDTH = 360
_CLIENT, _KERNEL, _SIDECAR, _SERVER = 42, 134, 226, 318
_LINE = 14
_TOP = 58
_CHARACTER = 6.7  # pixels
_TEXT = 52  # characters of a label
_FORWARDING = 3  # hops to draw

Delivery = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Label:
    """A text at an arrow.

    Attributes:
        x: Its middle.
        y: Its baseline.
        text: The text.
        changed: Whether something rewrote what it says.
    """

    x: float
    y: int
    text: str
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Arrow:
    """A packet on its way.

    Attributes:
        start: Where it starts.
        end: Where it ends.
        y: Its height.
        kind: The class for its style.
        labels: The texts above it.
    """

    start: int
    end: int
    y: int
    kind: str
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """What one arrow says: ``(text, changed)`` for each line."""

    start: int
    end: int
    kind: str
    texts: tuple[tuple[str, bool], ...]


def packet_picture(delivery: Delivery, expected: str) -> str:
    """Return the picture of a delivery as SVG.

    Args:
        delivery: What both ends saw.
        expected: The required fate, in the words of the claim.
    """
    y, arrows = _TOP, []
    for message in _messages(delivery, expected):
        labels = [
            Label(_middle(message, text), y + _LINE * (place + 1) - 3, text, changed)
            for place, (text, changed) in enumerate(_fitting(message))
        ]
        y += _LINE * len(labels) + 4
        arrows.append(Arrow(message.start, message.end, y, message.kind, tuple(labels)))
        y += 12
    drawn: str = template("packets.svg").render(
        arrows=arrows,
        actors=_actors(delivery),
        height=y + 6,
        top=_TOP - 10,
        width=WIDTH,
        label=described(delivery, expected),
    )
    return drawn


def described(delivery: Delivery, expected: str) -> str:
    """Return the picture in words."""
    parts = [f"The client {delivery.get('client', '')} sends to {delivery['destination']}."]
    for hop in delivery["hops"][:_FORWARDING]:
        parts.append(f"{hop['by']} accepts it on {hop['local']} from {hop['peer']}.")
    if "lost" in delivery:
        parts.append(f"The client sees: {delivery['lost']}.")
    return " ".join([*parts, f"Expected: {expected}."]).replace("  ", " ")


def _actors(delivery: Delivery) -> list[tuple[int, str, str]]:
    inside = delivery["direction"] == Direction.OUTBOUND
    user = f"uid {delivery['uid']}" if "uid" in delivery else "outside"
    return [
        (_CLIENT, "client", user),
        (_KERNEL, "kernel", "of the pod"),
        (_SIDECAR, "sidecar", ""),
        (_SERVER, "server" if inside else "app", "" if inside else "in the pod"),
    ]


def _messages(delivery: Delivery, expected: str) -> Iterator[Message]:
    client, to = delivery.get("client", ""), delivery["destination"]
    source = ((f"from {client}", False),) if client else ()
    yield Message(_CLIENT, _KERNEL, "sent", ((f"{delivery['protocol']} to {to}", False), *source))
    yield from _accepted(delivery["hops"], client, to)
    more = delivery["accepted"] - _FORWARDING
    if more > 0:
        text = f"and {more} more times: a loop"
        yield Message(_SIDECAR, _KERNEL, "wrong", ((text, True),))
    if "lost" in delivery:
        text = f"the client sees: {delivery['lost']}"
        yield Message(_KERNEL, _CLIENT, "lost", ((text, True),))
    wanted = _wanted(expected)
    if wanted:
        yield Message(_CLIENT, wanted, "expected", ((f"expected: {expected}", False),))


def _accepted(hops: Sequence[Mapping[str, str]], client: str, to: str) -> Iterator[Message]:
    at = _KERNEL
    for hop in hops[:_FORWARDING]:
        end = _SERVER if hop["by"] == Acceptor.ORIGIN else _SIDECAR
        texts = [(f"{'rewritten ' if hop['local'] != to else ''}to {hop['local']}",
                  hop["local"] != to)]  # fmt: skip
        if at == _KERNEL and hop["peer"] != client:
            texts.append((f"rewritten from {hop['peer']}", True))
        elif at != _KERNEL:
            texts.append((f"from {hop['peer']}", False))
        yield Message(at if at != end else _KERNEL, end, "sent", tuple(texts))
        at, to = end, hop["local"]


def _wanted(expected: str) -> int | None:
    """Return where the first listener that a claim requires is drawn; None if it names none."""
    if expected.startswith((Route.SIDECAR_OUTBOUND.value, Route.SIDECAR_INBOUND.value)):
        return _SIDECAR
    return _SERVER if expected.startswith((Route.DIRECT.value, Acceptor.ORIGIN.value)) else None


def _fitting(message: Message) -> Iterator[tuple[str, bool]]:
    for text, changed in message.texts:
        yield wrapped(text, _TEXT, 1)[0], changed


def _middle(message: Message, text: str) -> float:
    """Return the middle of a text near its arrow and inside the picture."""
    half = columns(text) * _CHARACTER / 2 + 2
    middle = (message.start + message.end) / 2
    return round(min(max(middle, half), WIDTH - half), 1)

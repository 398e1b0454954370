"""Look for a flow for which a condition that the model does not understand has the other result."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, Final

from pytest_fsmredir.probing.sending import Sender
from pytest_fsmredir.rules.bdd import NONE
from pytest_fsmredir.rules.counting import HELD
from pytest_fsmredir.rules.forms import Field
from pytest_fsmredir.rules.nft_values import WIDTHS
from pytest_fsmredir.rules.packet import ATTRIBUTES, Packet
from pytest_fsmredir.rules.prove import Finding
from pytest_fsmredir.rules.seek import Seeker

_NUMBER: Final = re.compile(r"(?<![\w.:-])(?:0x[0-9a-f]{1,8}|\d{1,10})(?![\w.:])")
_ADDRESS: Final = re.compile(r"(?<![\w.:])(?:\d+(?:\.\d+){3}|[0-9a-f]*:[0-9a-f:]*:[0-9a-f:.]*)")
_NUMBERED: Final = (Field.PORT, Field.SOURCE_PORT, Field.UID, Field.GID, Field.MARK)
_ADDRESSED: Final = (Field.DESTINATION, Field.SOURCE)
_NUMBERS_AT_MOST: Final = 8


def repeated(sender: Sender, finding: Finding, times: int) -> str:
    """Send a flow repeatedly; return the first fate that is wrong, empty if there is none."""
    held = any(HELD.search(text) for text in finding.depends)
    with ExitStack() as kept:
        for number in range(2, times + 2):
            connection = sender.open(finding.packet) if held else None
            if connection is not None:
                kept.callback(connection.close)
            fate = connection.fate if connection else sender.send(finding.packet)
            if fate is None:
                continue
            if not sender.claim(finding.duty.route, finding.packet, fate).holds:
                return f"number {number} of equal flows: {fate.seen}"
    return ""


def named(seeker: Seeker, finding: Finding) -> list[Packet]:
    """Return flows with the numbers and addresses in the texts of conditions not understood.

    ``--ctrepldstport 40404`` is met by a flow from that port, and ``--suppl-groups`` with
    ``--gid-owner 4321`` by one of that group. The document requires the same of all these flows.
    """
    # No set of flows differs in a field that no rule and no route reads.
    unread = {Field.GID, Field.MARK} - seeker.model.rules.mentioned()
    found: dict[Packet, None] = {}
    for name, number in _values(finding.depends, seeker.space.family):
        packet = finding.packet
        if name not in unread:
            alike = seeker.domain.only(name, seeker.space.alike(name, number))
            some = seeker.space.bdd.both(finding.flows, alike)
            if some == NONE:
                continue
            packet = seeker.plainest(packet.direction, some)
        changed: dict[str, Any] = {ATTRIBUTES[name]: number}
        found[replace(packet, **changed)] = None
    return list(found)


def _numbers(texts: Iterable[str]) -> list[int]:
    """Return the numbers in texts, the greatest first: they tell most."""
    words = {word for text in texts for word in _NUMBER.findall(text)}
    numbers = {int(word, 16 if word.startswith("0x") else 10) for word in words}
    return sorted((n for n in numbers if 0 < n < 1 << 32), reverse=True)[:_NUMBERS_AT_MOST]


def _values(texts: Iterable[str], family: int) -> Iterator[tuple[Field, int]]:
    """Yield fields with the values that texts name."""
    for number in _numbers(texts):
        yield from ((name, number) for name in _NUMBERED if not number >> WIDTHS[name])
    for word in dict.fromkeys(w for text in texts for w in _ADDRESS.findall(text)):
        try:
            address = ip_address(word)
        except ValueError:
            continue
        if address.version == family:
            yield from ((name, int(address)) for name in _ADDRESSED)

"""How to send a flow: one value for checks, hosts and the agents in pods."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from pytest_fsmredir.model.flow import Address

Prepare = Callable[[socket.socket], None]
"""Called with a client socket before it is bound."""


class Sending(TypedDict, total=False):
    """The keywords of a datagram; see :class:`Dial`."""

    uid: int | None
    source: Address | None
    answer: bool
    prepare: Prepare | None


class Dialling(Sending, total=False):
    """The keywords of a TCP connection; see :class:`Dial`."""

    gid: int
    interface: str
    mapped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """How to send a flow. The keywords above give its attributes to the methods of a place.

    Attributes:
        uid: Owner of the client socket; None is the default user of the place, which is an
            application user (1000) in a pod.
        source: Local address to bind; port 0 lets the kernel choose the port, None both.
        answer: Make the destination listen. With False the destination refuses unless the check
            made it listen.
        prepare: Called with the client socket before it is bound.
        gid: Group that owns the client socket.
        interface: The pod's interface that the flow uses, for the report.
        mapped: Dial an IPv4 destination from an IPv6 socket, by its IPv4-mapped address.
    """

    uid: int | None = None
    source: Address | None = None
    answer: bool = True
    prepare: Prepare | None = None
    gid: int = 0
    interface: str = "eth0"
    mapped: bool = False


PLAIN = Dial()
"""The default."""

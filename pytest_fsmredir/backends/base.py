"""The interface between backends and checks: a mesh of pods, and places that flows start from.

What a backend may lack is in :mod:`.facets`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol, Unpack

from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.flow import Acceptance, Address, Fate, Route
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.dial import Dialling, Sending


class Place(Protocol):
    """A source or destination of flows: a pod, or a host outside.

    A destination is another place (its address is used) or an address as text.
    """

    @property
    def address(self) -> str:
        """The place's primary address in the family of the check."""
        ...

    def connect(self, to: Place | str, port: int, **how: Unpack[Dialling]) -> Fate:
        """Open a TCP connection, find out who accepted it, and close it.

        Args:
            to: Destination.
            port: Destination port.
            how: See :class:`pytest_fsmredir.traffic.dial.Dial`.
        """
        ...

    def open(self, to: Place | str, port: int, **how: Unpack[Dialling]) -> Connection:
        """Like :meth:`connect`, but the connection stays open until the caller's block ends."""
        ...

    def connect_all(
        self, to: Place | str, ports: Iterable[int], *, uid: int | None = None
    ) -> Iterator[Fate]:
        """Connect to many ports of one destination, several at once; no listener is opened."""
        ...

    def not_taking(
        self, route: Route, destinations: Iterable[Address], *, uid: int | None = None
    ) -> list[Address]:
        """Send the first packet of a flow to each destination; return those that need a look.

        Left out are the destinations whose first packet was seen to take the route. A backend that
        cannot send first packets alone returns all.

        Args:
            route: The expected route.
            destinations: Addresses of one place, where nobody should listen.
            uid: Owner of the sockets.
        """
        ...

    def owners_not_taking(
        self, route: Route, to: Place | str, port: int, owners: Iterable[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        """Like :meth:`not_taking`, for one destination and many owners: users with their groups."""
        ...

    def datagram(
        self, to: Place | str, port: int, *, payload: bytes = b"", **how: Unpack[Sending]
    ) -> Fate:
        """Send one UDP datagram to a destination that answers, and find out who received it.

        Args:
            to: Destination.
            port: Destination port.
            payload: Bytes that the answer must repeat.
            how: See :class:`pytest_fsmredir.traffic.dial.Dial`.
        """
        ...

    def ping(self, to: Place | str, *, uid: int | None = None, payload: bytes = b"") -> Fate:
        """Send one ICMP echo request and find out which host answered it.

        Args:
            to: Destination.
            uid: Owner of the socket; an application user (1000) by default in a pod.
            payload: Bytes that the answer must repeat, in addition to 8 bytes of the request.
        """
        ...

    def listen(self, port: int, *, host: str | None = None, uid: int | None = None) -> None:
        """Listen for TCP until the check ends, by default on all addresses of this place."""
        ...

    def listening(
        self, port: int, *, host: str | None = None, uid: int | None = None
    ) -> AbstractContextManager[None]:
        """Like :meth:`listen`, for the block."""
        ...


class Pod(Place, Protocol):
    """A pod with a sidecar, programmed by the implementation under test."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address of the pod except loopback, IPv4 first."""
        ...

    def acceptances(self) -> tuple[Acceptance, ...]:
        """Return every acceptance of the run so far, at any place, in order."""
        ...


class Mesh(Protocol):
    """The argument of a check: pods on demand, and the hosts around them.

    Attributes:
        family: IP version of this run of the check, 4 or 6.
        iptables: The iptables variant of this run of the check.
        timeout_s: How long a flow may take before it counts as unanswered.
        exhaustive: Whether to test whole ranges instead of samples.
        crowd: A large number of simultaneous connections that this backend still opens quickly.
    """

    family: int
    iptables: IptablesVariant
    timeout_s: float
    exhaustive: bool
    crowd: int

    @property
    def server(self) -> Place:
        """A host outside the pod that answers on every port."""
        ...

    @property
    def client(self) -> Place:
        """A host outside the pod that connects to pods; its address differs from the server's."""
        ...

    @property
    def node(self) -> Place:
        """The node that the pods run on, at its own address."""
        ...

    def pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
        fresh: bool = False,
    ) -> Pod:
        """Return a programmed pod with these settings.

        Checks share pods with equal settings, so a check that changes a pod must request a fresh
        one.

        Raises:
            Unmet: The implementation refused the configuration.
        """
        ...

    def bare_pod(self) -> Pod:
        """Return a fresh, unprogrammed pod with a running sidecar."""
        ...

    def try_pod(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        mesh_config: Mapping[str, Sequence[object]] | None = None,
    ) -> Programming:
        """Program a fresh pod with these settings, and return the result."""
        ...

    @property
    def highest_id(self) -> int:
        """The highest user and group id that can own flows; all lower ids can too."""
        ...

    def subnet(self, number: int) -> IPv4Network | IPv6Network:
        """Return a range of 256 remote addresses of the family; 0-99 do not touch each other."""
        ...

    def loopback(self) -> str:
        """Return the loopback address of the family."""
        ...

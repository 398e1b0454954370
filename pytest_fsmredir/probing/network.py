"""The interface between trials and backends: a pod, hosts around it, and flows between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.model.checks import Level
from pytest_fsmredir.model.claims import Proven
from pytest_fsmredir.model.flow import Fate, Flow
from pytest_fsmredir.probing.aim import ProbeFlow, ProbeTargets


class Hosts(Protocol):
    """A pod and the hosts around it, as sources and destinations of flows."""

    def listen(self, flow: Flow) -> None:
        """Make the destination of a flow answer, if it does not already."""
        ...

    def send(self, probes: Iterable[ProbeFlow]) -> Iterator[Fate]:
        """Send flows, several at once, and yield their fates in the given order."""
        ...


class TrialNetwork(Hosts, Protocol):
    """One unprogrammed pod and the hosts around it.

    Attributes:
        scene: The addresses of the pod and of the hosts.
        own_addresses: Every address of the pod except loopback.
    """

    scene: ProbeTargets
    own_addresses: tuple[str, ...]

    def program(self) -> Programming:
        """Run the implementation on the pod."""
        ...

    def search(self, level: Level) -> Proven:
        """Compare every flow of a level with the rules in the pod; call it before :meth:`send`."""
        ...

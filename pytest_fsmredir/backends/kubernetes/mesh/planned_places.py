"""Places of a mesh that sends nothing: every flow has the fate that its check expects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Unpack, cast

from pytest_fsmredir.agent.preparation import preparation_form
from pytest_fsmredir.backends.base import Place
from pytest_fsmredir.backends.places import WithoutFirstPackets
from pytest_fsmredir.model.flow import Acceptance, Fate
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.dial import Dialling, Sending

_CALLS = 2000  # of one check: stops a check that waits for an event that never happens here


class _Enough(Exception):
    """A check has made more calls than any check needs."""


class Budget:
    """The number of calls that the planning of one check may still make.

    Attributes:
        flows: Number of flows that would have been sent so far.
    """

    def __init__(self) -> None:
        self._left, self.flows = _CALLS, 0

    def spend(self) -> None:
        """Count one call."""
        self._left -= 1
        if self._left < 0:
            raise _Enough("it makes more calls than any check needs")


class Hopeful:
    """A stand-in for the result of a flow: each call, attribute and comparison succeeds."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def __getattr__(self, name: str) -> Hopeful:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: object, **__: object) -> Hopeful:
        """Return another stand-in."""
        self._budget.spend()
        return Hopeful(self._budget)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Hopeful]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __getitem__(self, _: object) -> Hopeful:
        return self

    def __eq__(self, _: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __enter__(self) -> Hopeful:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class PlannedPlace(WithoutFirstPackets):
    """A place that sends nothing; see :class:`pytest_fsmredir.backends.base.Place`."""

    def __init__(self, budget: Budget, address: str) -> None:
        self._budget, self.address = budget, address

    def connect(self, to: Place | str, port: int, **how: Unpack[Dialling]) -> Fate:
        """Return a stand-in."""
        del to, port
        preparation_form(how.get("prepare"))  # raises if it cannot be sent into a pod
        return cast("Fate", self._result())

    def open(self, to: Place | str, port: int, **how: Unpack[Dialling]) -> Connection:
        """Return a stand-in."""
        del to, port
        preparation_form(how.get("prepare"))
        return cast("Connection", self._result())

    def connect_all(
        self, to: Place | str, ports: Iterable[int], *, uid: int | None = None
    ) -> Iterator[Fate]:
        """Yield a stand-in for each port."""
        del to, uid
        return (cast("Fate", self._result()) for _ in ports)

    def datagram(
        self, to: Place | str, port: int, *, payload: bytes = b"", **how: Unpack[Sending]
    ) -> Fate:
        """Return a stand-in."""
        del to, port, payload
        preparation_form(how.get("prepare"))
        return cast("Fate", self._result())

    def ping(self, to: Place | str, *, uid: int | None = None, payload: bytes = b"") -> Fate:
        """Return a stand-in."""
        del to, uid, payload
        return cast("Fate", self._result())

    def listen(self, port: int, *, host: str | None = None, uid: int | None = None) -> None:
        """Do nothing."""

    def listening(
        self, port: int, *, host: str | None = None, uid: int | None = None
    ) -> AbstractContextManager[None]:
        """Do nothing."""
        del port, host, uid
        return nullcontext()

    def _result(self) -> Hopeful:
        self._budget.spend()
        self._budget.flows += 1
        return Hopeful(self._budget)


class PlannedPod(PlannedPlace):
    """A pod that is only ordered; see :class:`pytest_fsmredir.backends.base.Pod`."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The placeholder for its address."""
        return (self.address,)

    def acceptances(self) -> tuple[Acceptance, ...]:
        """Return a stand-in for each flow so far, as if one place had accepted it."""
        self._budget.spend()
        return (cast("Acceptance", Hopeful(self._budget)),) * self._budget.flows

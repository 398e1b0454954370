"""A pytest plugin for ``python -m benchmarks profile``: print where the time of a run goes.

Each phase has its wall time in the main thread, the processor time of this process, and that of
the programs that it started. A phase inside another one counts only for itself.
"""

from __future__ import annotations

import functools
import os
import resource
import select
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pytest

from pytest_fsmredir import procs
from pytest_fsmredir.backends.netns import namespace
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.sandbox import Sandbox
from pytest_fsmredir.plugin.collection import CheckItem
from pytest_fsmredir.probing import compared
from pytest_fsmredir.suite.runner import Runner
from pytest_fsmredir.traffic.engine import Engine
from pytest_fsmredir.traffic.host import Host
from pytest_fsmredir.traffic.tap import PacketTap

STARTED = "BENCHMARK_STARTED"
"""The environment variable with the start of the process, in seconds of the monotonic clock."""

PHASES = (
    "start", "collection", "backend", "pods", "programming", "flows", "waiting", "proofs", "checks",
    "removal", "report",
)  # fmt: skip
DEAREST = 20


@dataclass(slots=True)
class Spent:
    """Seconds that a phase or a check took.

    Attributes:
        wall: Wall time in the main thread.
        own: Processor time of this process.
        programs: Processor time of the programs that it started.
        count: How often it was entered.
    """

    wall: float = 0.0
    own: float = 0.0
    programs: float = 0.0
    count: int = 0


class Clock:
    """Divides the time of every thread among phases."""

    def __init__(self) -> None:
        self.spent: dict[str, Spent] = defaultdict(Spent)
        self._here = threading.local()
        self._main = threading.get_ident()

    @property
    def phase(self) -> str:
        """The current phase of this thread."""
        open_ = self._stack()
        return open_[-1] if open_ else "checks"

    @contextmanager
    def within(self, phase: str) -> Iterator[None]:
        """Count the block as a phase."""
        self._settle()
        self._stack().append(phase)
        self.spent[phase].count += 1
        try:
            yield
        finally:
            self._settle()
            self._stack().pop()

    def _stack(self) -> list[str]:
        if not hasattr(self._here, "stack"):
            self._here.stack, self._here.last = [], (time.perf_counter(), time.thread_time())
        stack: list[str] = self._here.stack
        return stack

    def _settle(self) -> None:
        """Add the time since the last change to the current phase."""
        spent, now = self.spent[self.phase], (time.perf_counter(), time.thread_time())
        if threading.get_ident() == self._main:
            spent.wall += now[0] - self._here.last[0]
        spent.own += now[1] - self._here.last[1]
        self._here.last = now


class Profile:
    """Measures one session."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.checks: dict[str, Spent] = defaultdict(Spent)
        self._instrument()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Measure the collection; what comes before it is the start."""
        start = self.clock.spent["start"]
        start.own = time.process_time()
        start.wall = time.monotonic() - float(os.environ.get(STARTED, time.monotonic()))
        start.programs = _programs()
        with self.clock.within("collection"):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Measure the checks."""
        with self.clock.within("checks"):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Measure one check, in all threads."""
        before = time.perf_counter(), time.process_time(), _programs()
        try:
            return (yield)
        finally:
            name = item.check.id if isinstance(item, CheckItem) else item.name
            spent = self.checks[name]
            spent.wall += time.perf_counter() - before[0]
            spent.own += time.process_time() - before[1]
            spent.programs += _programs() - before[2]
            spent.count += 1

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, object, object]:
        """Measure the report and the removal of what is left."""
        with self.clock.within("report"):
            return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Print the result."""
        print("\n".join(["", *self._table(), "", *self._dearest()]))

    def _table(self) -> Iterator[str]:
        yield f"{'phase':<14}{'wall':>9}{'processor':>12}{'programs':>11}{'times':>8}"
        for phase in PHASES:
            yield _row(phase, self.clock.spent[phase])
        known = sum(spent.own for spent in self.clock.spent.values())
        yield f"{'all':<14}{'':>9}{time.process_time():10.2f} s{_programs():9.2f} s"
        yield f"of which in no phase: {time.process_time() - known:.2f} s"

    def _dearest(self) -> Iterator[str]:
        def cost(item: tuple[str, Spent]) -> float:
            return item[1].own + item[1].programs

        yield f"{'check':<14}{'wall':>9}{'processor':>12}{'programs':>11}{'runs':>8}"
        for name, spent in sorted(self.checks.items(), key=cost, reverse=True)[:DEAREST]:
            yield _row(name, spent)

    def _instrument(self) -> None:
        """Make the suite's functions count for their phases.

        With the backend kind, "backend" is the image and the cluster, "pods" waits until all pods
        are up, and a flow counts as long as an agent takes to reply.
        """
        in_clusters: list[tuple[Any, str, str]] = []
        if find_spec("kubernetes") and find_spec("requests"):
            from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink
            from pytest_fsmredir.backends.kubernetes.pods.pool import PodPool

            in_clusters = [(AgentLink, "_exchange", "flows"), (PodPool, "take", "pods")]
        for owner, name, phase in (
            *in_clusters,
            (Runner, "_made", "backend"),
            (Runner, "prepare", "pods"),
            (Sandbox, "__init__", "pods"),
            (NetnsBackend, "new_site", "pods"),
            (Sandbox, "program", "programming"),
            (Host, "_dial", "flows"),
            (Host, "_ask", "flows"),
            (Host, "inject", "flows"),
            (Engine, "pump", "flows"),
            (Engine, "settle", "flows"),
            (PacketTap, "packets", "flows"),
            (compared, "_compared", "proofs"),
            (Sandbox, "close", "removal"),
            (Runner, "close", "removal"),
        ):
            setattr(owner, name, self._counted(getattr(owner, name), phase))
        self._count_waiting()
        self._count_threads()
        self._count_programs()

    def _counted(self, function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def measured(*args: object, **more: object) -> object:
            with self.clock.within(phase):
                return function(*args, **more)

        return measured

    def _count_waiting(self) -> None:
        clock = self.clock

        class Poll:
            """An epoll object whose waits are measured."""

            def __init__(self) -> None:
                self._epoll = select.epoll()

            def __getattr__(self, name: str) -> object:
                return getattr(self._epoll, name)

            def poll(self, timeout_s: float) -> list[tuple[int, int]]:
                if not timeout_s:
                    return self._epoll.poll(0)
                with clock.within("waiting"):
                    return self._epoll.poll(timeout_s)

        create = Engine.__init__

        def measured(engine: Engine) -> None:
            create(engine)
            engine._epoll.close()
            engine._epoll = Poll()  # type: ignore[assignment]

        setattr(Engine, "__init__", measured)  # noqa: B010

    def _count_threads(self) -> None:
        """Count a thread that enters a namespace for the phase that starts it."""
        for name in ("in_thread", "visiting"):
            setattr(namespace, name, self._inherited(getattr(namespace, name)))

    def _inherited(self, start: Callable[..., Any]) -> Callable[..., Any]:
        def measured(work: Callable[[], Any]) -> object:
            return start(self._counted(work, self.clock.phase))

        return measured

    def _count_programs(self) -> None:
        run = procs.run_any

        def measured(*args: Any, **more: Any) -> object:  # noqa: ANN401
            before = _programs()
            try:
                return run(*args, **more)
            finally:
                self.clock.spent[self.clock.phase].programs += _programs() - before

        setattr(procs, "run_any", measured)  # noqa: B010


def _row(name: str, spent: Spent) -> str:
    return f"{name:<14}{spent.wall:7.2f} s{spent.own:10.2f} s{spent.programs:9.2f} s{spent.count:8}"


def _programs() -> float:
    """Return the processor time of all programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def pytest_configure(config: pytest.Config) -> None:
    """Measure the session."""
    config.pluginmanager.register(Profile())

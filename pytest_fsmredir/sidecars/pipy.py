"""Real Pipy as the sidecar: a process of uid 1500 in the pod that runs our script."""

from __future__ import annotations

import fcntl
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path

from pytest_fsmredir import procs
from pytest_fsmredir.errors import BackendError, CommandError, PreflightError, tail
from pytest_fsmredir.model.flow import Acceptor, Address
from pytest_fsmredir.model.reserved import ANY, HEALTH_PORT, SIDECAR_UID
from pytest_fsmredir.sidecars.recorder import HEALTH_UID
from pytest_fsmredir.traffic.engine import READABLE, Engine, Seen
from pytest_fsmredir.traffic.host import Host

START_TIMEOUT_S = 10.0
"""Pipy opens its ports within 0.1 s; the limit allows for an overloaded machine."""

_PIPE_SIZE = 1024 * 1024  # about 4,000 flows; beyond that Pipy waits until the engine is pumped

_OPTIONS = ("--log-level=error", "--no-graph", "--no-reload", "--admin-port-off")

Enter = Callable[[Callable[[], procs.Running]], procs.Running]
"""Runs a function inside a pod and a new process namespace."""


class Pipy:
    """The Pipy program, and the records of all its processes in one run.

    The processes share one pipe. Our script writes a line atomically before it handles the flow. So
    when any consequence of a flow is visible, even after several sidecars, its line is already in
    the pipe, after the lines of its causes. Reading the whole pipe before logging anything else
    keeps all acceptances in order.
    """

    def __init__(self, binary: Path, script: Path, engine: Engine) -> None:
        """Open the program file.

        Raises:
            PreflightError: The program does not exist.
        """
        self._engine = engine
        self._script = script.read_text()
        self._names = count(1)
        self._running: dict[str, procs.Running] = {}
        self._ready: set[str] = set()
        self._ended: dict[str, str] = {}
        self._rest = b""
        with ExitStack() as undo:
            self._program = _open_program(binary)
            undo.callback(os.close, self._program)
            reading, self._writing = os.pipe()
            undo.callback(os.close, self._writing)
            self._reader = undo.enter_context(io.FileIO(reading))
            os.set_blocking(reading, False)
            with suppress(OSError):  # the machine limits the size for plain users
                fcntl.fcntl(self._writing, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
            engine.consult(self._heard)
            engine.watch(self._reader, READABLE, lambda _: engine.catch_up())
            undo.callback(engine.forget, self._reader)
            self._undo = undo.pop_all()

    def start(self, enter: Enter, orders: int, environment: Mapping[str, str]) -> str:
        """Start a process, wait until its ports are open, and return its name.

        Args:
            enter: Enters the pod.
            orders: Descriptor of the file that controls how it handles captured flows.
            environment: Further variables for the script.

        Raises:
            BackendError: It did not open its ports.
        """
        name = f"pipy-{next(self._names)}"
        env = {**environment, "FSM_NAME": name, "FSM_ORDERS": f"/proc/self/fd/{orders}"}
        # Descriptors make the program and the file accessible to uid 1500, wherever they are
        # stored. The script is an argument for the same reason.
        self._running[name] = enter(
            lambda: procs.spawn(
                [f"/proc/self/fd/{self._program}", *_OPTIONS, "-e", self._script],
                stdout=self._writing,
                last_words=json.dumps({"event": "ended", "name": name}),
                uid=SIDECAR_UID,
                gid=0,  # as in an FSM pod, where runAsGroup is not set
                env=env,
                inherited=[self._program, orders],
            )
        )
        try:
            self._await_ports(name)
        except BaseException:
            self.stop(name)
            raise
        return name

    def stop(self, name: str) -> None:
        """Kill a process; its flows end as if a sidecar dies."""
        self._running.pop(name).stop()
        self._ended.pop(name, None)

    def close(self) -> None:
        """Stop every process, and release the pipe."""
        for name in list(self._running):
            self.stop(name)
        self._undo.close()

    def _await_ports(self, name: str) -> None:
        if not self._engine.pump(lambda: name in self._ready, START_TIMEOUT_S):
            errors = tail(self._running[name].errors())
            raise BackendError(f"{name} has no ports after {START_TIMEOUT_S:.0f} s: {errors}")

    def _heard(self) -> Iterable[Seen]:
        seen = [acceptance for line in self._lines() if (acceptance := self._take(line))]
        if self._ended:
            # Otherwise the implementation would be blamed for the flows of a dead sidecar.
            raise BackendError("; ".join(self._ended.values()))
        return seen

    def _lines(self) -> list[bytes]:
        data = self._rest
        while chunk := self._reader.read(_PIPE_SIZE):
            data += chunk
        *lines, self._rest = data.split(b"\n")
        return lines

    def _take(self, line: bytes) -> Seen | None:
        record = json.loads(line)
        match record["event"]:
            case "open":
                original = record["original"]
                return (
                    Acceptor[record["by"]],
                    Address(*record["local"]),
                    Address(*record["peer"]),
                    Address(*original) if original else None,
                )
            case "ready":
                self._ready.add(record["name"])
            case "ended" if record["name"] in self._running:
                name = record["name"]
                errors = tail(self._running[name].errors())
                self._ended[name] = f"{name} has ended by itself: {errors}"
        return None


def pipy_version(program: Path) -> str:
    """Return Pipy's version, such as ``Pipy 1.5.18, commit 23ca70c9847d``.

    Raises:
        PreflightError: The program is not Pipy, or does not start.
    """
    try:
        lines = procs.run([str(program), "--version"]).splitlines()
    except (CommandError, OSError) as error:
        raise PreflightError(f"{program} does not start: {error}") from None
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if "Version" not in told:
        raise PreflightError(f"{program} is not Pipy: {program.name} --version names no version")
    return f"Pipy {told['Version']}, commit {told.get('Commit', 'unknown')[:12]}"


class PipySidecar:
    """The sidecar of one pod, with the interface of :class:`.recorder.Recorder`.

    Our script makes Pipy answer captured flows, as the recorder does. Otherwise a sweep of closed
    ports would show no capture. While forwarding, it behaves like FSM's sidecar.
    """

    def __init__(
        self,
        pipy: Pipy,
        host: Host,
        families: tuple[int, ...],
        own_addresses: set[str],
        enter: Enter,
    ) -> None:
        self._pipy, self._host, self._enter = pipy, host, enter
        self._families = families
        self._environment = {
            "POD_IPS": ",".join(sorted(own_addresses)),
            "FSM_LISTEN": ANY[max(families)],
        }
        self._forwarding = False
        self._services: Mapping[str, str] = {}
        self._orders: int | None = None
        self._undo = ExitStack()

    @property
    def forwarding(self) -> bool:
        """Forward captured flows instead of answering them."""
        return self._forwarding

    @forwarding.setter
    def forwarding(self, wanted: bool) -> None:
        self._forwarding = wanted
        self._order()

    @property
    def services(self) -> Mapping[str, str]:
        """Addresses that outbound forwarding replaces with others."""
        return self._services

    @services.setter
    def services(self, wanted: Mapping[str, str]) -> None:
        self._services = wanted
        self._order()

    def start(self) -> None:
        """Open every listener.

        Raises:
            BackendError: Pipy did not start.
        """
        with ExitStack() as undo:
            # The health responder is a separate container, not part of the sidecar.
            for family in self._families:
                health = self._host.listen(
                    Address(ANY[family], HEALTH_PORT), by=Acceptor.HEALTH, uid=HEALTH_UID
                )
                undo.callback(health.close)
            self._orders = os.memfd_create("fsmredir-orders")
            undo.callback(self._forget_orders, self._orders)
            self._order()
            name = self._pipy.start(self._enter, self._orders, self._environment)
            undo.callback(self._pipy.stop, name)
            self._undo = undo.pop_all()

    def stop(self) -> None:
        """Kill Pipy, and close the health responder."""
        self._undo.close()

    def _order(self) -> None:
        """Write the file that Pipy reads whenever it accepts a captured flow."""
        if self._orders is not None:
            orders = {"answer": not self._forwarding, "services": dict(self._services)}
            os.ftruncate(self._orders, 0)
            os.pwrite(self._orders, json.dumps(orders).encode(), 0)

    def _forget_orders(self, descriptor: int) -> None:
        self._orders = None
        os.close(descriptor)


def _open_program(binary: Path) -> int:
    if not os.access(binary, os.X_OK):
        raise PreflightError(f"there is no Pipy program at {binary}")
    return os.open(binary, os.O_RDONLY | os.O_CLOEXEC)

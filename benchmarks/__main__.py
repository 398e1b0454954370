"""Measure the performance targets: ``python -m benchmarks [flows|fuzz|import|runs|exhaustive]``.

Each figure is the median of several rounds. If a target is a ratio, both sides are measured
alternately in the same run, so that a slow or busy machine slows both.

``python -m benchmarks profile [ARGUMENTS OF PYTEST]`` prints where the time of one run goes.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.phases import STARTED
from pytest_fsmredir.backends.netns import privileges
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.kernel import set_owner
from pytest_fsmredir.backends.netns.programs import default_variant
from pytest_fsmredir.implementations.reference.programming import Reference
from pytest_fsmredir.model.checks import MUST
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.features import ALL_FEATURES
from pytest_fsmredir.model.reserved import OUTBOUND_PORT
from pytest_fsmredir.traffic.sockets import SO_ORIGINAL_DST

ROUNDS = 7
FLOWS = 2000
PORT = 8080
POLICIES = 30


def flows() -> None:
    """Compare the suite's connect() with a bare loop of connect and accept, over the same rules."""
    variant = default_variant()
    backend = NetnsBackend(Reference(), families=(4,), timeout_s=5.0)
    mesh = backend.mesh(4, variant, exhaustive=False)
    pod = mesh.pod()
    server = mesh.server.address
    site = backend.new_site(Configuration(), second_interface=False)
    backend.program(site, variant, backend.confinement)
    site.sidecar.stop()  # the bare loop itself listens there

    def ours() -> None:
        for _ in range(FLOWS):
            assert pod.connect(server, PORT, answer=False).captured_outbound  # noqa: S101

    def many() -> None:
        fates = list(pod.connect_all(server, [PORT] * FLOWS))
        assert all(fate.captured_outbound for fate in fates)  # noqa: S101

    def bare_loop() -> None:
        site.namespace.run(lambda: _bare_loop(server))

    bare, single, batch = _in_turn([bare_loop, ours, many], rounds=ROUNDS)
    print(f"bare loop of connect and accept   {bare:8.0f} flows/s")
    print(f"connect()                         {single:8.0f} flows/s  {single / bare:5.2f} of bare")
    print(f"connect_all()                     {batch:8.0f} flows/s  {batch / bare:5.2f} of bare")
    site.close()
    mesh.close()
    backend.close()


def _bare_loop(server: str) -> None:
    listener = socket.create_server(("0.0.0.0", OUTBOUND_PORT), backlog=16)  # noqa: S104
    with listener:
        for _ in range(FLOWS):
            set_owner(1000, 1000)
            client = socket.socket()
            set_owner(0, 0)
            client.connect((server, PORT))
            accepted, _ = listener.accept()
            accepted.getsockopt(socket.IPPROTO_IP, SO_ORIGINAL_DST, 16)
            accepted.close()
            client.close()


def _in_turn(loops: list[Callable[[], None]], rounds: int) -> list[float]:
    """Return the median rate of each loop; each round measures all loops in turn."""
    rates: list[list[float]] = [[] for _ in loops]
    for _ in range(rounds):
        for loop, kept in zip(loops, rates, strict=True):
            started = time.perf_counter()
            loop()
            kept.append(FLOWS / (time.perf_counter() - started))
    return [statistics.median(kept) for kept in rates]


def plugin_import() -> None:
    """Measure the time that the plugin adds to the start of a pytest run that does not use it."""
    script = (
        "import time, pytest; t = time.perf_counter(); import pytest_fsmredir.plugin;"
        " print((time.perf_counter() - t) * 1000)"
    )
    times = [float(subprocess.check_output([sys.executable, "-c", script])) for _ in range(ROUNDS)]
    print(f"plugin import                     {statistics.median(times):8.1f} ms (target: 30)")


def runs() -> None:
    """Measure the default run: one variant in one IP version and in both, then both variants."""
    for label, arguments, target in (
        ("one variant, IPv4", ["--fsm-ip=4"], 3),
        ("one variant, IPv4 and IPv6", [], 3),
        ("both variants, IPv4 and IPv6", ["--fsm-iptables=both"], 6),
    ):
        _report(label, arguments, target, rounds=3)


def exhaustive() -> None:
    """Measure a run over every TCP port in both directions."""
    _report("every port both ways", ["--fsm-exhaustive", "--fsm-ip=4"], 20, rounds=1)


def fuzz() -> None:
    """Measure generated policies: flows judged per second, including the creation of pods."""
    from pytest_fsmredir.fuzz.checks import campaign_on

    backend = NetnsBackend(Reference(), families=(4, 6), timeout_s=5.0)
    for family in (4, 6):
        mesh = backend.mesh(family, default_variant(), exhaustive=False)
        used = _cpu_s()
        result = campaign_on(mesh, ALL_FEATURES).search(policies=POLICIES, seed=0, level=MUST)
        rate, of_cpu = result.flows / result.seconds, result.flows / (_cpu_s() - used)
        print(
            f"generated policies, IPv{family}          {rate:8.0f} judged flows/s (target: 2000)"
            f"   {of_cpu:5.0f} a second of processor time"
        )
        mesh.close()
    backend.close()


def profile(arguments: Iterable[str]) -> int:
    """Print where the time of one conformance run goes, and return its exit status."""
    argv = [sys.executable, "-m", "pytest", "-p", "benchmarks.phases", "--fsm-conformance", "-q"]
    root = str(Path(__file__).parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as empty:
        return subprocess.call(
            [*argv, "-p", "no:cacheprovider", *arguments],
            cwd=empty,
            env=os.environ | {"PYTHONPATH": paths, STARTED: str(time.monotonic())},
        )


def _cpu_s() -> float:
    """Return the processor time of this process and its children."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _report(label: str, arguments: Iterable[str], target_s: int, rounds: int) -> None:
    measured = [_run(arguments) for _ in range(rounds)]
    seconds = statistics.median(seconds for seconds, _ in measured)
    mebibytes = statistics.median(mebibytes for _, mebibytes in measured)
    print(f"{label:<33} {seconds:8.2f} s (target: {target_s})   {mebibytes:5.0f} MB (target: 250)")


def _run(arguments: Iterable[str]) -> tuple[float, float]:
    """Return (seconds, peak MiB) of one conformance run in an empty directory."""
    argv = [sys.executable, "-m", "pytest", "--fsm-conformance", "-q", "-p", "no:cacheprovider"]
    with tempfile.TemporaryDirectory() as empty:
        started = time.perf_counter()
        process = subprocess.Popen(
            [*argv, *arguments], cwd=empty, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    if status != 0:
        print(f"  (the run ended with status {os.waitstatus_to_exitcode(status)})")
    return seconds, usage.ru_maxrss / 1024


MEASUREMENTS = {
    "import": plugin_import,
    "runs": runs,
    "exhaustive": exhaustive,
    "fuzz": fuzz,
    "flows": flows,
}


def main(names: list[str]) -> int:
    """Run the named measurements, or all."""
    if names[:1] == ["profile"]:
        return profile(names[1:])
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; known: {', '.join(MEASUREMENTS)}", file=sys.stderr)
        return 2
    if {"flows", "fuzz"} & set(names or MEASUREMENTS):
        privileges.acquire("auto")
    for name in names or MEASUREMENTS:
        MEASUREMENTS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

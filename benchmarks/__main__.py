"""Measure the performance targets: ``python -m benchmarks [NAMES]``.

The names are bare, flows, fuzz, import, nodes, runs, exhaustive and scale; none means all.

Each figure is the median of several rounds. If a target is a ratio, both sides are measured
alternately in the same run, so that a slow or busy machine slows both.

A bare redirected flow, the unit of ``runs``, is one TCP connection of one thread in one pod that
the reference has programmed, over IPv4: a blocking socket of user 1000, ``connect`` to a remote
address, ``accept`` at the sidecar's port, ``SO_ORIGINAL_DST``, and ``close`` at both ends. No data
is sent, nothing is logged, and there is no event loop. ``bare`` is the processor time, user and
system, of 10,000 of them, one after the other, without the time to create the pod.

``python -m benchmarks profile [ARGUMENTS OF PYTEST]`` prints where the time of one run goes.
"""

from __future__ import annotations

import atexit
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.nodes import nodes
from benchmarks.phases import STARTED
from benchmarks.workers import NOTES
from pytest_fsmredir.backends.netns import privileges
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.kernel import set_owner
from pytest_fsmredir.backends.netns.programs import default_variant
from pytest_fsmredir.backends.netns.wiring import SERVER
from pytest_fsmredir.implementations.reference.programming import Reference
from pytest_fsmredir.model.checks import MUST
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.features import ALL_FEATURES
from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.model.reserved import OUTBOUND_PORT
from pytest_fsmredir.rules import live
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.prove import Prover
from pytest_fsmredir.traffic.sockets import SO_ORIGINAL_DST

ROUNDS = 7
RUNS = 5
FLOWS = 2000
BARE_FLOWS = 10_000
LONG = 10_000
_NO_CACHE = "PYTHONDONTWRITEBYTECODE"
_AGAIN = (sys.executable, "-m", "benchmarks")
PORT = 8080
POLICIES = 30
_TAIL = 40  # lines of a failed run


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
        site.namespace.run(lambda: _bare_loop(server, FLOWS))

    bare, single, batch = _in_turn([bare_loop, ours, many], rounds=ROUNDS)
    print(f"bare loop of connect and accept   {bare:8.0f} flows/s")
    print(f"connect()                         {single:8.0f} flows/s  {single / bare:5.2f} of bare")
    print(f"connect_all()                     {batch:8.0f} flows/s  {batch / bare:5.2f} of bare")
    site.close()
    mesh.close()
    backend.close()


def _bare_loop(server: str, count: int) -> None:
    """Open bare redirected flows; see the docstring of this module."""
    listener = socket.create_server(("0.0.0.0", OUTBOUND_PORT), backlog=16)  # noqa: S104
    with listener:
        for _ in range(count):
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
    """Measure the imports that the plugin adds to a pytest run that does not use it."""
    with tempfile.TemporaryDirectory() as empty:
        environment = {key: text for key, text in os.environ.items() if key != _NO_CACHE}
        environment["PYTHONPYCACHEPREFIX"] = str(Path(empty, "compiled"))
        argv = [sys.executable, "-X", "importtime", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        times = []
        for _ in range(ROUNDS + 1):
            done = subprocess.run(argv, cwd=empty, env=environment, capture_output=True, text=True)
            ours = [line for line in done.stderr.splitlines() if " pytest_fsmredir" in line]
            times.append(sum(int(line.split(":")[1].split("|")[0]) for line in ours) / 1000)
    least = min(times[1:])  # the first run compiles, and a busy machine only adds
    print(f"plugin import                     {least:8.1f} ms (target: 5)")


def runs() -> None:
    """Measure the default run: one variant in one IP version and in both, then both variants."""
    cases = {
        "one variant, IPv4": (["--fsm-ip=4"], 1.5),
        "one variant, IPv4 and IPv6": ([], 3.0),
        "both variants, IPv4 and IPv6": (["--fsm-iptables=both"], 6.0),
    }
    bare: list[float] = []
    measured: dict[str, list[Run]] = {label: [] for label in cases}
    for _ in range(RUNS):
        bare.append(float(subprocess.check_output([*_AGAIN, "bare"])))
        for label, (arguments, _) in cases.items():
            measured[label].append(_run(arguments))
    loop = statistics.median(bare)
    print(f"{BARE_FLOWS} bare redirected flows        {loop:8.2f} s of processor time")
    for label, (_, target) in cases.items():
        ratio = statistics.median(
            run.processor_s / once for run, once in zip(measured[label], bare, strict=True)
        )
        print(f"{_described(label, measured[label])}   {ratio:5.2f} of bare (target: {target})")


def bare() -> None:
    """Print the processor time of a bare loop of redirected flows, in seconds."""
    backend = NetnsBackend(Reference(), families=(4,), timeout_s=5.0)
    site = backend.new_site(Configuration(), second_interface=False)
    backend.program(site, default_variant(), backend.confinement)
    site.sidecar.stop()
    before = _cpu_s()
    site.namespace.run(lambda: _bare_loop(SERVER[4], BARE_FLOWS))
    print(f"{_cpu_s() - before:.2f}")
    site.close()
    backend.close()


def exhaustive() -> None:
    """Measure a run over every TCP port in both directions, alone and with two workers."""
    arguments, alone, shared = ["--fsm-exhaustive", "--fsm-ip=4"], list[Run](), list[Run]()
    for _ in range(3):
        alone.append(_run(arguments))
        shared.append(_run([*arguments, "-n", "2"]))
    print(f"{_described('every port both ways', alone)}   (target: 20 s of processor time)")
    pairs = list(zip(alone, shared, strict=True))
    seen = statistics.median(one.wall_s / two.wall_s for one, two in pairs)
    idle = statistics.median(one.processor_s / (two.own_s + two.longest_s) for one, two in pairs)
    print(
        f"{_described('the same with -n 2', shared)}   {seen:5.2f} times as fast (target: 1.8);"
        f" {idle:.2f} on two idle cores, by the processor time of the controller and of the longer"
        f" worker, which has {statistics.median(two.share for two in shared):.0%} of both"
    )


def scale() -> None:
    """Measure a pod with long lists: how long it takes to program it, and to prove its rules."""
    ports = ",".join(str(1024 + 3 * n) for n in range(LONG))
    ranges = {
        4: ",".join(f"100.{n // 256}.{n % 256}.0/25" for n in range(LONG)),
        6: ",".join(f"2001:db8:{n:x}::/49" for n in range(LONG)),
    }
    backend = NetnsBackend(Reference(), families=(4, 6), timeout_s=5.0)
    for family, listed in ranges.items():
        lists = {
            "flomesh.io/outbound-ip-range-exclusion-list": listed,
            "flomesh.io/outbound-port-exclusion-list": ports,
        }
        start = _cpu_s()
        mesh = backend.mesh(family, default_variant(), exhaustive=False)
        pod = mesh.pod(annotations=lists)
        programmed = _cpu_s()
        site = backend.shared_site(pod.configuration, default_variant(), second_interface=False)
        run = site.init_run(backend.toolbox(default_variant()), backend.confinement)
        rules = live.read(run.run(live.command()).stdout)
        prover = Prover(
            rules, pod.configuration.policy(), family, Surroundings({"eth0": pod.addresses})
        )
        proved = all([prover.prove(direction).proved for direction in Direction])
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{LONG} ranges, {LONG} ports, IPv{family}   programmed in {programmed - start:.2f} s,"
            f" {'proved' if proved else 'NOT PROVED'} in {_cpu_s() - programmed:.2f} s of processor"
            f" time (target: 10), {memory:.0f} MB (target: 400)"
        )
        mesh.close()
    backend.close()


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


@dataclass(frozen=True, slots=True)
class Run:
    """The cost of one conformance run.

    Attributes:
        wall_s: Seconds from its start to its end.
        processor_s: Seconds of processor time, with all programs that it started.
        mebibytes: Its peak memory.
        own_s: Seconds of processor time of the first process alone.
        workers_s: Those of each worker, with all programs that it started.
    """

    wall_s: float
    processor_s: float
    mebibytes: float
    own_s: float
    workers_s: tuple[float, ...]

    @property
    def longest_s(self) -> float:
        """Seconds of processor time of the worker that needs most."""
        return max(self.workers_s)

    @property
    def share(self) -> float:
        """The share of that worker in the processor time of all workers."""
        return self.longest_s / sum(self.workers_s)


def _described(label: str, measured: Sequence[Run]) -> str:
    """Return the medians of some runs as text."""
    processor = statistics.median(run.processor_s for run in measured)
    wall = statistics.median(run.wall_s for run in measured)
    mebibytes = statistics.median(run.mebibytes for run in measured)
    return f"{label:<33} {processor:8.2f} s of processor time, {wall:.2f} s, {mebibytes:.0f} MB"


def _run(arguments: Iterable[str]) -> Run:
    """Return the cost of one conformance run in an empty directory."""
    plugins = ["-p", "no:cacheprovider", "-p", "benchmarks.workers"]
    argv = [sys.executable, "-m", "pytest", "--fsm-conformance", "-q", *plugins]
    with (
        tempfile.TemporaryDirectory() as empty,
        tempfile.TemporaryDirectory() as notes,
        tempfile.TemporaryFile("w+") as printed,
    ):
        started = time.perf_counter()
        process = subprocess.Popen(
            [*argv, *arguments],
            cwd=empty,
            env=_environment() | {NOTES: notes},
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        if status != 0:
            printed.seek(0)
            tail = printed.readlines()[-_TAIL:]
            print(f"a run ended with status {os.waitstatus_to_exitcode(status)}:")
            print("".join(tail))
        noted = {path.name: float(path.read_text()) for path in Path(notes).iterdir()}
    processor, own = usage.ru_utime + usage.ru_stime, noted.pop("controller", 0.0)
    return Run(seconds, processor, usage.ru_maxrss / 1024, own, tuple(noted.values()))


def _environment() -> dict[str, str]:
    """Return the environment of a user's run: this folder's modules, compiled if they were used."""
    root = str(Path(__file__).parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    kept = {key: text for key, text in os.environ.items() if key != _NO_CACHE}
    return kept | {"PYTHONPATH": paths, "PYTHONPYCACHEPREFIX": _compiled()}


@cache
def _compiled() -> str:
    """Return a folder for compiled modules, which ends with this process."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return folder.name


MEASUREMENTS = {
    "bare": bare,
    "import": plugin_import,
    "runs": runs,
    "exhaustive": exhaustive,
    "fuzz": fuzz,
    "scale": scale,
    "nodes": nodes,
    "flows": flows,
}


def main(names: list[str]) -> int:
    """Run the named measurements, or all."""
    if {"-h", "--help"} & set(names[:1]):
        print(__doc__)
        return 0
    if names[:1] == ["profile"]:
        return profile(names[1:])
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; known: {', '.join(MEASUREMENTS)}", file=sys.stderr)
        return 2
    if {"bare", "flows", "fuzz", "scale"} & set(names or MEASUREMENTS):
        privileges.acquire("auto")
    for name in names or MEASUREMENTS:
        MEASUREMENTS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

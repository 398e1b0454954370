"""One pod: its namespace, links and sidecar, and the runs of the implementation on it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pytest_fsmredir import scratch
from pytest_fsmredir.backends.netns.losses import losses
from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.backends.netns.programs import Confinement, Tools, run_inside
from pytest_fsmredir.backends.netns.wiring import VethLink, family_of, wire_pod
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.backends.transcripts import Ran
from pytest_fsmredir.implementations.base import (
    Completed,
    Implementation,
    IptablesVariant,
    Refused,
)
from pytest_fsmredir.implementations.environment import contract_environment, list_files
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.sidecars.base import SidecarProcess
from pytest_fsmredir.traffic.engine import Engine
from pytest_fsmredir.traffic.host import Host


@dataclass(frozen=True, kw_only=True)
class InitRun:
    """A pod as the implementation sees it: runs commands in the pod with the environment of FSM.

    Satisfies :class:`pytest_fsmredir.implementations.base.Target`.

    Attributes:
        ran: The programs that it has run.
    """

    name: str
    addresses: tuple[str, ...]
    configuration: Configuration
    namespace: Namespace
    toolbox: Tools
    scratch: Path
    confinement: Confinement
    ran: list[Ran] = field(default_factory=list)

    @property
    def iptables(self) -> IptablesVariant:
        """The variant of the iptables programs on PATH."""
        return self.toolbox.variant

    def run(self, argv: Sequence[str], stdin: str = "") -> Completed:
        """Run a program inside the pod according to the contract."""
        work = scratch.directory("work", self.scratch)
        done = run_inside(
            self.namespace,
            argv,
            stdin=stdin,
            env=self.environment,
            cwd=work,
            confinement=self.confinement,
        )
        self.ran.append(Ran(argv, stdin, done))
        return done

    @cached_property
    def environment(self) -> dict[str, str]:
        """The environment of the programs."""
        pod, mesh_config = self.scratch / "pod.json", self.scratch / "mesh-config.json"
        _write(pod, json.dumps(self.configuration.pod_document(self.name)))
        _write(mesh_config, json.dumps(self.configuration.mesh_config_document()))
        lists = self.scratch / "lists"
        lists.mkdir(exist_ok=True)
        for name, text in list_files(self.configuration.effective()).items():
            _write(lists / name, text)
        env = contract_environment(
            self,
            pod_file=pod,
            mesh_config_file=mesh_config,
            lists=lists,
            path=self.toolbox.path,
        )
        # Legacy iptables has one lock for the whole machine by default; each pod gets its own.
        env["XTABLES_LOCKFILE"] = str(lock_of(self.scratch))
        return env


MakeSidecar = Callable[["Sandbox"], SidecarProcess]
"""Creates the sidecar of a pod that already has its namespace, links and host."""


class Sandbox:
    """A pod. Each check that uses it has a separate handle on it.

    Attributes:
        links: Its links, the primary one first.
        configuration: The input of the next run of the implementation.
        host: Starts and receives the pod's flows.
        namespace: Its network namespace.
        sidecar: Its sidecar.
        was_programmed: The implementation has run on it.
        history: The configuration of each run, the last one last.
        programming: The result of the last run of the implementation.
        last_run: What the implementation saw in that run; None if there was none.
    """

    def __init__(
        self,
        engine: Engine,
        world: Namespace,
        links: tuple[VethLink, ...],
        timeout_s: float,
        make_sidecar: MakeSidecar,
    ) -> None:
        self.links = links
        self.configuration = Configuration()
        self.was_programmed = False
        self.history: list[Configuration] = []
        self.programming = Programming(accepted=False, reason="it was never programmed")
        self.last_run: InitRun | None = None
        self._scratch = scratch.directory(self.link.outside)
        with ExitStack() as undo:
            self.namespace = Namespace()
            undo.callback(self.namespace.close)
            self.host = Host(engine, self.namespace.socket, timeout_s)
            self.sidecar = make_sidecar(self)
            undo.callback(self.sidecar.stop)
            self.namespace.run(lambda: self._furnish(world))  # enter the namespace only once
            self._undo = undo.pop_all()

    def _furnish(self, world: Namespace) -> None:
        wire_pod(self.namespace, world, self.links)
        self.sidecar.start()

    @property
    def lock(self) -> Path:
        """The lock file of legacy iptables."""
        return lock_of(self._scratch)

    @property
    def link(self) -> VethLink:
        """The primary link, ``eth0``."""
        return self.links[0]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address, IPv4 first."""
        every = [address for link in self.links for address in link.addresses]
        return tuple(sorted(every, key=family_of))

    def init_run(self, toolbox: Tools, confinement: Confinement) -> InitRun:
        """Return the implementation's view of this pod for one run."""
        return InitRun(
            name=self.link.outside,
            addresses=self.addresses,
            configuration=self.configuration,
            namespace=self.namespace,
            toolbox=toolbox,
            scratch=self._scratch,
            confinement=confinement,
        )

    def program(self, implementation: Implementation, run: InitRun) -> Programming:
        """Run the implementation, and store the result."""
        asked = self.configuration
        self.was_programmed, self.last_run = True, run
        self.history.append(asked)
        try:
            implementation.program(run)
        except Refused as why:
            self.programming = Programming(
                accepted=False, reason=str(why), silent=why.silent, configuration=asked
            )
        else:
            self.programming = Programming(accepted=True, configuration=asked)
        return self.programming

    def losses(self) -> list[str]:
        """Return the links, addresses and routes that the implementation removed."""
        if not self.was_programmed:
            return []
        return self.namespace.run(lambda: list(losses(self.links)))

    def close(self) -> None:
        """Remove the pod; the kernel removes its links."""
        self._undo.close()


def _write(path: Path, text: str) -> None:
    """Write a file; a file object would take twice as long, and each pod has seven files."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        left = memoryview(os.fsencode(text))
        while left:
            left = left[os.write(file, left) :]
    finally:
        os.close(file)


def lock_of(scratch_directory: Path) -> Path:
    """Return the lock file of legacy iptables in a pod with that scratch directory."""
    return scratch_directory / "xtables.lock"

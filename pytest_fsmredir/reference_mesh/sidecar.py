"""Run the sidecar and the health responder of the reference mesh in injected pods."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NoReturn

from pytest_fsmredir.agent.pod import ContainerHost
from pytest_fsmredir.agent.users import OwnedSockets
from pytest_fsmredir.model.flow import Acceptance, Acceptor, Address
from pytest_fsmredir.model.reserved import (
    ANY,
    HEALTH_PORT,
    LIVENESS_PORT,
    READINESS_PORT,
    STARTUP_PORT,
)
from pytest_fsmredir.sidecars.recorder import Recorder
from pytest_fsmredir.traffic.engine import Engine
from pytest_fsmredir.traffic.probes import health_responder

_ALL_PROBE_PORTS = f"{LIVENESS_PORT},{READINESS_PORT},{STARTUP_PORT}"
_FLOWS = 400  # concurrent flows with two descriptors each: below the usual limit of 1024
_IDLE_S = 3600.0
_DIAL_S = 60.0  # FSM's spec.sidecar.sidecarTimeout


class ForgetfulEngine(Engine):
    """An engine that keeps no log, because it may run for months."""

    def __init__(self) -> None:
        super().__init__()
        self._accepted = 0

    def accepted(
        self, by: Acceptor, local: Address, peer: Address, original: Address | None
    ) -> Acceptance:
        """Return an acceptance without logging it."""
        self._accepted += 1
        return Acceptance(self._accepted, by, local, peer, original)

    def run(self) -> NoReturn:
        """Serve all sockets until a signal ends the process."""
        while True:
            self.pump(lambda: False, _IDLE_S)


def run_sidecar(environment: Mapping[str, str]) -> NoReturn:
    """Accept redirected flows, and forward them."""
    engine = ForgetfulEngine()
    addresses = _addresses(environment)
    # FSM's injector does not set FSM_PROBE_PORTS, so answer probes on all of their ports.
    ports = environment.get("FSM_PROBE_PORTS", _ALL_PROBE_PORTS).split(",")
    recorder = Recorder(
        ContainerHost(engine, OwnedSockets(), _DIAL_S),
        _families(addresses),
        set(addresses),
        health=False,
        probe_ports=frozenset(int(port) for port in ports if port),
        forwarding_limit=_FLOWS,
    )
    recorder.forwarding = True
    recorder.start()
    engine.run()


def run_health(environment: Mapping[str, str]) -> NoReturn:
    """Answer the kubelet's rewritten tcpSocket probes, which ask whether a port accepts."""
    engine = ForgetfulEngine()
    host = ContainerHost(engine, OwnedSockets(), _DIAL_S)
    serve = health_responder(host, os.geteuid())
    for family in _families(_addresses(environment)):
        host.listen(Address(ANY[family], HEALTH_PORT), by=Acceptor.HEALTH, serve=serve)
    engine.run()


def _addresses(environment: Mapping[str, str]) -> list[str]:
    """Return the pod's addresses; FSM's injector sets only POD_IP, the first address."""
    text = environment.get("POD_IPS") or environment.get("POD_IP") or ""
    return [address for address in text.split(",") if address]


def _families(addresses: list[str]) -> tuple[int, ...]:
    return tuple(sorted({Address(host, 0).family for host in addresses})) or (4,)

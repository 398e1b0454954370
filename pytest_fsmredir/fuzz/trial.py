"""Trying one configuration: a pod of its own, programmed, and every flow aimed at it judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from pytest_fsmredir.backends.base import Mesh, Pod
from pytest_fsmredir.fuzz.aim import APP_UIDS, Probe, Scene, probes
from pytest_fsmredir.fuzz.judge import claim, level_of
from pytest_fsmredir.spec.checks import Level
from pytest_fsmredir.spec.configuration import Configuration
from pytest_fsmredir.spec.features import Feature
from pytest_fsmredir.spec.flow import Address, Claim, Direction, Fate, Flow, Protocol, Route
from pytest_fsmredir.spec.oracle import expected
from pytest_fsmredir.spec.policy import Policy
from pytest_fsmredir.spec.reserved import SIDECAR_UID

NewMesh = Callable[[], AbstractContextManager[Mesh]]

_PAYLOAD = b"fsmredir"
_SILENT_ENOUGH = 3  # flows left without an answer, each for the whole timeout, before we give up


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """An implementation and the specification disagree.

    Attributes:
        configuration: Under which.
        level: How binding what the specification says is.
        probe: The flow; None when the implementation refused the configuration.
        expected: What the specification says.
        seen: What happened.
    """

    configuration: Configuration
    level: Level
    probe: Probe | None
    expected: str
    seen: str

    @property
    def unanswered(self) -> bool:
        """Nobody answered, which took a while to find out."""
        return self.seen == "no answer"

    def __str__(self) -> str:
        said = f"expected {self.expected}; seen {self.seen}"
        return f"{settings_text(self.configuration)}: {self.probe or 'programming'}: {said}"


class Trials:
    """Tries configurations on pods of one kind.

    Attributes:
        flows: Flows judged so far.
        pods: Pods made so far.
    """

    def __init__(self, new_mesh: NewMesh, features: frozenset[Feature]) -> None:
        self.flows = 0
        self.pods = 0
        self._new_mesh = new_mesh
        self._hairpin = Feature.HAIRPIN in features

    def disagreements(
        self, configuration: Configuration, *, listening: bool = False
    ) -> Iterator[Disagreement]:
        """Yield every disagreement on a configuration as it is found.

        Args:
            configuration: A valid one.
            listening: Let every destination listen, so that a flow which should not have reached
                it tells so; else only those that ought to be reached, which is faster.
        """
        policy = configuration.policy()
        with self._new_mesh() as mesh:
            self.pods += 1
            pod = mesh.bare_pod(second_interface=bool(policy.network_interface_exclusion_list))
            programming = pod.try_program(
                annotations=configuration.annotations, mesh_config=configuration.traffic
            )
            if programming.refused:
                yield _refusal(configuration, policy, programming.reason)
                return
            yield from self._on_pod(configuration, policy, mesh, pod, listening)

    def _on_pod(
        self, configuration: Configuration, policy: Policy, mesh: Mesh, pod: Pod, listening: bool
    ) -> Iterator[Disagreement]:
        silent = 0
        for probe in self._probes(policy, mesh, pod):
            verdict = self._judged(probe, policy, mesh, pod, listening)
            if verdict:
                continue
            yield Disagreement(
                configuration=configuration,
                level=level_of(policy, probe.flow, pod.address),
                probe=probe,
                expected=verdict.expected,
                seen=verdict.fate.seen,
            )
            silent += verdict.fate.lost == "no answer"
            if silent >= _SILENT_ENOUGH:
                return

    def _judged(
        self, probe: Probe, policy: Policy, mesh: Mesh, pod: Pod, listening: bool
    ) -> Claim:
        """Send a flow, a second time if nobody answered: a packet can get lost on a busy host."""
        direct = expected(policy, probe.flow, pod.addresses) is Route.DIRECT
        for _ in range(2):
            fate = send(probe, mesh, pod, answer=direct or listening)
            self.flows += 1
            if fate.lost != "no answer":
                break
        return claim(policy, fate, pod.addresses)

    def _probes(self, policy: Policy, mesh: Mesh, pod: Pod) -> Iterator[Probe]:
        second = bool(policy.network_interface_exclusion_list)
        scene = Scene(
            family=mesh.family,
            server=mesh.server.address,
            pod=pod.address,
            loopback=mesh.loopback(),
            silent=mesh.silent_address(),
            second=pod.second_interface_address if second else None,
            beyond=mesh.beyond_second_interface() if second else None,
        )
        for probe in probes(policy, scene):
            if self._hairpin or not is_hairpin(probe.flow, pod.address):
                yield probe


def send(probe: Probe, mesh: Mesh, pod: Pod, *, answer: bool) -> Fate:
    """Send a flow and return its fate.

    Args:
        probe: What to send.
        mesh: Around the pod.
        pod: Where it starts or ends.
        answer: Let the destination listen.
    """
    flow = probe.flow
    (host, port), place = flow.destination, pod if flow.uid is not None else mesh.client
    if flow.protocol is Protocol.UDP:
        return place.datagram(host, port, uid=flow.uid, payload=_PAYLOAD)
    source = None
    if probe.source_port is not None:
        source = Address(place.address, probe.source_port)
    return place.connect(
        host, port, uid=flow.uid, source=source, answer=answer, interface=flow.interface
    )


def simplicity(probe: Probe | None) -> tuple[object, ...]:
    """Return a key that sorts the simplest flow first; among equals the order given decides."""
    if probe is None:
        return ()
    flow = probe.flow
    uids = (None, *APP_UIDS, SIDECAR_UID)
    return (probe.source_port is not None, flow.protocol is Protocol.UDP, uids.index(flow.uid))


def is_hairpin(flow: Flow, own_address: str) -> bool:
    """Whether the sidecar calls its own pod."""
    called = flow.direction is Direction.OUTBOUND and flow.destination.host == own_address
    return called and flow.uid == SIDECAR_UID


def settings_text(configuration: Configuration) -> str:
    """Return a configuration on one line, as JSON that can be pasted into YAML."""
    annotations = json.dumps(dict(configuration.annotations))
    traffic = json.dumps({name: list(values) for name, values in configuration.traffic.items()})
    return f"annotations: {annotations}, spec.traffic: {traffic}"


def _refusal(configuration: Configuration, policy: Policy, reason: str) -> Disagreement:
    # An interface list is an extension of the seed, so to refuse it is no violation of a MUST.
    binding = not policy.network_interface_exclusion_list
    return Disagreement(
        configuration=configuration,
        level=Level.MUST if binding else Level.SHOULD,
        probe=None,
        expected="programmed",
        seen=f"refused: {reason}",
    )

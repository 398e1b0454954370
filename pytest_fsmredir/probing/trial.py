"""Trying one configuration: a pod of its own, programmed, and every flow aimed at it judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby

from pytest_fsmredir.model.checks import Level
from pytest_fsmredir.model.claims import Statement
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.features import Feature
from pytest_fsmredir.model.flow import Claim, Fate, Flow, Protocol, Route
from pytest_fsmredir.model.oracle import expected
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.model.reserved import SIDECAR_UID
from pytest_fsmredir.probing.aim import APP_UIDS, ProbeFlow, probes
from pytest_fsmredir.probing.judge import claim, level_of
from pytest_fsmredir.probing.network import Hosts, TrialNetwork

NewTrialNetwork = Callable[[Configuration], AbstractContextManager[TrialNetwork]]
Oracle = Callable[[Flow], Route]

SILENCE = "no answer"
SILENT_ENOUGH = 3  # flows left without an answer, each for the whole timeout, before we give up


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
    probe: ProbeFlow | None
    expected: str
    seen: str

    @property
    def is_silence(self) -> bool:
        """Nobody answered, which took a while to find out."""
        return self.seen == SILENCE

    @property
    def claim(self) -> Statement:
        """The claim that it is false."""
        what = "programming a pod" if self.probe is None else str(self.probe)
        seen = f"{self.seen}; under {settings_text(self.configuration)}"
        return Statement(holds=False, expected=self.expected, observed=seen, about=what)

    def __str__(self) -> str:
        return repr(self.claim)


class Trials:
    """Tries configurations on pods of one kind.

    Attributes:
        flows: Flows judged so far.
        pods: Pods made so far.
    """

    def __init__(self, new_stage: NewTrialNetwork, features: frozenset[Feature]) -> None:
        self.flows = 0
        self.pods = 0
        self._new_stage = new_stage
        self._claims_hairpin = Feature.HAIRPIN in features

    def disagreements(
        self, configuration: Configuration, *, listening: bool = False
    ) -> Generator[Disagreement, None, None]:
        """Yield every disagreement on a configuration as it is found; to stop early, close it.

        Args:
            configuration: A valid one.
            listening: Let every destination listen, so that a flow which should not have reached
                it tells so; else only those that ought to be reached, which is faster.
        """
        policy = configuration.policy()
        with self._new_stage(configuration) as stage:
            self.pods += 1
            programming = stage.program()
            if programming.refused:
                yield _refusal(configuration, policy, programming.reason)
                return
            yield from self._on_stage(configuration, policy, stage, listening)

    def _on_stage(
        self, configuration: Configuration, policy: Policy, stage: TrialNetwork, listening: bool
    ) -> Iterator[Disagreement]:
        silent = 0
        every = [each for each in probes(policy, stage.scene) if self._applies(each.flow, stage)]

        def oracle(flow: Flow) -> Route:
            return expected(policy, flow, stage.own_addresses)

        for probe, verdict in verdicts(every, stage, oracle, listening=listening):
            self.flows += 1
            if verdict:
                continue
            yield Disagreement(
                configuration=configuration,
                level=level_of(policy, probe.flow, stage.scene.pod),
                probe=probe,
                expected=verdict.expected,
                seen=verdict.fate.seen,
            )
            silent += verdict.fate.lost == SILENCE
            if silent >= SILENT_ENOUGH:
                return

    def _applies(self, flow: Flow, stage: TrialNetwork) -> bool:
        is_hairpin = flow.uid == SIDECAR_UID and flow.destination.host in stage.own_addresses
        return self._claims_hairpin or not is_hairpin


def verdicts(
    every: Iterable[ProbeFlow], stage: Hosts, oracle: Oracle, *, listening: bool
) -> Iterator[tuple[ProbeFlow, Claim]]:
    """Send flows, and yield for each whether that became of it what the oracle says.

    Args:
        every: What to send; those from a given port first.
        stage: Where.
        oracle: Says where a flow has to arrive.
        listening: Let every destination listen, and not only those that ought to be reached.
    """
    # A port that a host listens on cannot be a source port any more: those that need one first.
    for _, group in groupby(every, key=lambda probe: probe.source_port is None):
        batch = list(group)
        routes = [oracle(probe.flow) for probe in batch]
        for probe, route in zip(batch, routes, strict=True):
            if listening or route is Route.DIRECT:
                stage.listen(probe.flow)
        for probe, route, fate in zip(batch, routes, stage.send(batch), strict=True):
            yield probe, claim(route, _insisted(probe, fate, stage))


def _insisted(probe: ProbeFlow, fate: Fate, stage: Hosts) -> Fate:
    """Return the fate of a second try where nobody answered: packets get lost on busy hosts."""
    return next(stage.send([probe])) if fate.lost == SILENCE else fate


def simplicity(probe: ProbeFlow | None) -> tuple[object, ...]:
    """Return a key that sorts the simplest flow first; among equals the order given decides."""
    if probe is None:
        return ()
    flow = probe.flow
    uids = (None, *APP_UIDS, SIDECAR_UID)
    return (probe.source_port is not None, flow.protocol is Protocol.UDP, uids.index(flow.uid))


def settings_text(configuration: Configuration) -> str:
    """Return a configuration on one line, as JSON, which can be pasted into YAML."""
    annotations = json.dumps(dict(configuration.annotations))
    traffic = json.dumps({name: list(values) for name, values in configuration.traffic.items()})
    return f"annotations: {annotations} and spec.traffic: {traffic}"


def _refusal(configuration: Configuration, policy: Policy, reason: str) -> Disagreement:
    # The interface list extends the seed, so that refusing it breaks no MUST (SPEC-12.5).
    binding = not policy.network_interface_exclusion_list
    return Disagreement(
        configuration=configuration,
        level=Level.MUST if binding else Level.SHOULD,
        probe=None,
        expected="programmed",
        seen=f"refused: {' '.join(reason.split())}",
    )

"""Try one configuration: program a pod, send every chosen flow, and judge each fate."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby

from pytest_fsmredir.model.checks import Level
from pytest_fsmredir.model.claims import PROVED, Statement
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.features import Feature
from pytest_fsmredir.model.flow import Claim, Fate, Flow, Protocol, Route
from pytest_fsmredir.model.oracle import expected, level_of
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.model.reserved import SIDECAR_UID
from pytest_fsmredir.probing.aim import APP_UIDS, ProbeFlow, probes
from pytest_fsmredir.probing.judge import claim
from pytest_fsmredir.probing.network import Hosts, TrialNetwork

NewTrialNetwork = Callable[[Configuration], AbstractContextManager[TrialNetwork]]
Oracle = Callable[[Flow], Route]

SILENCE = "no answer"
SILENT_ENOUGH = 3  # unanswered flows, each of which takes the whole timeout, before a trial stops


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """An implementation and the specification disagree.

    Attributes:
        configuration: The configuration of the pod.
        level: The level of the violated sentence.
        probe: The flow; None when the implementation refused the configuration, or when the flow
            is named in ``seen``.
        expected: The fate that the specification requires.
        seen: The fate that was observed.
        cause: The false claim about the flow, if there is one.
        about: What is wrong, if there is no probe.
    """

    configuration: Configuration
    level: Level
    probe: ProbeFlow | None
    expected: str
    seen: str
    cause: Claim | None = None
    about: str = "programming a pod"

    @property
    def is_silence(self) -> bool:
        """Whether the flow was not answered within the timeout."""
        return self.seen == SILENCE

    @property
    def claim(self) -> Statement:
        """The claim that the implementation agrees with the specification; it does not hold."""
        what = self.about if self.probe is None else str(self.probe)
        seen = f"{self.seen}; under {settings_text(self.configuration)}"
        return Statement(False, self.expected, seen, what, self.cause)

    def __str__(self) -> str:
        return repr(self.claim)


class Trials:
    """Tries configurations, each on a new pod.

    Attributes:
        flows: Number of flows judged so far.
        pods: Number of pods made so far.
        unproved: For the key of each configuration tried, why it is not proved; empty if it is.
    """

    def __init__(self, new_network: NewTrialNetwork, features: frozenset[Feature]) -> None:
        self.flows = 0
        self.pods = 0
        self.unproved: dict[bytes, str] = {}
        self._new_network = new_network
        self._claims_hairpin = Feature.HAIRPIN in features

    def disagreements(
        self, configuration: Configuration, *, listening: bool = False
    ) -> Generator[Disagreement, None, None]:
        """Yield every disagreement on a configuration; close the generator to stop early.

        Args:
            configuration: A valid configuration.
            listening: Make every destination listen, so that a flow that wrongly reaches one is
                answered there. Otherwise only expected destinations listen, which is faster.
        """
        policy = configuration.policy()
        with self._new_network(configuration) as network:
            self.pods += 1
            programming = network.program()
            if programming.refused:
                yield _refusal(configuration, policy, programming.reason)
                return
            searched = list(self._search(configuration, network))  # before any host listens
            yield from self._judge_flows(configuration, policy, network, listening)
            yield from searched

    def _search(
        self, configuration: Configuration, network: TrialNetwork
    ) -> Iterator[Disagreement]:
        """Compare every flow with the rules in the pod."""
        whys = []
        for level in (Level.MUST, Level.SHOULD):
            found = network.search(level)
            whys.append("" if found.status == PROVED else found.status)
            if not found.holds:
                yield Disagreement(
                    configuration=configuration,
                    level=level,
                    probe=None,
                    expected=found.expected,
                    seen=found.seen,
                    cause=found.cause if isinstance(found.cause, Claim) else None,
                    about="every flow",
                )
        self.unproved[key_of(configuration)] = next(filter(None, whys), "")

    def _judge_flows(
        self, configuration: Configuration, policy: Policy, network: TrialNetwork, listening: bool
    ) -> Iterator[Disagreement]:
        silent = 0
        every = [
            each for each in probes(policy, network.scene) if self._applies(each.flow, network)
        ]

        def oracle(flow: Flow) -> Route:
            return expected(policy, flow, network.own_addresses)

        for probe, verdict in verdicts(every, network, oracle, listening=listening):
            self.flows += 1
            if verdict:
                continue
            yield Disagreement(
                configuration=configuration,
                level=level_of(policy, probe.flow, network.scene.pod),
                probe=probe,
                expected=verdict.expected,
                seen=verdict.fate.seen,
                cause=verdict,
            )
            silent += verdict.fate.lost == SILENCE
            if silent >= SILENT_ENOUGH:
                return

    def _applies(self, flow: Flow, network: TrialNetwork) -> bool:
        is_hairpin = flow.uid == SIDECAR_UID and flow.destination.host in network.own_addresses
        return self._claims_hairpin or not is_hairpin


def verdicts(
    every: Iterable[ProbeFlow], hosts: Hosts, oracle: Oracle, *, listening: bool
) -> Iterator[tuple[ProbeFlow, Claim]]:
    """Send each probe and yield whether its fate matches the oracle.

    Args:
        every: The flows to send; those with a given source port first.
        hosts: The ends of the flows.
        oracle: Returns the route that a flow must take.
        listening: Make every destination listen, and not only the expected ones.
    """
    # A port that a host listens on cannot be a source port: send the flows that need one first.
    for _, group in groupby(every, key=lambda probe: probe.source_port is None):
        batch = list(group)
        routes = [oracle(probe.flow) for probe in batch]
        for probe, route in zip(batch, routes, strict=True):
            if listening or route is Route.DIRECT:
                hosts.listen(probe.flow)
        for probe, route, fate in zip(batch, routes, hosts.send(batch), strict=True):
            yield probe, claim(route, _retried(probe, fate, hosts))


def _retried(probe: ProbeFlow, fate: Fate, hosts: Hosts) -> Fate:
    """Return the fate of a second try if the first had no answer: busy hosts lose packets."""
    return next(hosts.send([probe])) if fate.lost == SILENCE else fate


def simplicity(probe: ProbeFlow | None) -> tuple[object, ...]:
    """Return a key that sorts the simplest flow first."""
    if probe is None:
        return ()
    flow = probe.flow
    uids = (None, *APP_UIDS, SIDECAR_UID)
    user = uids.index(flow.uid) if flow.uid in uids else len(uids)
    return (probe.source_port is not None, flow.protocol is Protocol.UDP, user)


def settings_text(configuration: Configuration) -> str:
    """Return a configuration on one line of JSON, which is also YAML."""
    annotations = json.dumps(dict(configuration.annotations))
    traffic = json.dumps({name: list(values) for name, values in configuration.traffic.items()})
    return f"annotations: {annotations} and spec.traffic: {traffic}"


def key_of(configuration: Configuration) -> bytes:
    """Return 16 bytes that identify a configuration: a long campaign remembers each that it tried.

    The text of its settings would take a thousand.
    """
    return blake2b(settings_text(configuration).encode(), digest_size=16).digest()


def _refusal(configuration: Configuration, policy: Policy, reason: str) -> Disagreement:
    # The interface list is an extension of the document: refusing it violates a SHOULD (SPEC-12.5).
    binding = not policy.network_interface_exclusion_list
    return Disagreement(
        configuration=configuration,
        level=Level.MUST if binding else Level.SHOULD,
        probe=None,
        expected="programmed",
        seen=f"refused: {' '.join(reason.split())}",
    )

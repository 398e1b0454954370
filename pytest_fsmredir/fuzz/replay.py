"""The checks of a captured pod: flows at the edges of its policy, and every flow by its rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial

from pytest_fsmredir.backends.facets import ForeignPrograms, ForgedPackets, KernelSettings, Taps
from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.backends.netns.pods import NetnsPod
from pytest_fsmredir.fuzz.network import NetnsHosts, scene_of
from pytest_fsmredir.model.capture import Capture
from pytest_fsmredir.model.captured_sidecar import users_to_send_as
from pytest_fsmredir.model.checks import Check, Level, Profile
from pytest_fsmredir.model.claims import PROVED, Proven, Unmet, require
from pytest_fsmredir.model.facets import Body, needs_of
from pytest_fsmredir.model.features import Feature
from pytest_fsmredir.model.flow import Claim, Flow
from pytest_fsmredir.model.oracle import expected, level_of
from pytest_fsmredir.model.reserved import SIDECAR_UID
from pytest_fsmredir.probing.aim import ProbeTargets, can_be_dialled, probes
from pytest_fsmredir.probing.search import search
from pytest_fsmredir.probing.trial import verdicts

_NEEDS = frozenset({Need.REMOTE_ADDRESSES, Need.CLIENT_ADDRESSES})


class ReplayChecks:
    """Four checks of one captured pod: for each level, its policy's edges and every flow.

    Attributes:
        checks: POD-001 and POD-002 for MUST sentences, POD-003 and POD-004 for SHOULD sentences.
    """

    def __init__(self, capture: Capture, features: frozenset[Feature]) -> None:
        """Make the checks.

        Args:
            capture: The captured pod.
            features: The features that its mesh claims.
        """
        self._capture, self._claims_hairpin = capture, Feature.HAIRPIN in features
        self.checks = (
            _check("POD-001", Level.MUST, _EDGES, self._edges(Level.MUST)),
            _check("POD-002", Level.MUST, _EVERY, self._every(Level.MUST)),
            _check("POD-003", Level.SHOULD, _EDGES, self._edges(Level.SHOULD)),
            _check("POD-004", Level.SHOULD, _EVERY, self._every(Level.SHOULD)),
        )

    def _edges(self, level: Level) -> Body:
        def test_flows_at_the_edges_of_the_lists_are_followed(mesh: NetnsMesh) -> None:
            for claim in self._verdicts(mesh, self._pod(mesh), level):
                mesh.observed += 1
                require(claim)

        return test_flows_at_the_edges_of_the_lists_are_followed

    def _every(self, level: Level) -> Body:
        def test_every_flow_is_treated_as_the_lists_say(
            mesh: NetnsMesh,
            programs: ForeignPrograms,
            kernel: KernelSettings,
            taps: Taps,
            forged: ForgedPackets,
        ) -> None:
            pod, asked = self._pod(mesh), self._capture.configuration
            pod.connect(mesh.server, 8080)  # shows whether the sidecar dials itself
            beyond = self._beyond(mesh.family)
            found = search(mesh, pod, programs, kernel, taps, forged, level, asked, beyond)
            agrees = self._with_gaps(found.agrees)
            if not agrees:  # the question records the proof in the result of the check
                raise Unmet(agrees)

        return test_every_flow_is_treated_as_the_lists_say

    def _pod(self, mesh: NetnsMesh) -> NetnsPod:
        capture = self._capture
        return mesh.pod(annotations=capture.annotations, mesh_config=capture.traffic)

    def _verdicts(self, mesh: NetnsMesh, pod: NetnsPod, level: Level) -> Iterator[Claim]:
        """Send the flows of a level at the edges of the policy, and yield the claim about each."""
        policy, own = self._capture.configuration.policy(), pod.addresses
        scene = self._scene(mesh, pod)
        chosen = [
            each
            for each in probes(policy, scene)
            if level_of(policy, each.flow, scene.pod) is level and self._applies(each.flow, own)
        ]
        with closing(NetnsHosts(mesh.backend, pod.site, scene)) as hosts:
            oracle = partial(expected, policy, own_addresses=own)
            for _, claim in verdicts(chosen, hosts, oracle, listening=True):
                yield claim

    def _scene(self, mesh: NetnsMesh, pod: NetnsPod) -> ProbeTargets:
        """Return the addresses around the pod, with the names of its interfaces."""
        names = [each.name for each in self._capture.interfaces]
        return replace(
            scene_of(pod.site, mesh.family),
            interfaces=(names[0], names[min(1, len(names) - 1)]),
            beyond=self._beyond(mesh.family),
            users=users_to_send_as(self._capture, mesh.highest_id),
        )

    def _beyond(self, family: int) -> str | None:
        """Return an address that a route leads to by the second interface; None without one."""
        names = [each.name for each in self._capture.interfaces][1:2]
        for network, device in self._capture.ways_out(family):
            host = str(network[min(10, network.num_addresses - 1)])
            leads = device in names and self._capture.interface_to(host) == device
            if leads and can_be_dialled(host) and host not in self._capture.addresses:
                return host
        return None

    def _applies(self, flow: Flow, own: tuple[str, ...]) -> bool:
        return self._claims_hairpin or not (
            flow.uid == SIDECAR_UID and flow.destination.host in own
        )

    def _with_gaps(self, found: Proven) -> Proven:
        """Return a claim that proves nothing if the file lacks something that could matter."""
        if found.status == PROVED and self._capture.left_out:
            return replace(found, status=f"the file lacks: {self._capture.left_out[0]}")
        return found


_EDGES = (
    "Every flow at the edges of a captured pod's lists {level} end where the sentences of that"
    " level say."
)
_EVERY = "Every flow of a captured pod {level} end where the sentences of that level say."


def _check(check_id: str, level: Level, requirement: str, function: Body) -> Check:
    return Check(
        id=check_id,
        requirement=requirement.format(level=level),
        spec="SPEC-13.7",
        level=level,
        profile=Profile.CORE,
        features=frozenset(),
        needs=needs_of(check_id, function, _NEEDS),
        families=(4, 6),
        function=function,
    )

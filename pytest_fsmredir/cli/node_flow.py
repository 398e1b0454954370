"""``flow --from-node PID``: send one flow from a pod, on the pod's node as root."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence

from pytest_fsmredir.backends.observing import Observed, request
from pytest_fsmredir.cli.capture import reading
from pytest_fsmredir.cli.capture.assembling import configuration_in, pod_in
from pytest_fsmredir.cli.capture.node import listed_on_node
from pytest_fsmredir.cli.observed_flow import Explain, Lines, judged_by, lines, scene_in
from pytest_fsmredir.model.flow import Address, Claim, Direction, Flow
from pytest_fsmredir.model.oracle import expected
from pytest_fsmredir.rules import live
from pytest_fsmredir.rules.why.scene import Scene


def sent_from_node(
    arguments: argparse.Namespace,
    target: Callable[[Sequence[str]], Address],
    explain: Explain,
) -> tuple[Claim, Lines]:
    """Send the flow that the options name; return the judged flow, and lines about it.

    Args:
        arguments: The options.
        target: Returns the destination, given the addresses of the pod.
        explain: Explains a judged flow.

    Raises:
        SettingsError: There is no such process, or the options contradict each other.
        PreflightError: The program nsenter is missing.
        BackendError: The network of the process cannot be entered, or the flow was not sent.
    """
    pod = pod_in(arguments.annotations)
    configuration = configuration_in(pod, arguments.mesh_config)
    first = [str(each["ip"]) for each in (pod.get("status") or {}).get("podIPs") or ()]
    known = reading.Known(taken_from="node", pod=pod, configuration=configuration, addresses=first)
    pid = arguments.from_node
    own = reading.read(listed_on_node(pid, reading.command(sys.executable)), known).addresses
    flow = Flow(Direction.OUTBOUND, target(own), uid=arguments.uid)
    policy = configuration.policy()
    agent = [sys.executable, "-m", "pytest_fsmredir.agent", "observe"]
    asked = json.dumps(request(flow.destination, arguments.uid, own))
    seen = Observed.of(json.loads(listed_on_node(pid, [*agent, asked])))
    judged = judged_by(seen, flow, expected(policy, flow, own))

    def scene() -> Scene:
        return scene_in(listed_on_node(pid, live.command(sys.executable)), flow, own, policy)

    return judged, lines(judged, scene, explain)

"""``flow NAMESPACE/POD``: send one flow now from a running pod of a cluster."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing

from pytest_fsmredir.backends.kubernetes.agents.guest import join
from pytest_fsmredir.backends.kubernetes.agents.single_flow import send
from pytest_fsmredir.cli.cluster_access import cluster_access
from pytest_fsmredir.cli.cluster_options import TIMEOUT_S
from pytest_fsmredir.cli.observed_flow import Explain, Lines, judged_by, lines, scene_in
from pytest_fsmredir.cli.pod.finding import Found, find, parse_name
from pytest_fsmredir.errors import PreflightError
from pytest_fsmredir.model.flow import (
    Address,
    Claim,
    Direction,
    Flow,
    Route,
)
from pytest_fsmredir.model.oracle import expected
from pytest_fsmredir.rules import live
from pytest_fsmredir.rules.why.scene import Scene


def sent_now(
    arguments: argparse.Namespace,
    undo: ExitStack,
    target: Callable[[Sequence[str]], Address],
    explain: Explain,
) -> tuple[Claim, Lines]:
    """Send the flow that the options name; return the judged flow, and lines about it.

    Args:
        arguments: The options.
        undo: Ends what was started in the pod.
        target: Returns the destination, given the addresses of the pod.
        explain: Explains a judged flow.

    Raises:
        SettingsError: The options contradict each other or the pod.
        PreflightError: The pod does not exist or does not run, or has no network of its own.
        BackendError: The pod takes no ephemeral container, or the flow could not be sent.
    """
    namespace, name = parse_name(arguments.pod)
    access = cluster_access(arguments, undo, answering=False)
    found = find(access.cluster, namespace, name, arguments.mesh_namespace)
    if found.on_host_network:
        raise PreflightError(f"pod {found.name} is on the network of its node")
    own = [each["ip"] for each in found.pod["status"]["podIPs"]]
    flow = Flow(Direction.OUTBOUND, target(own), uid=arguments.uid)
    policy = found.configuration.policy()
    route = Route.DIRECT if found.not_in_mesh else expected(policy, flow, own)
    guest = join(access.cluster, namespace, name, access.image, arguments.uid)
    undo.enter_context(closing(guest))
    seen = send(guest, flow.destination, arguments.uid, own, timeout_s=TIMEOUT_S)
    judged = judged_by(seen, flow, route)
    return judged, _lines(
        judged,
        found,
        lambda: scene_in(guest.run(live.command("python3"))[1], flow, own, policy),
        explain,
    )


def _lines(judged: Claim, found: Found, scene: Callable[[], Scene], explain: Explain) -> Lines:
    yield "pod", found.headline.removeprefix("pod ")
    yield from lines(judged, scene, explain)
    if not judged.holds and found.advice:
        yield "advice", found.advice

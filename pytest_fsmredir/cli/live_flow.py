"""``flow NAMESPACE/POD``: send one flow now from a running pod of a cluster."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing

from pytest_fsmredir.backends.kubernetes.agents.guest import Guest, join
from pytest_fsmredir.backends.kubernetes.agents.single_flow import Observed, send
from pytest_fsmredir.cli.cluster_access import cluster_access
from pytest_fsmredir.cli.cluster_options import TIMEOUT_S
from pytest_fsmredir.cli.pod.finding import Found, find, parse_name
from pytest_fsmredir.errors import BackendError, FsmRedirError, PreflightError, SettingsError
from pytest_fsmredir.model.flow import (
    Acceptance,
    Acceptor,
    Address,
    Claim,
    Direction,
    Fate,
    Flow,
    Route,
)
from pytest_fsmredir.model.oracle import expected
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.probing.judge import claim
from pytest_fsmredir.rules import live
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.why.scene import Scene

Lines = Iterator[tuple[str, str]]
Explain = Callable[[Claim, Scene], Lines]
"""Returns the lines that explain a judged flow by the rules."""


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
    return judged, _lines(judged, found, lambda: _scene(guest, flow, own, policy), explain)


def judged_by(seen: Observed, flow: Flow, route: Route) -> Claim:
    """Compare what the pod shows of a flow with the route that is expected.

    Whoever accepts a flow inside the pod shows in its tables. A flow that left the pod as it was
    dialled is direct, whatever its destination answers: no redirection took it.

    Raises:
        BackendError: The connection failed, and the container may not see where its packets went.
    """
    client, lost, path = seen.report.client, seen.report.lost, seen.sighting.accepted
    if path:
        remark = f"what the client saw of it: {lost}" if lost else ""
        return claim(route, Fate(flow, client, path, remark=remark))
    if seen.went is None and not seen.report.connected:
        raise BackendError(
            f"{flow}: {lost or 'no answer'}; whether the sidecar or the destination did that is"
            " unknown: the cluster admits no container with NET_RAW, which sees packets"
        )
    elsewhere = sorted({str(each) for each in seen.went or () if each != flow.destination})
    left = seen.went is None or flow.destination in seen.went
    if left and not elsewhere and client is not None:
        if seen.report.connected:
            to_destination = Acceptance(0, Acceptor.ORIGIN, flow.destination, client)
            return claim(route, Fate(flow, client, (to_destination,)))
        fate = Fate(flow, client, (), lost, remark="its packets went there unchanged")
        return Claim(route is Route.DIRECT, route.value, fate)
    where = f"its packets went to {', '.join(elsewhere)}" if elsewhere else "no packet was sent"
    return claim(route, Fate(flow, client, (), lost, remark=where))


def _scene(guest: Guest, flow: Flow, own: Sequence[str], policy: Policy) -> Scene:
    _, printed, _ = guest.run(live.command("python3"))
    rules = live.read(printed)
    live.require_read(rules, flow.destination.family)
    pod = Surroundings.of(rules, own, closed=True) or Surroundings({"eth0": own}, closed=True)
    return Scene(rules=rules, pod=pod, policy=policy, printed=printed)


def _lines(judged: Claim, found: Found, scene: Callable[[], Scene], explain: Explain) -> Lines:
    yield "pod", found.headline.removeprefix("pod ")
    yield from (("flow", judged.flow), ("expected", judged.expected), ("seen", judged.seen))
    try:
        yield from explain(judged, scene())
    except FsmRedirError as error:
        yield "path", f"the rules could not be read: {error}"
    if not judged.holds and found.advice:
        yield "advice", found.advice


def reject_in(arguments: argparse.Namespace) -> None:
    """Require that the flow is one of the pod.

    Raises:
        SettingsError: It comes from outside.
    """
    if arguments.into:
        raise SettingsError(
            "--in takes a client outside, and with a running pod nothing else is touched: give a"
            " FILE, or judge the pod: python -m pytest_fsmredir pod NAMESPACE/POD"
        )

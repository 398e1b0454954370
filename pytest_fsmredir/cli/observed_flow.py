"""Judge a flow that a running pod sent by what that pod shows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pytest_fsmredir.backends.observing import Observed
from pytest_fsmredir.errors import BackendError, FsmRedirError
from pytest_fsmredir.model.flow import Acceptance, Acceptor, Claim, Fate, Flow, Route
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.probing.judge import claim
from pytest_fsmredir.rules import live
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.why.scene import Scene

Lines = Iterator[tuple[str, str]]
Explain = Callable[[Claim, Scene], Lines]
"""Returns the lines that explain a judged flow by the rules."""


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


def scene_in(printed: str, flow: Flow, own: Sequence[str], policy: Policy) -> Scene:
    """Return the rules in a pod.

    Args:
        printed: What the command of :func:`~pytest_fsmredir.rules.live.command` printed there.
        flow: The flow to explain.
        own: The addresses of the pod.
        policy: The policy of the pod.

    Raises:
        RulesError: Rules that the flow passes may be missing.
    """
    rules = live.read(printed)
    live.require_read(rules, flow.destination.family)
    pod = Surroundings.of(rules, own, closed=True) or Surroundings({"eth0": own}, closed=True)
    return Scene(rules=rules, pod=pod, policy=policy, printed=printed)


def lines(judged: Claim, scene: Callable[[], Scene], explain: Explain) -> Lines:
    """Yield the lines about a judged flow.

    Args:
        judged: The flow.
        scene: Reads the rules.
        explain: Explains the flow by the rules.
    """
    yield from (("flow", judged.flow), ("expected", judged.expected), ("seen", judged.seen))
    try:
        yield from explain(judged, scene())
    except FsmRedirError as error:
        yield "path", f"the rules could not be read: {error}"

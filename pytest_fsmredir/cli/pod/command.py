"""``pod NAMESPACE/NAME``: judge a running pod from the command line.

Exit status: 0 as documented, 1 a flow differs, 2 not judged (the reason is on standard error).
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing

from pytest_fsmredir.backends.kubernetes.backend import KubernetesBackend
from pytest_fsmredir.backends.kubernetes.pods.injectors import by_hand
from pytest_fsmredir.backends.kubernetes.pods.manifests import AgentIn, Images
from pytest_fsmredir.cli.cluster_access import cluster_access
from pytest_fsmredir.cli.cluster_options import TIMEOUT_S, add_cluster_options
from pytest_fsmredir.cli.pod.aiming import Aim, aim
from pytest_fsmredir.cli.pod.finding import Found, find, parse_name
from pytest_fsmredir.cli.pod.hosts import KubeHosts
from pytest_fsmredir.cli.pod.table import conclusion, left_out, table, undialled
from pytest_fsmredir.errors import FsmRedirError, PreflightError
from pytest_fsmredir.model.claims import Unmet
from pytest_fsmredir.model.flow import Claim, Direction, Flow, Protocol, Route
from pytest_fsmredir.model.oracle import expected
from pytest_fsmredir.model.outcomes import IptablesVariant
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.model.reserved import SERVED_PORTS
from pytest_fsmredir.probing.aim import ProbeFlow
from pytest_fsmredir.probing.trial import SILENCE, SILENT_ENOUGH, verdicts
from pytest_fsmredir.text import printable


def main(argv: Sequence[str]) -> int:
    """Judge a pod, and return the exit status."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as end:  # argparse has printed the reason already
        return int(end.code or 0)
    try:
        with ExitStack() as undo:
            return _judge(arguments, undo)
    except FsmRedirError as why:
        sys.stderr.write(f"not judged: {printable(str(why))}\n")
    except Exception:  # Python would exit with status 1, which would blame the pod
        traceback.print_exc()
    return 2


def _judge(arguments: argparse.Namespace, undo: ExitStack) -> int:
    namespace, name = parse_name(arguments.pod)
    access = cluster_access(arguments, undo, answering=True)
    found = find(access.cluster, namespace, name, arguments.mesh_namespace)
    _say(printable(found.headline))
    policy = found.configuration.policy()
    addresses = [each["ip"] for each in found.pod["status"]["podIPs"]]
    family = 6 if ":" in addresses[0] else 4  # of its primary address
    backend = KubernetesBackend(
        access.cluster,
        by_hand(None),
        images=Images(pod=access.image, agent_in=AgentIn.EPHEMERAL),
        timeout_s=TIMEOUT_S,
        name="cluster",
        answered=lambda: access.ranges,
        nodes=(found.node,),
        on_nodes=bool(access.ranges),
    )
    undo.enter_context(closing(backend))
    mesh = backend.mesh(family, IptablesVariant.NFT, exhaustive=False, node=found.node)
    undo.enter_context(closing(mesh))
    pod = mesh.adopt(backend.pool.join(found.pod))
    _say(
        f"{pod.address} is the pod, {mesh.server.address} our server, {mesh.client.address} client"
    )
    flows = aim(
        found,
        policy,
        server=mesh.server.address,
        pod=pod.address,
        loopback=mesh.loopback(),
        ranges=access.ranges,
    )
    judged, looped = [], ""
    try:
        for each in _judged(flows, found, policy, KubeHosts(mesh, pod), addresses):
            judged.append(each)
    except Unmet as unmet:
        looped = repr(unmet.claim)
    return _report(judged, flows, found, looped)


def _judged(
    flows: Aim, found: Found, policy: Policy, hosts: KubeHosts, addresses: Sequence[str]
) -> Iterator[tuple[ProbeFlow, Claim]]:
    """Yield flows and their judged fates, without flows that turn out to be inconclusive."""

    def oracle(flow: Flow) -> Route:
        return Route.DIRECT if found.not_in_mesh else expected(policy, flow, addresses)

    silent, sent = 0, 0
    for probe, claim in verdicts(flows.sent, hosts, oracle, listening=True):
        sent += 1
        if _is_unserved(claim):
            flows.left_out.setdefault(_UNSERVED, []).append(probe)
            continue
        yield probe, claim
        silent += not claim and claim.fate.lost == SILENCE
        if silent >= SILENT_ENOUGH:
            rest = flows.sent[sent:]
            if rest:
                flows.left_out[f"after {silent} without an answer"] = rest
            return


_UNSERVED = "to ports of the sidecar's own listeners, where no program listens"


def _is_unserved(claim: Claim) -> bool:
    """Whether a flow was refused at a port that a sidecar serves only if its pod needs it.

    Ports of probes are an example. A flow that bypasses the sidecar is refused there.
    """
    flow = claim.fate.flow
    inbound = flow.direction is Direction.INBOUND and flow.protocol is Protocol.TCP
    return inbound and flow.destination.port in SERVED_PORTS and claim.fate.lost == "refused"


def _report(
    judged: Sequence[tuple[ProbeFlow, Claim]], flows: Aim, found: Found, looped: str
) -> int:
    for line in table(judged):
        _say(line)
    if flows.undialled:
        _say(undialled(flows.undialled))
    for reason, probes in flows.left_out.items():
        _say(left_out(reason, probes))
    if looped:
        _say(printable(f"stopped because a flow loops: {looped}"))
        return 1
    if not judged:
        raise PreflightError("no flow to the pod could be judged")
    _say(conclusion(judged))
    if all(claim for _, claim in judged):
        return 0
    if found.advice:
        _say(printable(found.advice))
    return 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_fsmredir pod",
        description="Send flows from and to a running pod, and compare their fate with the pod's"
        " annotations and the MeshConfig. The command adds an ephemeral container with our agent"
        " to the pod. The agent ends with the command; the container stays in the pod's list.",
    )
    parser.add_argument("pod", metavar="NAMESPACE/NAME")
    add_cluster_options(parser)
    return parser

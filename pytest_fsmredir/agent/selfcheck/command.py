"""Check a pod's redirection from inside the pod, with no privilege beyond the application's user.

The check sends flows that the pod's lists leave to the sidecar, and flows that they exempt, and
finds out where each arrives. It needs this file and Python 3.8 or newer.

With --as-sidecar, before the sidecar starts, the check listens on the sidecar's ports and reads the
original destination of each flow that arrives there. Otherwise the sidecar has to run, and the
check looks up in the pod's tables which socket accepted each flow.

Packets to other hosts have a hop limit of 1, so no host beyond the node gets them. A few of those
that the sidecar has to get have a higher limit.

The lists are those printed into this file, united with the environment variables
FSM_OUTBOUND_IP_RANGE_EXCLUSION_LIST, FSM_OUTBOUND_IP_RANGE_INCLUSION_LIST,
FSM_OUTBOUND_PORT_EXCLUSION_LIST, FSM_INBOUND_PORT_EXCLUSION_LIST and
FSM_NETWORK_INTERFACE_EXCLUSION_LIST.

Exit status: 0 every flow arrived where it has to, 1 a flow did not, 2 the check could not see it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from pytest_fsmredir.agent.selfcheck.eyes import Listeners, Tables
from pytest_fsmredir.agent.selfcheck.flows import (
    ADMIN_PORT,
    DIRECT,
    INBOUND_PORT,
    OUTBOUND_PORT,
    REMOTE,
    SERVED_PORTS,
    SIDECAR_UID,
    Flow,
    expected,
    inside,
    outbound,
)
from pytest_fsmredir.agent.selfcheck.pod import Pod, sockets_of_the_pod
from pytest_fsmredir.agent.selfcheck.policy import Policy, Unseen, read_policy
from pytest_fsmredir.agent.selfcheck.sending import NOISY, UNCLEAR, Seen, Sender

_LISTENING = 10  # TCP_LISTEN, linux/net/tcp_states.h
_ENOUGH, _MORE_THAN_ENOUGH = 3, 12


class Trial(NamedTuple):
    """A flow, where it has to arrive, and what was seen."""

    flow: Flow
    wanted: str
    seen: Seen

    @property
    def is_hidden(self) -> bool:
        """Whether the check could not see the flow's fate."""
        return self.seen.fate in (NOISY, UNCLEAR)

    @property
    def is_wrong(self) -> bool:
        """Whether the flow arrived elsewhere."""
        return not self.is_hidden and self.seen.fate != self.wanted


def main(argv: Sequence[str]) -> int:
    """Check the pod of this process, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--as-sidecar", action="store_true", help="listen on the sidecar's ports")
    parser.add_argument("--ip", type=int, choices=(4, 6), help="check one IP version only")
    parser.add_argument("--timeout", type=float, default=1.0, metavar="S", help="for one flow")
    arguments = parser.parse_args(argv)
    try:
        with ExitStack() as undo:
            return _check(arguments, undo)
    except Unseen as why:
        _say(f"not checked: {why}")
        return 2


def _check(arguments: argparse.Namespace, undo: ExitStack) -> int:
    policy, pod = read_policy(os.environ), Pod()
    families = [each for each in (4, 6) if pod.addresses[each] and arguments.ip in (None, each)]
    if not families:
        raise Unseen("/proc/net shows no address of the pod of that IP version")
    own = Listeners(undo)
    eyes = _as_sidecar(own, families) if arguments.as_sidecar else _as_application(families)
    sender = Sender(eyes, pod, arguments.timeout)
    role = "in place of the sidecar" if arguments.as_sidecar else "while the sidecar runs"
    addresses = " and ".join(each for family in families for each in pod.addresses[family])
    _say(f"checking {addresses} as user {os.getuid()} {role}")
    for family in families:
        if not pod.interface_to(REMOTE[family][0]):
            raise Unseen(f"the pod has no IPv{family} route to other hosts; choose with --ip")
    few = not arguments.as_sidecar
    sent = [flow for each in families for flow in outbound(policy, pod, each, few=few)]
    trials = list(_trials(sent, policy, pod, sender))
    for port in (0, *policy.ports[:2], *policy.inbound_ports[:2]):
        own.listen(families, port)
    served = [port for port in own.ports if port not in (OUTBOUND_PORT, INBOUND_PORT)]
    sent = [flow for each in families for flow in inside(pod, each, served)]
    trials += _trials(sent, policy, pod, sender)
    _report(trials)
    wrong = [] if arguments.as_sidecar else _from_outside(policy, pod)
    return _conclusion(trials, len(wrong), families)


def _as_sidecar(own: Listeners, families: Sequence[int]) -> Listeners:
    for port in (OUTBOUND_PORT, INBOUND_PORT, ADMIN_PORT):
        if not own.listen(families, port):
            raise Unseen(f"port {port} is taken; without --as-sidecar the sidecar has to run")
    return own


def _as_application(families: Sequence[int]) -> Tables:
    states = {(each.local[1], each.state) for each in sockets_of_the_pod()}
    if (OUTBOUND_PORT, _LISTENING) not in states:
        raise Unseen(
            f"no socket in /proc/net/tcp listens on port {OUTBOUND_PORT}; without a sidecar,"
            " give --as-sidecar"
        )
    return Tables()


def _trials(sent: Iterable[Flow], policy: Policy, pod: Pod, sender: Sender) -> Iterator[Trial]:
    """Send flows, but no more of a kind once several went wrong or could not be seen."""
    uid = os.getuid()
    wrong: Counter[tuple[str, bool]] = Counter()
    for flow in dict.fromkeys(sent):
        kind = flow.kind, ":" in flow.host
        if wrong[kind] >= _ENOUGH or (uid == SIDECAR_UID and flow.host == "127.0.0.2"):
            continue  # the document leaves the sidecar's calls to 127.0.0.2 open
        wanted = expected(policy, pod, uid, flow)
        if wanted == DIRECT and flow.kind == "hop limits":
            continue  # it would go beyond the node
        trial = Trial(flow, wanted, sender.send(flow, wanted))
        wrong[kind] += trial.is_wrong or trial.seen.fate == NOISY
        yield trial
        if sum(wrong.values()) > _MORE_THAN_ENOUGH:
            break


def _report(trials: Sequence[Trial]) -> None:
    right = Counter(_group(each) for each in trials if not each.is_wrong and not each.is_hidden)
    for group, count in sorted(right.items()):
        _say(f"right    {group}: {count}")
    for trial in trials:
        flow, seen = trial.flow, trial.seen
        source = f" from port {flow.source_port}" if flow.source_port else ""
        options = "".join(f" with option {a}/{b} = {value!r}" for a, b, value in flow.options)
        name = f"{flow.kind}: {flow.protocol} to {flow.host} port {flow.port}{source}{options}"
        if trial.is_wrong:
            _say(f"WRONG    {name}: expected {trial.wanted}; {seen.words}")
        elif trial.is_hidden:
            _say(f"not seen {name}: {seen.words}")


def _from_outside(policy: Policy, pod: Pod) -> list[str]:
    """Report the connections from other hosts that are open now, and return those that differ."""
    known = list(sockets_of_the_pod())
    ports = {each.local[1] for each in known if each.state == _LISTENING}
    wrong, right = [], 0
    for each in known:
        (host, port), (remote, _) = each.local, each.remote
        if each.state == _LISTENING or port not in ports or pod.is_inside(remote):
            continue
        if not pod.is_inside(host) or pod.interface_to(remote) in policy.interfaces:
            continue
        right += 1
        if port not in (INBOUND_PORT, *SERVED_PORTS, *policy.inbound_ports):
            wrong.append(f"a connection from {remote} reached port {port} past the sidecar")
    for line in wrong[:_ENOUGH]:
        _say(f"WRONG    {line}")
    _say(f"connections from other hosts that are open now: {right}")
    return wrong


def _conclusion(trials: Sequence[Trial], others: int, families: Sequence[int]) -> int:
    wrong = sum(trial.is_wrong for trial in trials) + others
    if wrong:
        _say(f"{wrong} flows went the wrong way, of {len(trials)} sent")
        return 1
    for family in families:
        if not any(t.wanted != DIRECT for t in trials if (":" in t.flow.host) == (family == 6)):
            _say(f"IPv{family}: the lists leave no flow to the sidecar, so nothing shows its rules")
            return 2
    seen = [trial for trial in trials if not trial.is_hidden]
    for kind in sorted({_group(trial) for trial in trials} - {_group(trial) for trial in seen}):
        if not kind.startswith("pings"):  # not every user may send them
            _say(f"not one flow of this group was seen: {kind}")
            return 2
    _say(f"{len(seen)} flows have their expected fate; {len(trials) - len(seen)} were not seen")
    return 0


def _group(trial: Trial) -> str:
    family = 6 if ":" in trial.flow.host else 4
    return f"{trial.flow.kind}, IPv{family}, {trial.wanted}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

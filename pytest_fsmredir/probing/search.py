"""Search the rules of a pod for flows that they treat wrongly, and send these flows.

The model compares the rules in the pod with the document for every flow. Each difference is sent as
a real packet, and only the packet's fate counts. Rules that cannot be read do not affect the
verdict.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from ipaddress import ip_address

from pytest_fsmredir.backends.base import Mesh, Pod
from pytest_fsmredir.backends.facets import ForeignPrograms, KernelSettings
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.checks import Level
from pytest_fsmredir.model.claims import PROVED, Proven
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Address, Claim, Direction, Fate
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.model.rule_use import RuleUse
from pytest_fsmredir.probing.aim import ANSWERED, NOT_ANSWERED
from pytest_fsmredir.probing.judge import claim
from pytest_fsmredir.probing.rule_use import rule_use
from pytest_fsmredir.probing.sendable import (
    ECN_SYN,
    PLAIN_TOS,
    SYN_LENGTH,
    dialled,
    occurring,
    sendable,
)
from pytest_fsmredir.probing.validation import Ends, Trace, validate
from pytest_fsmredir.rules import live, show
from pytest_fsmredir.rules.bdd import Intervals
from pytest_fsmredir.rules.ends import EndKind
from pytest_fsmredir.rules.errors import RulesError
from pytest_fsmredir.rules.forms import Field
from pytest_fsmredir.rules.goals import goals
from pytest_fsmredir.rules.packet import ICMP, ICMPV6, SYN, TCP, UDP, Packet, text_of
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.prove import Finding, Prover
from pytest_fsmredir.rules.seek import Seeker, Taste, one, usual_taste
from pytest_fsmredir.rules.trace import follow
from pytest_fsmredir.traffic.dial import Prepare

_COUNTERS = re.compile(r"(?<=\[)\d+(?=:\d)|(?<=:)\d+(?=\])|(?<=(?:ckets|bytes)\": )\d+")
"""Values of packet counters: checks of one pod share its proof, although the values differ."""

_SENT_AT_MOST = 60
_SLOW = frozenset({EndKind.DROPPED, EndKind.LOST, EndKind.FORWARDED})
_SLOW_AT_MOST = 12
"""Limit of unanswered flows, each of which takes a whole timeout."""


@dataclass(frozen=True, slots=True)
class Search:
    """The result of the search in one pod.

    Attributes:
        agrees: The claim that no flow is treated wrongly, with the status of the proof.
    """

    agrees: Proven


def search(
    mesh: Mesh,
    pod: Pod,
    programs: ForeignPrograms,
    kernel: KernelSettings,
    level: Level,
    configuration: Configuration | None = None,
    beyond: str | None = None,
) -> Search:
    """Search for a flow that a pod treats differently from what the document requires.

    Needs CLIENT_ADDRESSES.

    Args:
        mesh: The mesh of the check.
        pod: A pod that the implementation has programmed.
        programs: Read the rules.
        kernel: Makes connections request ECN.
        level: The requirement level of the sentences to test.
        configuration: The configuration of the pod; the default has no lists.
        beyond: A remote address that the pod's second interface leads to, if it has one.

    Raises:
        BackendError: A flow has the fate that the document requires, but the model of the rules
            predicts another fate.
    """
    policy = (configuration or Configuration()).policy()
    done = programs.run(pod, live.command())
    if done.status != 0:
        return _unread(f"the rules could not be read: {done.stderr.strip()[:200]}")
    try:
        printed = _COUNTERS.sub("0", done.stdout)
        found = _compared(
            printed, policy, mesh.family, tuple(pod.addresses), mesh.highest_id, beyond
        )
    except RulesError as why:
        return _unread(f"the rules were not understood: {why}")
    sender = _Sender(mesh, pod, kernel, beyond, found.seeker.model.surroundings)
    wrong: list[str] = []
    cause: Claim | None = None
    open_, unanswered = list(found.remarks), 0
    for finding in [f for f in found.findings if f.duty.level is level][:_SENT_AT_MOST]:
        unseen = finding.later or finding.end.kind is EndKind.CHANGED  # not visible in a fate
        unanswered += finding.end.kind in _SLOW
        fate = None if unseen or unanswered > _SLOW_AT_MOST else sender.send(finding.packet)
        if fate is None:
            open_.append(f"not sent: {finding.packet}, {show.reason(finding.path)}")
            continue
        judged = claim(finding.duty.route, fate)
        if not judged.holds:
            cause = cause or judged
            wrong.append(f"{finding.packet}: {fate.seen}; {show.reason(finding.path)}")
        elif finding.depends:
            open_.append(f"it depends on {finding.depends[0]}")
        elif found.predicts(finding, fate):
            raise BackendError(_contradiction(finding, fate))
        else:
            open_.append(f"the packet that was sent differs from: {finding.packet}")
    use = None if wrong else _validated(mesh, partial(programs.tracing, pod), found, sender)
    return Search(_agreement(wrong, "; ".join(open_) or PROVED, use, cause))


def _validated(mesh: Mesh, trace: Trace, found: _Compared, sender: _Sender) -> RuleUse:
    """Validate the model of a pod's rules by packets; checks that share a pod do it once.

    Raises:
        BackendError: The kernel treats a packet differently from what the model predicts.
    """
    if found.use is None:
        seeker = found.seeker
        able = sendable(seeker, mesh.client.address, mesh.highest_id, sender.beyond)
        wanted = goals(seeker, occurring(seeker))
        ends = Ends(sender.pod, mesh.client, sender.send)
        done = validate(trace, seeker, wanted, able, ends)
        found.use = rule_use(seeker, wanted, done)
    return found.use


def _unread(why: str) -> Search:
    return Search(_agreement([], why))


def _agreement(
    wrong: list[str], status: str, use: RuleUse | None = None, cause: Claim | None = None
) -> Proven:
    count = f"{len(wrong)} kinds of flows are treated differently" if len(wrong) > 1 else ""
    seen = "\n  ".join(filter(None, [count, *wrong])) or "no flow that is treated differently"
    return Proven(
        not wrong,
        "every flow treated as the document requires",
        seen,
        status=status,
        use=use,
        cause=cause,
    )


def _contradiction(finding: Finding, fate: Fate) -> str:
    path = "\n".join(show.path_lines(finding.path))
    return (
        f"wrong model of the rules: {finding.packet} is {fate.seen}, as the document requires;"
        f" the model predicts {finding.end}; please report this with the rules:\n{path}"
    )


@dataclass(slots=True)
class _Compared:
    """The differences between the rules of a pod and the document.

    Attributes:
        findings: The differences.
        remarks: What was not compared.
        seeker: Finds packets for the rules.
        use: What packets showed about the rules; None until they were sent.
    """

    findings: tuple[Finding, ...]
    remarks: tuple[str, ...]
    seeker: Seeker
    use: RuleUse | None = None

    def predicts(self, finding: Finding, fate: Fate) -> bool:
        """Whether the model predicts the finding's fate for the packet that was actually sent.

        The kernel may have chosen another source. It repeats an unanswered SYN that requests ECN
        without the request.
        """
        packet = finding.packet
        if fate.client is None or packet.tcp_flags != SYN:
            return False
        source, port = fate.client
        sent = replace(packet, source=int(ip_address(source)), source_port=port)
        return follow(self.seeker.model, sent).ends == finding.path.ends


@lru_cache(maxsize=32)
def _compared(
    printed: str,
    policy: Policy,
    family: int,
    addresses: tuple[str, ...],
    highest_id: int,
    beyond: str | None,
) -> _Compared:
    """Return the differences between rules and document, cached for checks that share a pod."""
    rules = live.read(printed)
    around = Surroundings.of(rules, addresses, closed=True)
    around = around or Surroundings({"eth0": addresses}, closed=True)
    prover = Prover(rules, policy, family, around, _taste(family, highest_id, beyond))
    proofs = [prover.prove(direction) for direction in Direction]
    findings = [f for proof in proofs for f in (*proof.findings, *proof.doubts)]
    remarks = [
        *rules.remarks,
        *("further differences were skipped" for p in proofs if p.more),
    ]
    return _Compared(tuple(findings), tuple(remarks), prover.seeker)


def _taste(family: int, highest_id: int, beyond: str | None) -> Taste:
    """Return the preferences for flows that a place can send and the outside answers.

    Args:
        family: IP version.
        highest_id: The highest user and group id that a process can have here.
        beyond: An address that the pod's second interface leads to; None if it has none.
    """
    able: list[tuple[Field, Intervals]] = [
        (Field.UID, ((0, highest_id),)),
        (Field.GID, ((0, highest_id),)),
        (Field.LENGTH, one(SYN_LENGTH[family])),
        (Field.TOS, PLAIN_TOS),
        (Field.TCP_FLAGS, one(SYN)),
        (Field.TCP_FLAGS, one(ECN_SYN)),
        (Field.DESTINATION, dialled(family, beyond)),
    ]
    return Taste([*able, *usual_taste(family).wishes])


class _Sender:
    """Sends packets of the model as real flows."""

    def __init__(
        self,
        mesh: Mesh,
        pod: Pod,
        kernel: KernelSettings,
        beyond: str | None,
        surroundings: Surroundings,
    ) -> None:
        self._mesh, self.pod, self._kernel, self.beyond = mesh, pod, kernel, beyond
        own = surroundings.own(mesh.family)
        self._devices = {address: name for name, owned in own.items() for address in owned}

    def send(self, packet: Packet) -> Fate | None:
        """Send a flow whose first packet equals the given one; None if that is impossible here."""
        if not self._can(packet):
            return None
        to = text_of(packet.destination, packet.family)
        outbound = packet.direction is Direction.OUTBOUND
        place = self.pod if outbound else self._mesh.client
        uid = packet.uid if outbound else None
        source = self._source(packet)
        if packet.protocol == UDP:
            return place.datagram(
                to,
                packet.port,
                uid=uid,
                source=source,
                payload=_payload(packet),
                prepare=_prepared(packet),
            )
        if packet.protocol in {ICMP, ICMPV6}:
            return place.ping(to, uid=uid, payload=_payload(packet))
        with self._ecn(packet):
            return place.connect(
                to, packet.port, uid=uid, gid=packet.gid, source=source,
                prepare=_prepared(packet),
                interface="eth0" if packet.interface == "lo" else packet.interface,
            )  # fmt: skip

    def _can(self, packet: Packet) -> bool:
        echo = {ICMP: 8, ICMPV6: 128}
        if packet.protocol in echo:
            plain = packet.icmp_type == echo[packet.protocol] and packet.icmp_code == 0
            plain = plain and not (packet.tos or packet.mark) and packet.ttl == 64
            return plain and (packet.direction is Direction.OUTBOUND or not self._foreign(packet))
        if packet.protocol not in {TCP, UDP}:
            return False
        outbound = packet.direction is Direction.OUTBOUND
        if packet.protocol == TCP and packet.tcp_flags not in (
            {SYN, ECN_SYN} if outbound else {SYN}
        ):
            return False
        if packet.protocol == UDP and packet.gid:
            return False
        if packet.length != SYN_LENGTH[packet.family] or packet.tos & 3:
            return False
        return self._reachable(packet)

    def _reachable(self, packet: Packet) -> bool:
        """Whether the outside answers for the remote address of a packet."""
        outbound = packet.direction is Direction.OUTBOUND
        if not outbound and packet.interface != self._devices.get(packet.destination):
            return False  # the outside sends to an address by the link of its interface
        remote = packet.destination if outbound else packet.source
        host = ip_address(text_of(remote, packet.family))
        if outbound and (host.is_loopback or str(host) in self.pod.addresses):
            return packet.interface == "lo"
        if outbound and str(host) == self.beyond:
            return packet.interface == "net1"
        if outbound and packet.interface != "eth0":
            return False
        return any(a <= remote <= b for a, b in ANSWERED[packet.family]) and not any(
            a <= remote <= b for a, b in NOT_ANSWERED[packet.family]
        )

    def _foreign(self, packet: Packet) -> bool:
        return text_of(packet.source, packet.family) != self._mesh.client.address

    def _source(self, packet: Packet) -> Address | None:
        """Return the source to bind; None if the kernel's choice is sufficient."""
        port = 0 if packet.source_port == 40000 else packet.source_port
        source = text_of(packet.source, packet.family)
        usual = {self.pod.address, self._mesh.loopback()}
        if packet.direction is Direction.OUTBOUND and source in usual and not port:
            return None
        return Address(source, port)

    def _ecn(self, packet: Packet) -> AbstractContextManager[None]:
        if (
            packet.protocol == TCP
            and packet.tcp_flags == ECN_SYN
            and packet.direction is Direction.OUTBOUND
        ):
            return self._kernel.changed(self.pod, {"ipv4/tcp_ecn": "1"})  # of both IP versions
        return nullcontext()


def _payload(packet: Packet) -> bytes:
    """Return the payload of a datagram or an echo request of the packet's length."""
    headers = {UDP: 8, ICMP: 16, ICMPV6: 16}[packet.protocol] + (20 if packet.family == 4 else 40)
    return bytes(max(packet.length - headers, 0))


def _prepared(packet: Packet) -> Prepare | None:
    v4 = packet.family == 4
    level = socket.IPPROTO_IP if v4 else socket.IPPROTO_IPV6
    options: list[tuple[int, int, int]] = []
    if packet.mark:
        options.append((socket.SOL_SOCKET, socket.SO_MARK, packet.mark))
    if packet.tos:
        options.append((level, socket.IP_TOS if v4 else socket.IPV6_TCLASS, packet.tos))
    if packet.ttl != 64:
        options.append((level, socket.IP_TTL if v4 else socket.IPV6_UNICAST_HOPS, packet.ttl))
    return _setter(options) if options else None


def _setter(options: Iterable[tuple[int, int, int]]) -> Prepare:
    def prepare(sock: socket.socket) -> None:
        for option in options:
            sock.setsockopt(*option)

    return prepare

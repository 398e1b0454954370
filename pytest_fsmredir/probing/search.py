"""Search the rules of a pod for flows that they treat wrongly, and send these flows.

The model compares the rules in the pod with the document for every flow. Each difference is sent as
a real packet, and only the packet's fate counts. Rules that cannot be read do not affect the
verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

from pytest_fsmredir.backends.base import Mesh, Pod
from pytest_fsmredir.backends.facets import ForeignPrograms, ForgedPackets, KernelSettings, Taps
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.checks import Level
from pytest_fsmredir.model.claims import DEPENDS, PROVED, Proven
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Claim, Fate, Route
from pytest_fsmredir.model.rule_use import RuleUse
from pytest_fsmredir.probing.compared import Compared, Learnt, Listed
from pytest_fsmredir.probing.doubts import named, repeated
from pytest_fsmredir.probing.forging import Forger, Means
from pytest_fsmredir.probing.listing import Listing, read_rules, without_changes
from pytest_fsmredir.probing.rule_texts import forms
from pytest_fsmredir.probing.rule_use import rule_use
from pytest_fsmredir.probing.sendable import Reach, occurring, sendable
from pytest_fsmredir.probing.sending import Sender, payload
from pytest_fsmredir.probing.validation import Ends, Trace, validate
from pytest_fsmredir.rules import show
from pytest_fsmredir.rules.counting import flows_to_cross
from pytest_fsmredir.rules.ends import SOURCE_CHANGED, End, EndKind
from pytest_fsmredir.rules.errors import RulesError
from pytest_fsmredir.rules.packet import FIN, TCP, Packet
from pytest_fsmredir.rules.prove import Finding
from pytest_fsmredir.rules.trace import follow

_SENT_AT_MOST = 60
_SLOW = frozenset({EndKind.DROPPED, EndKind.LOST, EndKind.FORWARDED})
_SLOW_AT_MOST = 12
"""Limit of unanswered flows, each of which takes a whole timeout."""
_CROSSED_AT_MOST = 400
"""Limit of flows that are sent to cross a condition that counts them."""


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
    taps: Taps,
    forged: ForgedPackets,
    level: Level,
    configuration: Configuration | None = None,
    beyond: str | None = None,
    *,
    listing: Listing | None = None,
    one_of_many: bool = False,
) -> Search:
    """Search for a flow that a pod treats differently from what the document requires.

    Needs CLIENT_ADDRESSES.

    Args:
        mesh: The mesh of the check.
        pod: A pod that the implementation has programmed.
        programs: Read the rules.
        kernel: Makes connections request ECN.
        taps: Show packets that no socket sends.
        forged: Sends them.
        level: The requirement level of the sentences to test.
        configuration: The configuration of the pod; the default has no lists.
        beyond: A remote address that the pod's second interface leads to, if it has one.
        listing: The rules of the pod if they were already read.
        one_of_many: Whether many pods differ in their lists only, and the caller sends flows at
            the edges of these lists. Then only new forms of rules are validated by packets.

    Raises:
        BackendError: A flow has the fate that the document requires, but the model of the rules
            predicts another fate.
    """
    policy = (configuration or Configuration()).policy()
    printed, why = listing or read_rules(programs, pod)
    if why:
        return _unread(f"the rules could not be read: {why}")
    learnt = programs.memory.of(Learnt)
    try:
        listed = Listed(
            without_changes(printed),
            policy,
            mesh.family,
            tuple(pod.addresses),
            mesh.highest_id,
            beyond,
            mesh.client.address,
        )
        found = learnt.compared(listed)
        around = found.seeker.model.surroundings
        reach = Reach(found.seeker.space, around, mesh.client.address, mesh.highest_id, beyond)
        sender = Sender(mesh, pod, kernel, reach)
        means = Means(mesh, pod, taps, forged, policy, next(iter(around.addresses)))
        hunt = _Hunt(found, sender, Forger(means), mesh.timeout_s)
        return _examined(
            hunt, level, partial(programs.tracing, pod), learnt, one_of_many=one_of_many
        )
    except RulesError as why:
        return _unread(f"the rules were not understood: {why}")


def _examined(
    hunt: _Hunt, level: Level, trace: Trace, learnt: Learnt, *, one_of_many: bool
) -> Search:
    """Send the flows of findings; without a wrong one, validate the model by packets."""
    found, use = hunt.found, None
    hunt.open += found.remarks
    for finding in [f for f in found.findings if f.duty.level is level][:_SENT_AT_MOST]:
        hunt.judge(finding)
    if not hunt.wrong and not (one_of_many and learnt.knows_forms(found)):
        _validate(trace, found, hunt.sender, learnt)
        use = None if one_of_many else _use(found, learnt)
    return Search(_agreement(hunt.wrong, "; ".join(hunt.open) or PROVED, use, hunt.cause))


def _validate(trace: Trace, found: Compared, sender: Sender, learnt: Learnt) -> None:
    """Validate the model of a pod's rules by packets; checks that share a pod do it once.

    Raises:
        BackendError: The kernel treats a packet differently from what the model predicts.
    """
    if found.shown is None:
        seeker, mesh = found.seeker, sender.mesh
        able = partial(sendable, seeker, sender.reach)
        ends = Ends(sender.pod, mesh.client, sender.send)
        found.shown = validate(trace, seeker, occurring(seeker), able, ends, learnt.confirmed)
        learnt.forms |= forms(seeker) or set()


def _use(found: Compared, learnt: Learnt) -> RuleUse | None:
    """Return the use of the rules of a validated pod; checks that share a pod find it once."""
    if found.use is None and found.shown is not None:
        found.use = rule_use(found.seeker, found.shown, occurring(found.seeker), learnt.needed)
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
class _Hunt:
    """Sends the flows of findings.

    Attributes:
        found: The findings.
        sender: Sends by sockets.
        forger: Sends what no socket sends.
        timeout_s: When an answer counts as missing, in seconds.
        wrong: The flows that were treated wrongly.
        cause: The first false claim about one of them.
        open: What is not proved, and why.
        unanswered: Flows without an answer so far.
    """

    found: Compared
    sender: Sender
    forger: Forger
    timeout_s: float
    wrong: list[str] = field(default_factory=list)
    cause: Claim | None = None
    open: list[str] = field(default_factory=list)
    unanswered: int = 0

    def judge(self, finding: Finding) -> None:
        """Send the flow of a finding; record what it shows.

        Raises:
            BackendError: The model predicts another fate than the required one that was seen.
        """
        self.unanswered += finding.end.kind in _SLOW
        hidden = finding.end == End(EndKind.CHANGED, SOURCE_CHANGED)
        # Another change is not visible in a fate.
        unseen = finding.later or (finding.end.kind is EndKind.CHANGED and not hidden)
        late = self.unanswered > _SLOW_AT_MOST
        fate = None if unseen or late else self.sender.send(self._alike(finding))
        if fate is None:
            self._send_otherwise(finding)
            return
        judged = self.sender.claim(finding.duty.route, finding.packet, fate)
        # No sentence protects the source of a call inside the pod.
        told = finding.packet.interface != "lo"
        if hidden and told and judged.holds and fate.client is not None:
            judged = fate.came_from(fate.client)
        seen, moved = fate.seen, finding.end.kind is EndKind.ELSEWHERE
        moved = moved and finding.packet.protocol == TCP and finding.duty.route is Route.DIRECT
        if moved and judged.holds:  # one listener answers at every address of the pod
            judged = fate.at_dialled_address
            seen = f"{seen}, at {fate.accepted.local}"
        if not judged.holds:
            self.cause = self.cause or judged
            self._blame(finding, seen)
        elif finding.depends:
            self._doubt(finding)
        elif hidden:  # NAT may choose the same source
            self.open.append(f"its source may change: {finding.packet}")
        elif self.found.predicts(finding, fate):
            raise BackendError(_contradiction(finding, fate))
        else:
            self.open.append(f"the packet that was sent differs from: {finding.packet}")

    def _alike(self, finding: Finding) -> Packet:
        """Return a packet with the same fate that can be sent, if the finding's packet cannot."""
        packet = finding.packet
        for other in self.sender.instead(packet, finding.end):
            if follow(self.found.seeker.model, other).ends == finding.path.ends:
                return other
        return packet

    def _blame(self, finding: Finding, seen: str) -> None:
        cause = show.reason(finding.shown)
        if finding.depends and finding.end.kind is not EndKind.OPAQUE:
            cause = f"it depends on {finding.depends[0]}"
        self.wrong.append(f"{finding.packet}: {seen}; {cause}")

    def _send_otherwise(self, finding: Finding) -> None:
        """Send a packet that no socket sends, or send more than the first one."""
        if finding.later:
            seen = self._exchanged(finding)
        else:
            seen = self.forger.wrong(finding.packet, finding.duty.route)
        if seen:
            self._blame(finding, seen)
        else:
            about = f", {show.subsequent(finding)}" if finding.later else ""
            self.open.append(f"not sent: {finding.packet}{about}, {show.reason(finding.shown)}")

    def _exchanged(self, finding: Finding) -> str | None:
        """Send data on a connection; return what is wrong with the answer."""
        connection = self.sender.open(finding.packet)
        if connection is None or finding.following is None:
            return None
        later, packets = finding.following.packet, show.subsequent(finding)
        data = payload(later)
        with connection:
            if connection.fate.lost:
                return f"{packets}: {connection.fate.seen}"
            done = connection.echoes(data, self.timeout_s)
            if done.holds and later.tcp_flags & FIN:
                done = connection.half_closes(self.timeout_s)
            return "" if done.holds else f"{packets}: {done.seen}"

    def _doubt(self, finding: Finding) -> None:
        """Look for a flow for which a condition that is not understood has the other result."""
        what = f"{DEPENDS}{finding.dependence}"
        crossing = max(filter(None, map(flows_to_cross, finding.depends)), default=None)
        if crossing is None:
            seen = self.forger.wrong_header(finding.packet, finding.duty.route)
            if not seen and self._wrong_by_name(finding):
                return
        elif crossing > _CROSSED_AT_MOST:
            self.open.append(f"{what}, which takes {crossing} flows to cross")
            return
        else:
            seen = repeated(self.sender, finding, crossing)
        if seen:
            self._blame(finding, seen)
        else:
            self.open.append(what)

    def _wrong_by_name(self, finding: Finding) -> bool:
        """Send flows with the values that the condition names; whether one is treated wrongly."""
        for packet in named(self.found.seeker, finding):
            fate = self.sender.send(packet)
            judged = None if fate is None else self.sender.claim(finding.duty.route, packet, fate)
            if judged is not None and not judged.holds:
                self.cause = self.cause or judged
                path = follow(self.found.seeker.model, packet)
                self._blame(replace(finding, path=path), judged.seen)
                return True
        return False

"""Explain the wrong fate of one flow in two lines: its path through the rules, and the cause."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_fsmredir.model.flow import Acceptor, Claim, Direction, Fate
from pytest_fsmredir.model.reserved import INBOUND_PORT, OUTBOUND_PORT
from pytest_fsmredir.rules.bdd import ALL, NONE
from pytest_fsmredir.rules.ends import Asked, EndKind
from pytest_fsmredir.rules.forms import Alter, Copy, Field, Hook, Source, Untrack, Write
from pytest_fsmredir.rules.packet import TCP
from pytest_fsmredir.rules.prove import Finding, Prover
from pytest_fsmredir.rules.why.blame import (
    CAPTURED,
    MOVING,
    Blame,
    Place,
    jumps_to,
    named,
    nears,
    of,
    redirects_to,
    removable,
)
from pytest_fsmredir.rules.why.case import Case
from pytest_fsmredir.rules.why.missed import missed
from pytest_fsmredir.rules.why.pathline import path_line
from pytest_fsmredir.rules.why.peculiar import peculiar
from pytest_fsmredir.rules.why.scene import Scene
from pytest_fsmredir.rules.why.sending import KINDS, of_packet, sendings
from pytest_fsmredir.rules.why.taken import taken
from pytest_fsmredir.rules.why.words import effect, label, leaves, matched, unmet

_SEEN_AT = {
    Acceptor.SIDECAR_OUTBOUND: EndKind.CAPTURED_OUTBOUND,
    Acceptor.SIDECAR_INBOUND: EndKind.CAPTURED_INBOUND,
}
_LISTENS = {
    Acceptor.SIDECAR_OUTBOUND: OUTBOUND_PORT,
    Acceptor.SIDECAR_INBOUND: INBOUND_PORT,
}
_HARMED = frozenset({EndKind.DROPPED, EndKind.REFUSED, EndKind.CHANGED})
_UNRECORDED = frozenset(
    {Field.LENGTH, Field.TCP_FLAGS, Field.TOS, Field.TTL, Field.LINK_TYPE, Field.MARK}
)
_CHANGING = (Source, Alter, Write, Copy, Untrack)
_ELSEWHERE = frozenset({EndKind.ELSEWHERE, *CAPTURED})


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a flow has the wrong fate.

    Attributes:
        path: The path through the rules, in one line.
        why: The cause, in one sentence.
        places: The rules that the sentence names, and the chains in which one is missing.
        case: The packet in its pod; None if the rules were not read.
        printed: What the command printed that read the rules.
    """

    path: str
    why: str
    places: tuple[Place, ...] = ()
    case: Case | None = None
    printed: str = ""


def explain(claim: Claim, scene: Scene) -> Explanation:
    """Explain a false claim about a flow by the rules in its pod.

    Raises:
        TooComplexError: The rules exceed the limits of the model.
    """
    cases = [scene.case(each) for each in sendings(claim, scene.policy, scene.pod)]
    case = next((each for each in cases if each.end is not each.sending.wanted), cases[0])
    if case.end is not case.sending.wanted and _agrees(case, claim.fate):
        return _explanation(case, blamed(case))
    expects = _expects(case, claim.fate)
    blame = doubtful(case) or changing(case) or unrecorded(case)
    if blame is not None:
        return _explanation(case, Blame(f"{expects}; {blame.why}", blame.places))
    found = searched(scene, case.family, like=case) if claim.fate.lost else None
    if found is not None:
        return _explanation(case, Blame(f"{expects}; {found.why}", found.places))
    return _explanation(case, Blame(f"{expects}: the rules do not explain this", ()))


def searched(
    scene: Scene, family: int, *, spec: str = "", like: Case | None = None
) -> Explanation | None:
    """Explain a failure by a flow that the rules treat wrongly; None if there is no such flow.

    This is for failures of packets that the model does not know in full.

    Args:
        scene: The pod.
        family: IP version.
        spec: The sentence that the failed check is about; its flows are preferred.
        like: A flow that the rules treat correctly. A rule that drops other packets can be why it
            had no answer.

    Raises:
        TooComplexError: The rules exceed the limits of the model.
    """
    prover = Prover(scene.rules, scene.policy, family, scene.pod)
    proofs = [prover.prove(way) for way in Direction]
    found = [finding for proof in proofs for finding in (*proof.findings, *proof.doubts)]
    if like is not None:
        found = [finding for finding in found if finding.end.kind in _HARMED]
    for finding in sorted(found, key=lambda each: _distance(each, spec, like)):
        case = scene.case(of_packet(finding.packet, KINDS[finding.duty.route]))
        blame = _of_finding(finding, case)
        return _explanation(case, Blame(f"{blame.why} (such as {finding.packet})", blame.places))
    rest = peculiar(scene.rules, family) if like is None else None
    return None if rest is None else Explanation("", rest.why, rest.places)


def _distance(finding: Finding, spec: str, like: Case | None) -> tuple[bool, ...]:
    """Return a key that sorts the findings first that are most like the failure."""
    packet, other = finding.packet, like.sending.packet if like else finding.packet
    return (
        packet.protocol != other.protocol,
        packet.direction is not other.direction,
        like is not None and KINDS[finding.duty.route] is not like.sending.wanted,
        finding.duty.sentence != spec,
        _section(finding.duty.sentence) != _section(spec),
        finding.later,
        bool(finding.depends),
    )


def _section(sentence: str) -> str:
    """Return the section of a sentence's id; most of them are about one direction."""
    return sentence.partition(".")[0]


def _of_finding(finding: Finding, case: Case) -> Blame:
    decider = finding.decider
    if finding.depends:
        places = () if decider is None else (of(decider),)
        where = "" if decider is None else f" in {named(decider)}"
        return doubtful(case) or Blame(f"it depends on {finding.depends[0]}{where}", places)
    if decider is not None and (finding.later or case.end is case.sending.wanted):
        what = matched(decider.rule, case.family) or "every packet"
        later = " of open connections" if finding.later else ""
        later = " of answers" if finding.answers else later
        return Blame(f"by {named(decider)}, {what}{later} is {finding.end}", (of(decider),))
    return blamed(case)


def _explanation(case: Case, blame: Blame) -> Explanation:
    return Explanation(path_line(case, blame.places), blame.why, blame.places, case)


def blamed(case: Case) -> Blame:
    """Return the rule that gives a packet the wrong fate."""
    end, wanted = case.end, case.sending.wanted
    if (crossed := _crossed(case)) is not None:
        return crossed
    if end in {EndKind.DROPPED, EndKind.REFUSED, EndKind.CHANGED, EndKind.OPAQUE}:
        return _harmed(case)
    if wanted is EndKind.DIRECT and end in _ELSEWHERE:
        return taken(case)
    if end is EndKind.DIRECT:
        return missed(case)
    if end in _ELSEWHERE:
        return _misdirected(case)
    return _lost(case)


def _crossed(case: Case) -> Blame | None:
    """Explain a hook that leads to the chain of another hook, so that its own chain is idle."""
    for asked in case.hits:
        target = case.rules.target(asked.chain, jumps_to(asked.rule))
        if asked.chain.hook is None or target is None:
            continue
        if all(spot.chain.hook in {None, asked.hook} for spot in case.leads_to(target)):
            continue  # only this hook leads there
        for chain in case.rules.chains.values():
            known = (chain.origin, chain.table) == (target.origin, target.table)
            idle = known and chain.hook is None and chain.rules and not case.leads_to(chain)
            if idle and case.leading_to(asked.rule, chain) is case.sending.wanted:
                why = f"{named(asked)} leads to {label(target)}, and no rule leads to"
                return Blame(f"{why} {label(chain)}", (of(asked),))
    return None


def _lost(case: Case) -> Blame:
    """Explain a packet that arrives nowhere."""
    for asked in reversed(case.hits):
        if any(isinstance(action, MOVING) for action in asked.rule.actions):
            what = f"{named(asked)} sends this flow to {effect(asked.rule.actions, case.family)}"
            return Blame(f"{what}: {case.path.end}", (of(asked),))
    return Blame(f"the packet is {case.path.end}", ())


def _agrees(case: Case, fate: Fate) -> bool:
    """Whether the model's fate can be the one that was seen."""
    if case.sending.flow != fate.flow or fate.accepted_by is None:
        return True
    if case.end is EndKind.DIRECT and fate.flow.destination.port == _LISTENS.get(fate.accepted_by):
        return True  # a direct flow to a listener of the sidecar
    seen = _SEEN_AT.get(fate.accepted_by)
    if seen is None:
        return case.end in {EndKind.DIRECT, EndKind.CHANGED, EndKind.ELSEWHERE, EndKind.OPAQUE}
    return case.end in {seen, EndKind.OPAQUE, EndKind.CHANGED}


def _expects(case: Case, fate: Fate) -> str:
    seen = fate.seen.partition(" (")[0].strip()
    return f"the model expects {case.path.end}; seen: {seen or 'nothing'}"


def doubtful(case: Case) -> Blame | None:
    """Name a rule whose condition the model does not understand, and that decides the fate."""
    wanted = case.sending.wanted
    for asked in case.path.asked:
        if asked.hit in (NONE, ALL):
            continue
        if case.with_match(asked.rule) is not wanted or case.without(asked.rule) is not wanted:
            unknown = next(iter(case.unknown(asked.rule)), "a condition")
            why = f"it depends on '{unknown}' in {named(asked)}, which the model cannot tell"
            return Blame(why, (of(asked),))
    return None


def unrecorded(case: Case) -> Blame | None:
    """Name a rule that compares a field of the packet that is not known of a flow."""
    is_tcp = case.sending.packet.protocol == TCP
    hidden = _UNRECORDED if is_tcp else _UNRECORDED - {Field.LENGTH}
    for asked in case.path.asked:
        failing = case.failing(asked.rule)
        fields = {test.field for condition in failing for test, _ in leaves(condition.test)}
        if failing and fields <= hidden and case.with_match(asked.rule) is not case.sending.wanted:
            what = matched(asked.rule, case.family)
            why = f"{named(asked)} takes {what}, which is not known of this flow"
            return Blame(why, (of(asked),))
    for asked in case.hits:
        tests = [test for c in asked.rule.conditions for test, _ in leaves(c.test)]
        unsure = any(test.field in hidden for test in tests)
        if unsure and case.without(asked.rule) is not case.sending.wanted:
            what = matched(asked.rule, case.family)
            why = f"{named(asked)} takes only {what}, which is not known of every packet"
            return Blame(why, (of(asked),))
    return None


def changing(case: Case) -> Blame | None:
    """Name a rule that changes the packet on its way."""
    for asked in reversed(case.hits):
        changes = [each for each in asked.rule.actions if isinstance(each, _CHANGING)]
        if changes and all(isinstance(each, Untrack) for each in changes):
            why = f"{named(asked)} takes the packet out of connection tracking"
            return Blame(why, (of(asked),))
        if changes:
            return Blame(f"{named(asked)} changes the packet", (of(asked),))
    for spot in case.every():
        # Source NAT of a redirected connection, which the walk leaves out.
        late = spot.chain.hook in {Hook.INPUT, Hook.POSTROUTING}
        if late and any(isinstance(action, Source) for action in spot.rule.actions):
            what = matched(spot.rule, case.family) or "every packet"
            return Blame(f"{named(spot)} changes the source of {what}", (of(spot),))
    return None


def _harmed(case: Case) -> Blame:
    """Explain a packet that a rule drops, rejects or changes."""
    decider = case.path.decider
    if decider is None:
        return Blame(f"the packet is {case.path.end}", ())
    detail = case.path.end.detail.replace("its ", "the ")
    of_packets = f"{detail} of " if detail.startswith("the ") else ""
    does = {
        EndKind.DROPPED: "drops", EndKind.REFUSED: "rejects",
        EndKind.CHANGED: f"changes {of_packets}",
        EndKind.OPAQUE: "has an action that the model does not understand for",
    }[case.end].strip()  # fmt: skip
    values = matched(decider.rule, case.family)
    what = f"packets with {values}" if values else "every packet"
    more = f" ({detail})" if detail and not of_packets else ""
    return Blame(f"{named(decider)} {does} {what}{more}", (of(decider),))


def _belongs(last: Asked, port: int | None) -> bool:
    """Whether a redirect is right for other flows of its hook."""
    return port == (OUTBOUND_PORT if last.hook is Hook.OUTPUT else INBOUND_PORT)


def _misdirected(case: Case) -> Blame:
    """Explain a flow that is redirected to the wrong port."""
    inbound = case.sending.wanted is EndKind.CAPTURED_INBOUND
    wanted = INBOUND_PORT if inbound else OUTBOUND_PORT
    last = case.stack[-1]
    port = redirects_to(last.rule)
    if case.end is EndKind.ELSEWHERE:
        what = f"sends this flow to {effect(last.rule.actions, case.family)}, not to {wanted}"
        return Blame(f"{named(last)} {what}", (of(last),))
    for level in case.stack:
        special = matched(level.rule, case.family, without=(Field.PROTOCOL,))
        if special and case.without(level.rule) is case.sending.wanted:
            return Blame(f"{named(level)} sends {special} to {port}, not to {wanted}", (of(level),))
    for near in nears(case)[:1] if _belongs(last, port) else ():
        only = unmet(near.failing[0], case.sending.packet)
        why = f"{named(near.spot)} leads to {wanted}, but not for this flow: {only}"
        return Blame(why, (of(near.spot),))
    for asked in removable(case)[:1]:
        return Blame(f"{named(asked)} sends this flow to {port}, not to {wanted}", (of(asked),))
    caller = case.stack[-2] if len(case.stack) > 1 else last
    leads = f"{named(caller)} leads to {jumps_to(caller.rule)}: " if caller is not last else ""
    why = f"{leads}{named(last)} redirects to {port}, not to {wanted}"
    return Blame(why, (of(last), of(caller), Place(caller.chain)))

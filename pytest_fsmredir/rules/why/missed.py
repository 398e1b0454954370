"""Explain a flow that has to be redirected and is direct: which rule exempts it, or did not act."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.model.reserved import INBOUND_PORT, OUTBOUND_PORT
from pytest_fsmredir.rules.ends import Asked, EndKind
from pytest_fsmredir.rules.forms import (
    Accept,
    Chain,
    Field,
    Hook,
    Kind,
    Redirect,
    Return,
    Rule,
    Untrack,
)
from pytest_fsmredir.rules.why.blame import (
    Blame,
    Near,
    Place,
    behind,
    is_sparing,
    jumps_to,
    named,
    nears,
    of,
    removable,
    rules_named,
    unreached_chains,
)
from pytest_fsmredir.rules.why.case import Case
from pytest_fsmredir.rules.why.topics import Topic, capturing
from pytest_fsmredir.rules.why.withdrawn import HAIRPIN, history
from pytest_fsmredir.rules.why.words import (
    effect,
    label,
    leaves,
    listed,
    matched,
    span_words,
    unmet,
)


def missed(case: Case) -> Blame:
    """Return why a flow is direct that has to be redirected."""
    return next(_explanations(case), None) or _missing(case)


def _explanations(case: Case) -> Iterator[Blame]:
    yield from _accepted(case)
    yield from _to_its_own_port(case)
    wrong = removable(case)
    if wrong and is_sparing(wrong[0].rule):
        yield _exempted(case, wrong)
    close = nears(case)
    topics = list(capturing(case))
    yield from _too_narrow(case, close, topics)
    yield from _empty(case, sparing=False)
    yield from _before(case, topics)
    yield from _empty(case, sparing=True)
    yield from _no_jump(case)
    yield from _other_family(case)


def _accepted(case: Case) -> Iterator[Blame]:
    """Explain an exemption that ends the base chain, where it should only leave its own chain."""
    decider = case.path.decider
    if decider is None or not any(isinstance(a, Accept) for a in decider.rule.actions):
        return
    returning = replace(decider.rule, actions=(Return(),))
    if case.with_other(decider.rule, returning) is case.sending.wanted:
        what = matched(decider.rule, case.family, without=(Field.PROTOCOL,)) or "every packet"
        why = f"{named(decider)} accepts {what}, so that no later rule of the hook sees this flow"
        yield Blame(why, (of(decider),))


def _to_its_own_port(case: Case) -> Iterator[Blame]:
    """Explain a redirect to the port that the flow has already."""
    right = (Redirect(_port(case)),)
    for asked in reversed(case.hits):
        other = replace(asked.rule, actions=right)
        if _redirects(asked.rule) and case.with_other(asked.rule, other) is case.sending.wanted:
            what = effect(asked.rule.actions, case.family)
            why = f"{named(asked)} sends this flow to {what}, not to {_port(case)}"
            yield Blame(why, (of(asked),))


def _exempted(case: Case, wrong: list[Asked]) -> Blame:
    first = wrong[0]
    what = matched(first.rule, case.family, without=(Field.PROTOCOL,)) or "every packet"
    verb = "untracks" if any(isinstance(a, Untrack) for a in first.rule.actions) else "exempts"
    told = history(case, first.rule)
    for spot in behind(case) if told == HAIRPIN else ():
        if matched(spot.rule, case.family, without=(Field.PROTOCOL,)):
            takes = f"{named(spot)} is for this flow, but stands behind rule #{first.rule.number}"
            return Blame(f"{takes}, which {verb} {what}", (of(spot), of(first)))
    why = f"{named(first)} {verb} {what}{told}"
    if len(wrong) > 1:
        others = wrong[1:]
        why += f"; so {'does' if len(others) == 1 else 'do'} {rules_named(others)}"
    return Blame(why, tuple(of(asked) for asked in wrong))


def _too_narrow(case: Case, close: list[Near], topics: list[Topic]) -> Iterator[Blame]:
    """Explain a redirect with a condition too many, and a range that is missing."""
    for topic in topics:
        yield from _of_range(case, close, topic)
    siblings = [near for near in close if any(_is_item(topic, near) for topic in topics)]
    others = [near for near in close if near not in siblings]
    for near in others[:1]:
        only = unmet(near.failing[0], case.sending.packet)
        target = jumps_to(near.spot.rule)
        does = f"leads to {target}" if target and near.spot.chain.hook else "captures"
        why = f"{named(near.spot)} {does}, but not for this flow: {only}"
        yield Blame(why, (of(near.spot),))
    for near in siblings[:1]:
        what = topics[0].what
        why = f"no rule of {label(near.spot.chain)} captures the included range {what}"
        yield Blame(why, (Place(near.spot.chain), of(near.spot)))


def _of_range(case: Case, close: list[Near], topic: Topic) -> Iterator[Blame]:
    """Explain a rule of the flow's own range, which asks for more, or has a part of the range."""
    for near in close:
        values = topic.value_in(near.spot.rule)
        if values is None:
            continue
        fields = {test.field for c in near.failing for test, _ in leaves(c.test)}
        if topic.negated_in(near.spot.rule):
            if fields == {topic.field} and topic.is_item(values):
                but = span_words(topic.field, values, case.family)
                why = f"{named(near.spot)} is inverted: it captures all but {but}"
                yield Blame(why, (of(near.spot),))
        elif topic.field not in fields:
            only = listed([unmet(condition, case.sending.packet) for condition in near.failing])
            why = f"{named(near.spot)} captures {topic.what}, but not this flow: {only}"
            yield Blame(why, (of(near.spot),))
    valued = [(near, topic.value_in(near.spot.rule)) for near in close if len(near.failing) == 1]
    parts = [(near, values) for near, values in valued if values and topic.is_part(values)]
    if parts:
        near, values = min(parts, key=lambda each: topic.distance(each[1], case))
        has = span_words(topic.field, values, case.family)
        why = f"{named(near.spot)} captures only {has} of the included range {topic.what}"
        yield Blame(why, (of(near.spot), Place(near.spot.chain)))


def _is_item(topic: Topic, near: Near) -> bool:
    values = topic.value_in(near.spot.rule)
    return values is not None and topic.is_inside(values) and len(near.failing) == 1


def _before(case: Case, topics: list[Topic]) -> Iterator[Blame]:
    """Explain an exemption that is right for other flows, but has no redirect before it."""
    decider = case.path.decider
    if decider is None or not is_sparing(decider.rule):
        return
    chain, number = decider.chain, decider.rule.number
    if case.with_rule(chain, number - 1, _redirect(case)) is case.sending.wanted:
        does = f"sends this flow to port {_port(case)}"
        if topics:
            does = f"captures the included range {topics[0].what}"
        why = f"no rule of {label(chain)} {does} before rule #{number}, which exempts it"
        yield Blame(why, (Place(chain), of(decider)))


def _empty(case: Case, *, sparing: bool) -> Iterator[Blame]:
    """Explain a chain that a packet returns from without a verdict.

    Args:
        case: The flow and the rules.
        sparing: Whether the chain may have exemptions, so that it can rightly do nothing.
    """
    for asked in reversed(case.hits):
        name = jumps_to(asked.rule)
        target = case.rules.target(asked.chain, name) if name else None
        if target is None or any(a.chain is target and a.hit for a in case.path.asked):
            continue
        if not sparing and any(is_sparing(rule) for rule in target.rules):
            continue
        if case.with_rule(target, len(target.rules), _redirect(case)) is case.sending.wanted:
            if len(target.rules) == 0:
                why = f"{named(asked)} leads to {label(target)}, which has no rule"
            else:
                why = f"no rule of {label(target)} redirects this flow"
            last = [Place(target, len(target.rules))] if target.rules else []
            yield Blame(why, (Place(target), of(asked), *last))


def _no_jump(case: Case) -> Iterator[Blame]:
    ranked = sorted(unreached_chains(case), key=lambda pair: -len(pair[1].rules))
    hit = {jumps_to(asked.rule) for asked in case.hits}
    for base, chain in ranked:
        if chain.name in hit:
            continue
        yield Blame(f"no rule of {label(base)} jumps to {label(chain)}", (Place(base),))


def _other_family(case: Case) -> Iterator[Blame]:
    """Explain that only the other IP version, or the other variant, has rules."""
    if any(_redirects(spot.rule) for spot in case.every()):
        return
    for chain in case.rules.chains.values():
        if any(_redirects(rule) for rule in chain.rules):
            why = f"no rule for IPv{case.family} redirects: only {chain.origin} has such rules"
            yield Blame(why, (Place(_base(case)),))
            return
    yield Blame("no rule of any table redirects", (Place(_base(case)),))


def _missing(case: Case) -> Blame:
    chain = _last_chain(case)
    why = f"no rule of {label(chain)} sends this flow to port {_port(case)}"
    return Blame(why, (Place(chain),))


def _last_chain(case: Case) -> Chain:
    """Return the chain in which a redirect is missing."""
    candidates: dict[int, Chain] = {}
    for asked in case.path.asked:
        candidates[id(asked.chain)] = asked.chain
        name = jumps_to(asked.rule) if asked.hit else ""
        target = case.rules.target(asked.chain, name) if name else None
        if target is not None:
            candidates[id(target)] = target
    for chain in reversed(candidates.values()):
        for place in range(len(chain.rules), -1, -1):
            if case.with_rule(chain, place, _redirect(case)) is case.sending.wanted:
                return chain
    return _base(case)


def _base(case: Case) -> Chain:
    inbound = case.sending.packet.direction is Direction.INBOUND
    hook = Hook.PREROUTING if inbound else Hook.OUTPUT
    bases = case.rules.at(hook, case.family)
    nat = [chain for chain in bases if chain.kind is Kind.NAT]
    return next(iter(nat or bases), Chain(hook.value.upper(), "nat", "", families=(case.family,)))


def _redirect(case: Case) -> Rule:
    return Rule((), (Redirect(_port(case)),), 0, "", 0)


def _port(case: Case) -> int:
    inbound = case.sending.wanted is EndKind.CAPTURED_INBOUND
    return INBOUND_PORT if inbound else OUTBOUND_PORT


def _redirects(rule: Rule) -> bool:
    return any(isinstance(action, Redirect) for action in rule.actions)

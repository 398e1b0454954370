"""Explain a flow that has to be direct and is redirected: which exemption did not act."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.model.reserved import INBOUND_PORT, OUTBOUND_PORT, SERVED_PORTS
from pytest_fsmredir.rules.bdd import Intervals, contains, joined
from pytest_fsmredir.rules.ends import Asked, EndKind
from pytest_fsmredir.rules.forms import Field, Return, Rule
from pytest_fsmredir.rules.packet import TCP, protocol_name, text_of
from pytest_fsmredir.rules.space import LOOPBACK
from pytest_fsmredir.rules.why.blame import (
    Blame,
    Near,
    Place,
    behind,
    elsewhere,
    exempting_level,
    is_sparing,
    jumps_to,
    named,
    nears,
    of,
    redirects_to,
    removable,
)
from pytest_fsmredir.rules.why.case import Case, Spot
from pytest_fsmredir.rules.why.topics import ADDRESSES, Topic, capturing, covered, exempting, ranges
from pytest_fsmredir.rules.why.words import (
    effect,
    label,
    leaves,
    listed,
    matched,
    mentions,
    span_words,
    unmet,
)

_MISTAKEN = {
    Field.GID: "group, not the user",
    Field.IN: "incoming interface",
    Field.OUT: "outgoing interface",
}
_PROPERTIES = frozenset({Field.MARK, Field.GID, Field.STATE, Field.TOS, Field.TTL})
"""What a rule can ask of a packet, and no list is about."""
_MULTIPORT = 15  # ports of one match (linux/netfilter/xt_multiport.h, XT_MULTI_PORTS)


def taken(case: Case) -> Blame:
    """Return why a flow is redirected that has to be direct."""
    for found in _explanations(case):
        return found
    return _missing(case, None)


def _explanations(case: Case) -> Iterator[Blame]:
    if case.sending.packet.protocol != TCP:
        yield from _other_protocol(case)
        return
    if case.end is EndKind.ELSEWHERE:
        yield from _astray(case)
    close = nears(case)
    topics = list(exempting(case))
    for topic in topics:
        yield from _too_narrow(case, topic, close)
    late = list(behind(case))
    for topic in topics:
        yield from _late(case, [spot for spot in late if topic.value_in(spot.rule) is not None])
    for topic in topics:
        yield from _wrong_field(case, topic, close)
        yield from _incomplete(case, topic, close)
    yield from _late(case, [spot for spot in late if _is_special(case, spot.rule)])
    for topic in topics:
        yield from _by_property(topic, case, close)
    for topic in topics:
        yield from _misused(case, topic)
        yield from _elsewhere(case, topic)
    if not topics:
        yield from _inverted(case)
    yield from _extra(case)
    if not topics:
        yield from _not_included(case)
    for topic in topics:
        yield _missing(case, topic)
    if close:
        yield _nearest(case, close[0])


def _other_protocol(case: Case) -> Iterator[Blame]:
    name = protocol_name(case.sending.packet.protocol)
    for asked in case.stack:
        if case.without(asked.rule) is case.sending.wanted:
            yield Blame(
                f"{named(asked)} takes {name} as well: only TCP is redirected", (of(asked),)
            )


def _astray(case: Case) -> Iterator[Blame]:
    """Explain a redirect to a port of no listener, which never is the sidecar's."""
    last = case.stack[-1]
    if redirects_to(last.rule) not in (OUTBOUND_PORT, INBOUND_PORT):
        what = matched(last.rule, case.family, without=(Field.PROTOCOL,)) or "every packet"
        yield Blame(f"{named(last)} redirects {what} to {_target(case)}", (of(last),))


def _too_narrow(case: Case, topic: Topic, close: list[Near]) -> Iterator[Blame]:
    """Explain an exemption that has a condition too many, or that is inverted."""
    for near in close:
        values = topic.value_in(near.spot.rule)
        if values is None:
            continue
        fields = {t.field for c in near.failing for t, _ in leaves(c.test)}
        negated = topic.negated_in(near.spot.rule)
        if topic.field in fields or negated:
            if fields == {topic.field} and negated:
                but = _span(case, topic, values)
                why = f"{named(near.spot)} is inverted: it exempts all but {but}"
                yield Blame(why, (of(near.spot),))
            continue
        packet = case.sending.packet
        only = listed([unmet(condition, packet) for condition in near.failing])
        why = f"{named(near.spot)} exempts {topic.what}, but not this flow: {only}"
        yield Blame(why, (of(near.spot),))


def _is_special(case: Case, rule: Rule) -> bool:
    """Whether a rule is for some flows only, and does not just end its chain."""
    return bool(matched(rule, case.family, without=(Field.PROTOCOL,)))


def _late(case: Case, late: list[Spot]) -> Iterator[Blame]:
    for spot in late[:1]:
        first = next(asked for asked in case.stack if asked.chain is spot.chain)
        takes = matched(first.rule, case.family) or "every packet"
        why = f"{named(spot)} exempts this flow, but stands behind rule #{first.rule.number}"
        yield Blame(f"{why}, which takes {takes}", (of(spot), of(first)))


def _wrong_field(case: Case, topic: Topic, close: list[Near]) -> Iterator[Blame]:
    if topic.mistaken is None:
        return
    for near in close:
        values = topic.value_in(near.spot.rule, topic.mistaken)
        if values is not None and topic.value_in(near.spot.rule) is None and _fits(topic, values):
            name = _MISTAKEN.get(topic.mistaken, "source, not the destination")
            yield Blame(f"{named(near.spot)} compares the {name}", (of(near.spot),))


def _fits(topic: Topic, values: tuple[tuple[int, int], ...]) -> bool:
    return not topic.items or covered(values, topic.items) > 0


def _incomplete(case: Case, topic: Topic, close: list[Near]) -> Iterator[Blame]:
    """Explain a list without an item, and a rule with another value."""
    alike = [(near, topic.value_in(near.spot.rule)) for near in close]
    wrong = [(n, v) for n, v in alike if v is not None and not _is_listed(case, topic, v)]
    single = [(near, values) for near, values in wrong if len(near.failing) == 1]
    if topic.own:
        yield from _part(case, topic, [(n, v) for n, v in single if topic.is_part(v)])
        single = [(near, values) for near, values in single if not topic.is_inside(values)]
    for near, values in single[:1]:
        has = _span(case, topic, values)
        why = f"{named(near.spot)} exempts {_name(topic)} {has}, not {topic.what}"
        yield Blame(why, (of(near.spot), Place(near.spot.chain)))
    if topic.kind == ADDRESSES:
        for near, values in ((n, v) for n, v in alike if v is not None and topic.is_item(v)):
            why = f"{named(near.spot)} exempts only {_span(case, topic, values)}, not {topic.what}"
            yield Blame(why, (of(near.spot), Place(near.spot.chain)))
    if topic.field is Field.PORT:
        yield from _unlisted(case, topic, [(n, v) for n, v in alike if v is not None])


def _unlisted(case: Case, topic: Topic, alike: list[tuple[Near, Intervals]]) -> Iterator[Blame]:
    """Explain a list of ports that lacks the flow's port: the rules that hold the others."""
    legal = [(near, values) for near, values in alike if topic.is_item(values)]
    if not legal:
        return
    port = case.sending.packet.port
    chain = legal[0][0].spot.chain
    why = f"no rule of {label(chain)} exempts {topic.what}:"
    total = len({*topic.items})
    if len(legal) == 1:
        near, values = legal[0]
        count = topic.listed_in(values)
        why = f"{why} {_short(near.spot)} lists {count} of the {total} {topic.kind}"
        if count == _MULTIPORT and "multiport" in near.spot.rule.text:
            why += ", and one multiport match takes 15"
        yield Blame(why, (of(near.spot), Place(chain)))
        return
    count = topic.listed_in(joined(span for _, values in legal for span in values))
    near, beside = min(
        ((near, end) for near, values in legal for span in values for end in span),
        key=lambda each: (each[1] > port, abs(each[1] - port)),
    )
    why = f"{why} {len(legal)} rules list {count} of the {total} {topic.kind}"
    yield Blame(f"{why}, port {beside} in {_short(near.spot)}", (of(near.spot), Place(chain)))


def _part(case: Case, topic: Topic, parts: list[tuple[Near, Intervals]]) -> Iterator[Blame]:
    """Explain a rule for a part of a range: the one that is nearest to the flow's destination."""
    if parts:
        near, values = min(parts, key=lambda each: topic.distance(each[1], case))
        has = _span(case, topic, values)
        why = f"{named(near.spot)} exempts only {has} of the excluded range {topic.what}"
        yield Blame(why, (of(near.spot), Place(near.spot.chain)))


def _is_listed(case: Case, topic: Topic, values: Intervals) -> bool:
    """Whether a rule's values are items of a list, reserved ports, or the loopback range."""
    if topic.names or (topic.items and topic.is_item(values)):
        return True
    if topic.field is Field.DESTINATION and covered((LOOPBACK[case.family],), values):
        return True
    inbound = case.sending.packet.direction is Direction.INBOUND
    if topic.field is not Field.PORT or not inbound:
        return False
    known = joined((p, p) for p in (*SERVED_PORTS, *case.policy.inbound_port_exclusion_list))
    return all(contains(known, low) and contains(known, high) for low, high in values)


def _by_property(topic: Topic, case: Case, close: list[Near]) -> Iterator[Blame]:
    """Explain an exemption by a property that the flow has not, such as a mark."""
    for near in close:
        fields = {test.field for c in near.failing for test, _ in leaves(c.test)}
        if fields and fields <= _PROPERTIES:
            chain, lacks = near.spot.chain, unmet(near.failing[0], case.sending.packet)
            why = (
                f"no rule of {label(chain)} exempts {topic.what}: {_short(near.spot)} asks for more"
            )
            yield Blame(f"{why} ({lacks})", (of(near.spot), Place(chain)))


def _misused(case: Case, topic: Topic) -> Iterator[Blame]:
    """Explain a rule for the very thing that has to be exempt, with another action."""
    for asked in case.stack:
        values = topic.value_in(asked.rule)
        if values is None or topic.negated_in(asked.rule) or not topic.is_item(values):
            continue
        returning = replace(asked.rule, actions=(Return(),))
        if case.with_other(asked.rule, returning) is case.sending.wanted:
            why = f"{named(asked)} sends {topic.what} to {_target(case)}, but has to exempt it"
            yield Blame(why, (of(asked),))


def _elsewhere(case: Case, topic: Topic) -> Iterator[Blame]:
    """Explain an exemption in another chain, or for the other IP version only."""
    level = _level(case)
    for spot in elsewhere(case):
        if topic.value_in(spot.rule) is None:
            continue
        exempts = f"{named(spot)} exempts {topic.what}, but"
        base = case.stack[0]
        if spot.chain.hook is None and not case.leads_to(spot.chain) and jumps_to(base.rule):
            why = f"{exempts} {named(base)} leads this flow to {jumps_to(base.rule)}"
            yield Blame(why, (of(base), of(spot)))
        elif not _is_of_other_way(case, topic):
            why = f"{exempts} this flow passes {label(level.chain)}"
            yield Blame(why, (of(spot), Place(level.chain)))
    for chain in case.rules.chains.values():
        if case.family in chain.families or chain.name != level.chain.name:
            continue
        for rule in chain.rules:
            if topic.field is not Field.DESTINATION and _exempts(topic, rule, case):
                why = f"no rule of {label(level.chain)} for IPv{case.family} exempts {topic.what}"
                there = Place(chain, rule.number)
                yield Blame(f"{why}: only {chain.origin} does", (Place(level.chain), there))


def _is_of_other_way(case: Case, topic: Topic) -> bool:
    """Whether the list of the other direction names the port, so that a rule there is right."""
    inbound = case.sending.packet.direction is Direction.INBOUND
    policy = case.policy
    ports = policy.outbound_port_exclusion_list if inbound else policy.inbound_port_exclusion_list
    return topic.field is Field.PORT and case.sending.packet.port in ports


def _exempts(topic: Topic, rule: Rule, case: Case) -> bool:
    values = topic.value_in(rule)
    if values is None or not is_sparing(rule):
        return False
    if topic.field is Field.PORT:
        number = case.sending.packet.port
        return any(low <= number <= high for low, high in values)
    return values == topic.items


def _extra(case: Case) -> Iterator[Blame]:
    """Explain a rule for some flows only, which redirects more than the document says."""
    for asked in removable(case)[:1]:
        for level in case.stack:
            special = matched(level.rule, case.family, without=(Field.PROTOCOL,))
            cures = special and case.without(level.rule) is case.sending.wanted
            if cures and not _is_included(case, level.rule):
                why = f"{named(level)} redirects {special} to {_target(case)}"
                yield Blame(why, (of(level), *([of(asked)] if asked is not level else [])))


def _inverted(case: Case) -> Iterator[Blame]:
    """Explain a rule that captures all destinations but the included ones."""
    included = ranges(case.policy.outbound_ip_range_inclusion_list, case.family)
    topic = Topic(Field.DESTINATION, included, "", "included ranges")
    for asked in case.stack:
        values = topic.value_in(asked.rule)
        if values is not None and topic.negated_in(asked.rule) and topic.is_item(values):
            but = _span(case, topic, values)
            yield Blame(f"{named(asked)} is inverted: it captures all but {but}", (of(asked),))


def _is_included(case: Case, rule: Rule) -> bool:
    """Whether a rule captures an included range, as it has to."""
    pairs = [(topic, topic.value_in(rule)) for topic in capturing(case)]
    return any(values is not None and topic.is_item(values) for topic, values in pairs)


def _target(case: Case) -> str:
    return effect(case.stack[-1].rule.actions, case.family)


def _not_included(case: Case) -> Iterator[Blame]:
    """Explain that destinations are captured that no inclusion list names."""
    if not case.policy.outbound_ip_range_inclusion_list:
        return
    for asked in case.stack:
        if mentions(asked.rule, Field.DESTINATION, Field.SOURCE):
            what = matched(asked.rule, case.family, without=(Field.PROTOCOL,))
            to = text_of(case.sending.packet.destination, case.family)
            yield Blame(f"{named(asked)} captures {what}, but no list includes {to}", (of(asked),))
    level = exempting_level(case)
    for asked in [*([level] if level else []), *reversed(case.stack)]:
        if case.without(asked.rule) is case.sending.wanted:
            what = matched(asked.rule, case.family, without=(Field.PROTOCOL,))
            why = (
                f"{named(asked)} captures {what or 'every destination'}, not only what is included"
            )
            yield Blame(why, (of(asked),))


def _missing(case: Case, topic: Topic | None) -> Blame:
    level = _level(case)
    what = topic.what if topic else "this flow"
    why = f"no rule of {label(level.chain)} exempts {what} before rule #{level.rule.number}"
    return Blame(why, (Place(level.chain),))


def _nearest(case: Case, near: Near) -> Blame:
    why = f"{named(near.spot)} is nearest: {unmet(near.failing[0], case.sending.packet)}"
    return Blame(why, (of(near.spot),))


def _level(case: Case) -> Asked:
    """Return the rule before which an exemption belongs."""
    return exempting_level(case) or case.hits[-1]


def _short(spot: Spot) -> str:
    return f"rule #{spot.rule.number}"


def _span(case: Case, topic: Topic, values: tuple[tuple[int, int], ...]) -> str:
    return span_words(topic.field, values, case.family)


def _name(topic: Topic) -> str:
    return {
        Field.PORT: "port", Field.UID: "uid", Field.DESTINATION: "destination",
    }.get(topic.field, topic.field.value)  # fmt: skip

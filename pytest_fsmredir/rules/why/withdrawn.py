"""Why an exemption is wrong: it was withdrawn, it is too wide, or it is of another list."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.model.reserved import SERVED_PORTS, SIDECAR_UID
from pytest_fsmredir.rules.bdd import Intervals, contains, joined
from pytest_fsmredir.rules.forms import Field, Number, Rule
from pytest_fsmredir.rules.packet import text_of
from pytest_fsmredir.rules.why.case import Case
from pytest_fsmredir.rules.why.topics import ranges
from pytest_fsmredir.rules.why.words import leaves, span_words

_INVERTED = ": the match is inverted"
HAIRPIN = ", but no list holds for the sidecar's flows to its own pod"
"""What :func:`history` says of an exemption that is right for all flows but these."""


def history(case: Case, rule: Rule) -> str:
    """Return words about a wrong exemption that begin with a comma or colon; empty if unknown."""
    compared = {
        test.field: (test.values, negated)
        for condition in rule.conditions
        for test, negated in leaves(condition.test)
        if isinstance(test, Number)
    }
    if Field.SOURCE in compared or Field.SOURCE_PORT in compared:
        return _of_sources(case, compared)
    if Field.UID in compared or Field.GID in compared:
        return f": only uid {SIDECAR_UID} is the sidecar"
    if Field.PORT in compared:
        return _of_ports(case, *compared[Field.PORT])
    if Field.DESTINATION in compared:
        return _of_ranges(case, *compared[Field.DESTINATION])
    return ""


def _of_sources(case: Case, compared: Mapping[Field, tuple[Intervals, bool]]) -> str:
    ports, _ = compared.get(Field.SOURCE_PORT, ((), False))
    spans, _ = compared.get(Field.SOURCE, ((), False))
    outbound = case.sending.packet.direction is Direction.OUTBOUND
    known = {*_ports(case.policy, outbound=outbound), *(() if outbound else SERVED_PORTS)}
    lists = [*_excluded(case.policy, case.family), *_included(case.policy, case.family)]
    if any(contains(ports, port) for port in known) or any(span in lists for span in spans):
        return ": it compares the source, not the destination"
    return ", but no list is about sources"


def _of_ports(case: Case, ports: Intervals, negated: bool) -> str:
    port = case.sending.packet.port
    outbound = case.sending.packet.direction is Direction.OUTBOUND
    own = _ports(case.policy, outbound=outbound)
    if negated:
        listed = joined((each, each) for each in (*own, *(() if outbound else SERVED_PORTS)))
        inside = all(contains(listed, low) and contains(listed, high) for low, high in ports)
        return _INVERTED if inside else f", but no list names port {port}"
    if port in own:
        return HAIRPIN
    if any(port in _ports(policy, outbound=outbound) for policy in case.earlier):
        return ", which was withdrawn: no list names it now"
    if port in _ports(case.policy, outbound=not outbound):
        way = "inbound" if outbound else "outbound"
        return f": port {port} is in the list of the {way} direction"
    return _unnamed(ports, port, f"port {port}")


def _of_ranges(case: Case, spans: Intervals, negated: bool) -> str:
    address = case.sending.packet.destination
    name = text_of(address, case.family)
    if negated:
        return _of_others(case, spans, name)
    if any(low <= address <= high for low, high in _excluded(case.policy, case.family)):
        return HAIRPIN
    earlier = [s for p in case.earlier for s in _excluded(p, case.family)]
    if any(low <= address <= high for low, high in earlier):
        return ", which was withdrawn: no list names it now"
    low, high = next((s for s in spans if s[0] <= address <= s[1]), spans[0])
    narrower = [s for s in _excluded(case.policy, case.family) if low <= s[0] and s[1] <= high]
    if len(narrower) == 1:
        has = span_words(Field.DESTINATION, tuple(narrower), case.family)
        return f": the prefix is wider than in the list ({has})"
    if narrower:
        return f": the prefix is wider than those in the list, and no list names {name}"
    return _unnamed(spans, address, name)


def _unnamed(values: Intervals, own: int, name: str) -> str:
    """Return words for a value in no list; they repeat it only if the rule has others."""
    return ", which no list names" if values == ((own, own),) else f", but no list names {name}"


def _of_others(case: Case, spans: Intervals, name: str) -> str:
    """Return words about a rule that exempts all destinations but some."""
    address = case.sending.packet.destination
    if any(low <= address <= high for low, high in _included(case.policy, case.family)):
        return f", but {name} is included as well"
    if all(span in _excluded(case.policy, case.family) for span in spans):
        return _INVERTED
    return f", but no list names {name}"


def _excluded(policy: Policy, family: int) -> Intervals:
    return ranges(policy.outbound_ip_range_exclusion_list, family)


def _included(policy: Policy, family: int) -> Intervals:
    return ranges(policy.outbound_ip_range_inclusion_list, family)


def _ports(policy: Policy, *, outbound: bool) -> tuple[int, ...]:
    if outbound:
        return policy.outbound_port_exclusion_list
    return policy.inbound_port_exclusion_list

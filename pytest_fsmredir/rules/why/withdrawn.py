"""Why an exemption is wrong: it was withdrawn, it is too wide, or it is of another list."""

from __future__ import annotations

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.model.reserved import SIDECAR_UID
from pytest_fsmredir.rules.bdd import Intervals
from pytest_fsmredir.rules.forms import Field, Rule
from pytest_fsmredir.rules.why.case import Case
from pytest_fsmredir.rules.why.topics import Topic, ranges
from pytest_fsmredir.rules.why.words import span_words


def history(case: Case, rule: Rule) -> str:
    """Return words about a wrong exemption that begin with a comma or colon; empty if unknown."""
    values = {field: _values(rule, field) for field in Field}
    if values[Field.SOURCE] or values[Field.SOURCE_PORT]:
        return ", which are of the source, not of the destination"
    if values[Field.UID] or values[Field.GID]:
        return f": only uid {SIDECAR_UID} is the sidecar"
    if ports := values[Field.PORT]:
        return _of_ports(case, ports)
    if spans := values[Field.DESTINATION]:
        return _of_ranges(case, spans)
    return ""


def _of_ports(case: Case, ports: Intervals) -> str:
    port = case.sending.packet.port
    outbound = case.sending.packet.direction is Direction.OUTBOUND
    if any(port in _ports(policy, outbound=outbound) for policy in case.earlier):
        return ", which was withdrawn: no list names it now"
    if port in _ports(case.policy, outbound=not outbound):
        return f": the list of the {'inbound' if outbound else 'outbound'} direction"
    known = _ports(case.policy, outbound=outbound)
    inside = [each for each in known if any(low <= each <= high for low, high in ports)]
    if inside:
        return f", but the list has only {','.join(map(str, inside[:4]))}"
    return ", which no list names"


def _of_ranges(case: Case, spans: Intervals) -> str:
    address = case.sending.packet.destination
    earlier = [s for p in case.earlier for s in _excluded(p, case.family)]
    if any(low <= address <= high for low, high in earlier):
        return ", which was withdrawn: no list names it now"
    low, high = spans[0]
    narrower = [s for s in _excluded(case.policy, case.family) if low <= s[0] and s[1] <= high]
    if narrower:
        has = span_words(Field.DESTINATION, tuple(narrower[:2]), case.family)
        return f": the prefix is wider than in the list ({has})"
    return ", which no list names"


def _excluded(policy: Policy, family: int) -> Intervals:
    return ranges(policy.outbound_ip_range_exclusion_list, family)


def _ports(policy: Policy, *, outbound: bool) -> tuple[int, ...]:
    if outbound:
        return policy.outbound_port_exclusion_list
    return policy.inbound_port_exclusion_list


def _values(rule: Rule, field: Field) -> Intervals:
    return Topic(field, (), "", "").value_in(rule) or ()

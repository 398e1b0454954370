"""The two port lists: each mistake once outbound and once inbound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pytest_fsmredir.implementations.base import Refused
from pytest_fsmredir.model.policy import ListName
from tests.mutants.catalogue.port_lists import in_list
from tests.mutants.changes import (
    Change,
    copied,
    each,
    filtered,
    first,
    in_turn,
    last,
    narrow,
    narrow_for,
    substitute,
    to_end,
    verdict,
    when,
)
from tests.mutants.correct import IN, OUT, Case, Tag
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule, Rules


@dataclass(frozen=True)
class Direction:
    """The differences between the outbound and the inbound list."""

    name: str
    listed: ListName
    tag: str
    chain: str
    other_chain: str
    filter_chain: str


OUTBOUND = Direction("outbound", ListName.OUTBOUND_PORT_EXCLUSION, Tag.PORT_OUT, OUT, IN, "OUTPUT")
INBOUND = Direction("inbound", ListName.INBOUND_PORT_EXCLUSION, Tag.PORT_IN, IN, OUT, "INPUT")


def _full_slot_refused(rules: Rules, case: Case, way: Direction) -> Rules:
    ports = getattr(case.policy, way.listed.value)
    if ports and len(ports) % 15 == 0:
        raise Refused("iptables-restore: invalid port/service `' specified")
    return rules


def _span(rules: Rules, case: Case, way: Direction) -> Rules:
    ports = getattr(case.policy, way.listed.value)
    if not ports:
        return rules
    words = f"-p tcp --dport {min(ports)}:{max(ports)}"
    return (Rule("", way.chain, words), *rules)


def _one_match(rules: Rules, case: Case, way: Direction) -> Rules:
    ports = getattr(case.policy, way.listed.value)
    if len(ports) > 15:
        raise Refused(f"iptables-restore: too many ports specified ({len(ports)})")
    return rules


def _split_span(rule: Rule) -> Rule:
    """Turn runs of ports into ranges that are one port too long, as a wrong compression does."""
    ports = rule.match.rpartition(" ")[2].split(",")
    spans = [f"{port}:{int(port) + 1}" if int(port) < 65535 else port for port in ports[:7]]
    return replace(rule, match=f"-p tcp -m multiport --dports {','.join(spans + ports[7:8])}")


def _hundred(rules: Rules, case: Case, way: Direction) -> Rules:
    ports = getattr(case.policy, way.listed.value)
    if len(ports) > 100:
        raise Refused(f"at most 100 ports can be excluded, not {len(ports)}")
    return rules


def _in_words(way: Direction) -> Iterator[tuple[str, str, str, Change]]:
    """Yield (name, what, source, change) of mistakes with the notation of ports."""
    tag = way.tag
    yield (
        "as-range",
        "the list is read as a range from its lowest to its highest port",
        "B03: linkerd/linkerd2-proxy-init PR 7",
        lambda r, c: _span(r, c, way),
    )
    yield (
        "more-than-15-refused",
        "more than 15 ports are refused",
        "B01: aws/amazon-vpc-cni-plugins PR 77; F01",
        lambda r, c: _one_match(r, c, way),
    )
    yield (
        "more-than-100-refused",
        "more than 100 ports are refused",
        "B02: a fixed buffer",
        lambda r, c: _hundred(r, c, way),
    )
    yield (
        "full-slot-refused",
        "15 ports produce an empty match, which is refused",
        "B03: slots of 15",
        lambda r, c: _full_slot_refused(r, c, way),
    )
    yield (
        "on-eth0-only",
        "the list holds on eth0 only",
        "B11: istio/istio 40326",
        narrow(tag, "-o eth0" if way is OUTBOUND else "-i eth0"),
    )
    yield (
        "for-primary-address-only",
        "the list holds for the pod's first address only",
        "B40: linkerd/linkerd2 9840",
        narrow_for(tag, lambda case: f"{'-s' if way is OUTBOUND else '-d'} {case.addresses[0]}"),
    )
    yield (
        "redirected-to-themselves",
        "excluded ports are redirected to the same port of the pod",
        "B40: istio/istio 7182",
        verdict(tag, "REDIRECT"),
    )
    yield (
        "each-one-too-long",
        "each port becomes a range that is one port too long",
        "B03: linkerd/linkerd2-proxy-init PR 7",
        each(tag, _split_span),
    )


def _in_matches(way: Direction) -> Iterator[tuple[str, str, str, Change]]:
    """Yield (name, what, source, change) of mistakes with matches and their positions."""
    tag = way.tag
    yield (
        "by-source",
        "the list is compared with the source port",
        "source for destination",
        substitute(tag, "--dports", "--sports"),
    )
    yield (
        "by-either",
        "the list is compared with either port",
        "-m multiport --ports",
        substitute(tag, "--dports", "--ports"),
    )
    yield (
        "from-high-ports",
        "the list holds for clients whose own port is 1024 or more",
        "NFS clients use source ports below",
        narrow(tag, "-m tcp --sport 1024:"),
    )
    yield (
        "for-udp",
        "the rule matches UDP, which our chain never sees",
        "wrong protocol",
        substitute(tag, "-p tcp", "-p udp"),
    )
    yield (
        "other-direction",
        "the list acts in the other direction",
        "wrong chain",
        each(tag, lambda rule: replace(rule, chain=way.other_chain)),
    )
    yield (
        "both-directions",
        "the list acts in both directions",
        "B06: istio/istio 9330",
        copied(tag, way.other_chain),
    )
    yield (
        "after-capture",
        "the rule is after the capture",
        "B05: istio/istio PR 13970",
        to_end(tag),
    )
    yield (
        "dropped",
        "excluded ports are dropped instead of exempt",
        "a wrong verdict",
        filtered(tag, way.filter_chain, "DROP"),
    )
    yield (
        "rejected",
        "excluded ports are rejected instead of exempt",
        "a wrong verdict",
        filtered(tag, way.filter_chain, "REJECT"),
    )


def _in_effects(way: Direction) -> Iterator[tuple[str, str, str, Change]]:
    """Yield (name, what, source, change) of mistakes with the effect of the list."""
    tag = way.tag
    yield (
        "accepted",
        "excluded ports are accepted, which hides them from foreign rules",
        "B51: istio/istio 1428",
        verdict(tag, "ACCEPT"),
    )
    yield (
        "inverted",
        "the list is inverted",
        "a wrong negation",
        substitute(tag, "--dports", "! --dports"),
    )
    yield (
        "for-established",
        "the rule matches established connections only",
        "B42: istio/istio 35157",
        narrow(tag, "-m conntrack --ctstate ESTABLISHED"),
    )
    yield (
        "for-clusters-only",
        "the list holds for peers in private ranges only",
        "B09: istio/istio 38588",
        narrow_for(tag, lambda case: _peer(way, case)),
    )
    yield (
        "udp-touched",
        "UDP to the listed ports is redirected",
        "catalogue OPX-008",
        lambda rules, case: (
            *rules,
            *(
                replace(_udp(way), match=rule.match.replace("-p tcp", "-p udp"))
                for rule in rules
                if rule.tag == tag
            ),
        ),
    )
    yield (
        "udp-redirected",
        "with a list in force, UDP to the sidecar's side of it is redirected",
        "B35: istio/istio 29639; catalogue OPX-008",
        when(
            lambda case: getattr(case.policy, way.listed.value),
            last(_udp(way)),
        ),
    )


def _udp(way: Direction) -> Rule:
    hook, port = ("OUTPUT", 15001) if way is OUTBOUND else ("PREROUTING", 15003)
    return Rule("", hook, "-p udp", f"REDIRECT --to-ports {port}")


def _peer(way: Direction, case: Case) -> str:
    return f"{'-d' if way is OUTBOUND else '-s'} {'10.0.0.0/8' if case.family == 4 else 'fd00::/8'}"


def _mutants(way: Direction) -> Iterator[Mutant]:
    for name, what, source, policy in in_list(way.listed):
        yield Mutant(
            name=f"{way.name}-ports-{name}",
            what=f"{way.name} port exclusion: {what}",
            source=source,
            policy=policy,
        )
    for name, what, source, rules in (*_in_words(way), *_in_matches(way), *_in_effects(way)):
        yield Mutant(
            name=f"{way.name}-ports-{name}",
            what=f"{way.name} port exclusion: {what}",
            source=source,
            rules=rules,
        )


def _anded(rules: Rules, case: Case) -> Rules:
    ranges = [rule.match for rule in rules if rule.tag == Tag.RANGE]
    if not ranges:
        return rules
    ports = [rule for rule in rules if rule.tag == Tag.PORT_OUT]
    kept = tuple(rule for rule in rules if rule.tag != Tag.PORT_OUT)
    both = (replace(rule, match=f"{rule.match} {words}") for rule in ports for words in ranges)
    return (*both, *kept)


def _fake(case: Case) -> str:
    return "127.0.0.6" if case.family == 4 else case.addresses[0]


MUTANTS = (
    *_mutants(OUTBOUND),
    *_mutants(INBOUND),
    Mutant(
        name="port-lists-swapped",
        what="the outbound list acts inbound and the inbound list outbound",
        source="B09: istio/istio 38588",
        rules=in_turn(
            each(Tag.PORT_OUT, lambda rule: replace(rule, chain=IN, tag="swapped")),
            each(Tag.PORT_IN, lambda rule: replace(rule, chain=OUT)),
            lambda rules, case: tuple(sorted(rules, key=lambda rule: rule.tag != "swapped")),
        ),
    ),
    Mutant(
        name="port-exclusion-needs-range-exclusion",
        what="with ranges excluded as well, an excluded port has an effect only inside them",
        source="catalogue PREC-003: anded instead of ored",
        rules=_anded,
    ),
    Mutant(
        name="inbound-excluded-from-localhost",
        what="the application sees 127.0.0.6 instead of the client on an excluded port",
        source="B47: linkerd/linkerd2 5913, istio/istio 5679",
        rules=lambda rules, case: (
            *rules,
            *(
                Rule("", "INPUT", r.match, f"SNAT --to-source {_fake(case)}")
                for r in rules
                if r.tag == Tag.PORT_IN
            ),
        ),
    ),
    Mutant(
        name="inbound-exclusion-opens-reserved",
        what="an inbound exclusion of 15000, 15001 or 15003 is honoured",
        source="F06",
        rules=lambda rules, case: first(
            *(
                Rule("", IN, f"-p tcp --dport {port}")
                for port in (15000, 15001, 15003)
                if port in case.policy.inbound_port_exclusion_list
            )
        )(rules, case),
    ),
    Mutant(
        name="inbound-exclusion-opens-admin",
        what="any inbound exclusion opens 15000 as well",
        source="F06; B49: istio/istio.io PR 17303",
        rules=when(
            lambda case: case.policy.inbound_port_exclusion_list,
            first(Rule("", IN, "-p tcp --dport 15000")),
        ),
    ),
)

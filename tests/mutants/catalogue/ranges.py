"""The two lists of ranges: each mistake once for exclusions and once for inclusions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from pytest_fsmredir.model.policy import ListName, Network
from tests.mutants.changes import (
    Change,
    before,
    drop,
    filtered,
    first,
    narrow,
    substitute,
    to_end,
    verdict,
    when,
)
from tests.mutants.correct import IN, OUT, TO_OUT, Case, Tag, of_family
from tests.mutants.mutant import Mutant
from tests.mutants.policies import (
    Listed,
    PolicyChange,
    at_most,
    ignored,
    items,
    without_first,
    without_last,
    without_sixteenth,
)
from tests.mutants.rules import Rule, Rules

_EXCLUDED = ListName.OUTBOUND_IP_RANGE_EXCLUSION
_INCLUDED = ListName.OUTBOUND_IP_RANGE_INCLUSION


@dataclass(frozen=True)
class Kind:
    """The differences between exclusions and inclusions."""

    name: str
    listed: ListName
    tag: str


EXCLUSION = Kind("excluded", _EXCLUDED, Tag.RANGE)
INCLUSION = Kind("included", _INCLUDED, Tag.INCLUDED)


def _prefixed(change: Callable[[Network], int]) -> Callable[[Listed], Listed]:
    """Give every range another prefix length."""

    def edit(networks: Listed) -> Listed:
        return tuple(
            ip_network(
                f"{network[0]}/{min(max(change(network), 0), network.max_prefixlen)}", strict=False
            )
            for network in networks
        )

    return edit


def _octets(network: Network) -> int:
    """Return the prefix length rounded up to a whole octet."""
    return -(-network.prefixlen // 8) * 8


def _without_end(*, first: bool) -> Callable[[Listed], Listed]:
    """Remove one end of each range."""

    def edit(networks: Listed) -> Listed:
        return tuple(
            part
            for network in networks
            for part in (
                network.address_exclude(ip_network(network[0 if first else -1]))
                if network.prefixlen < network.max_prefixlen
                else [network]
            )
        )

    return edit


def _disjoint(networks: Listed) -> Listed:
    """Keep a range only if it does not overlap an earlier one that was kept."""
    kept: list[Network] = []
    for network in networks:
        if not any(network.version == k.version and network.overlaps(k) for k in kept):
            kept.append(network)
    return tuple(kept)


def _neighbours_merged(networks: Listed) -> Listed:
    """Merge each range with its neighbour of equal size, even if no single range covers both."""
    kept: list[Network] = []
    for network in sorted(networks, key=lambda n: (n.version, int(n[0]), n.prefixlen)):
        last = kept[-1] if kept else None
        if (
            last is not None
            and (last.version, last.prefixlen) == (network.version, network.prefixlen)
            and int(last[-1]) + 1 == int(network[0])
        ):
            kept[-1] = last.supernet()
        else:
            kept.append(network)
    return tuple(kept)


def _in_policy(kind: Kind) -> Iterator[tuple[str, str, str, PolicyChange]]:
    """Yield (name, what, source, change) of mistakes with the list itself."""

    def edit(change: Callable[[Listed], Listed]) -> PolicyChange:
        return items(kind.listed, change)

    yield "ignored", "the list is ignored", "B09: istio/istio 38415", ignored(kind.listed)
    yield "first-lost", "the first range is lost", "B02", edit(without_first)
    yield "last-lost", "the last range is lost", "B02: istio/istio PR 59544", edit(without_last)
    yield "only-first", "only the first range counts", "B09: istio/istio 30280", edit(at_most(1))
    yield "cut-at-15", "ranges from the 16th on are lost", "B01, B02", edit(at_most(15))
    yield "cut-at-32", "ranges from the 33rd on are lost", "B02", edit(at_most(32))
    yield "cut-at-65", "ranges from the 66th on are lost", "B02", edit(at_most(65))
    yield "sixteenth-lost", "the 16th range is lost", "B03: slots of 15", edit(without_sixteenth)


def _in_ranges(kind: Kind) -> Iterator[tuple[str, str, str, PolicyChange]]:
    """Yield (name, what, source, change) of mistakes with the size of each range."""

    def edit(change: Callable[[Listed], Listed]) -> PolicyChange:
        return items(kind.listed, change)

    yield (
        "prefix-one-short",
        "each range is twice as large",
        "off by one",
        edit(_prefixed(lambda n: n.prefixlen - 1)),
    )
    yield (
        "prefix-one-long",
        "each range is half as large",
        "off by one",
        edit(_prefixed(lambda n: n.prefixlen + 1)),
    )
    yield (
        "prefix-in-octets",
        "prefix lengths are rounded up to 8, 16, 24 or 32",
        "a mask written as 255.255.0.0",
        edit(_prefixed(_octets)),
    )
    yield (
        "prefix-8-for-16",
        "ranges of 16 bits are read as ranges of 8",
        "a /8 for a /16",
        edit(_prefixed(lambda n: 8 if n.prefixlen == 16 else n.prefixlen)),
    )
    yield (
        "prefix-short-is-none",
        "ranges of less than 8 bits are read as everything",
        "prefix lengths in octets, rounded down",
        edit(_prefixed(lambda n: 0 if n.prefixlen < 8 else n.prefixlen)),
    )
    yield (
        "prefix-24-for-32",
        "single addresses are read as ranges of 24 bits",
        "a /24 for a /32",
        edit(
            _prefixed(lambda n: n.prefixlen - 8 if n.prefixlen == n.max_prefixlen else n.prefixlen)
        ),
    )
    yield (
        "prefix-ignored",
        "each range is read as its first address",
        "the prefix is lost",
        edit(_prefixed(lambda n: n.max_prefixlen)),
    )


def _in_addresses(kind: Kind) -> Iterator[tuple[str, str, str, PolicyChange]]:
    """Yield (name, what, source, change) of mistakes with single addresses of the ranges."""

    def edit(change: Callable[[Listed], Listed]) -> PolicyChange:
        return items(kind.listed, change)

    yield (
        "without-first-address",
        "the first address of each range is left out",
        "the network address is not a host",
        edit(_without_end(first=True)),
    )
    yield (
        "without-last-address",
        "the last address of each range is left out",
        "the broadcast address is not a host",
        edit(_without_end(first=False)),
    )
    yield (
        "one-a-first-address",
        "only the last of several ranges with the same first address has an effect",
        "B09: ranges kept in a map by their address",
        edit(lambda p: tuple({network[0]: network for network in p}.values())),
    )
    yield (
        "neighbours-merged",
        "neighbours of equal size are merged although no single range covers both",
        "ranges collapsed without a check of their start",
        edit(_neighbours_merged),
    )
    yield (
        "overlaps-skipped",
        "a range that touches an earlier one is skipped",
        "nft sets refuse overlapping intervals (auto-merge is off by default)",
        edit(_disjoint),
    )


def _span(rules: Rules, case: Case, kind: Kind) -> Rules:
    networks = of_family(getattr(case.policy, kind.listed.value), case.family)
    if not networks:
        return rules
    least, greatest = min(n[0] for n in networks), max(n[-1] for n in networks)
    target = "RETURN" if kind is EXCLUSION else TO_OUT
    new = Rule("", OUT, f"-m iprange --dst-range {least}-{greatest}", target)
    return before(kind.tag, new)(rules, case)


def _without_everything(tag: str) -> Iterator[tuple[str, str, str, Change]]:
    """Yield mistakes with the ranges that contain every address."""
    yield (
        "everything-skipped",
        "0.0.0.0/0 and ::/0 get no rule",
        "B10: istio/istio 36509",
        lambda rules, case: tuple(
            rule for rule in rules if rule.tag != tag or not rule.match.endswith("/0")
        ),
    )
    yield (
        "everything-among-others-skipped",
        "0.0.0.0/0 and ::/0 get no rule if the list names more",
        "B10: istio/istio 36509",
        lambda rules, case: tuple(
            rule
            for rule in rules
            if not (rule.tag == tag and rule.match.endswith("/0"))
            or sum(other.tag == tag for other in rules) == 1
        ),
    )


def _in_rules(kind: Kind) -> Iterator[tuple[str, str, str, Change]]:
    """Yield (name, what, source, change) of mistakes with the rules of the list."""
    tag = kind.tag
    yield from _without_everything(tag)
    yield (
        "by-source",
        "the list is compared with the source address",
        "source for destination",
        substitute(tag, "-d ", "-s "),
    )
    yield (
        "inverted",
        "the list is inverted",
        "a wrong negation",
        substitute(tag, "-d ", "! -d "),
    )
    yield (
        "as-one-range",
        "the list covers everything from its first to its last address",
        "B03: a list turned into a range",
        lambda rules, case: _span(rules, case, kind),
    )
    yield (
        "port-443-only",
        "the list holds for port 443 only",
        "B09: istio/istio 38588",
        narrow(tag, "-p tcp --dport 443"),
    )
    yield (
        "port-8080-only",
        "the list holds for port 8080 only",
        "B09: istio/istio 38588",
        narrow(tag, "-p tcp --dport 8080"),
    )
    yield (
        "on-eth0-only",
        "the list holds on eth0 only",
        "B11: istio/istio 40326",
        narrow(tag, "-o eth0"),
    )
    yield (
        "for-root-only",
        "the list holds for uid 0 only",
        "B29: istio/istio 4286",
        narrow(tag, "-m owner --uid-owner 0"),
    )


def _mutants(kind: Kind) -> Iterator[Mutant]:
    for name, what, source, policy in (*_in_policy(kind), *_in_ranges(kind), *_in_addresses(kind)):
        yield Mutant(
            name=f"{kind.name}-ranges-{name}",
            what=f"{kind.name} ranges: {what}",
            source=source,
            policy=policy,
        )
    for name, what, source, rules in _in_rules(kind):
        yield Mutant(
            name=f"{kind.name}-ranges-{name}",
            what=f"{kind.name} ranges: {what}",
            source=source,
            rules=rules,
        )


def _hidden(name: str, v4: str, v6: str, source: str) -> Mutant:
    return Mutant(
        name=f"hidden-{name}-exempt",
        what=f"{v4} and {v6} are exempt by default",
        source=source,
        rules=lambda rules, case: first(Rule("", OUT, f"-d {v4 if case.family == 4 else v6}"))(
            rules, case
        ),
    )


MUTANTS = (
    *_mutants(EXCLUSION),
    *_mutants(INCLUSION),
    Mutant(
        name="excluded-ranges-after-capture",
        what="excluded ranges: the rules are after the capture",
        source="B04: istio/istio 6027",
        rules=to_end(Tag.RANGE),
    ),
    Mutant(
        name="excluded-ranges-inbound-too",
        what="excluded ranges: clients from them reach the application",
        source="catalogue OIX-007",
        rules=lambda rules, case: (
            *(
                Rule("", IN, rule.match.replace("-d ", "-s "))
                for rule in rules
                if rule.tag == Tag.RANGE
            ),
            *rules,
        ),
    ),
    Mutant(
        name="excluded-ranges-dropped",
        what="excluded ranges: dropped instead of exempt",
        source="a wrong verdict",
        rules=filtered(Tag.RANGE, "OUTPUT", "DROP"),
    ),
    Mutant(
        name="excluded-ranges-rejected",
        what="excluded ranges: rejected instead of exempt",
        source="a wrong verdict",
        rules=filtered(Tag.RANGE, "OUTPUT", "REJECT"),
    ),
    Mutant(
        name="excluded-ranges-accepted",
        what="excluded ranges: accepted, which hides them from foreign rules",
        source="B51: istio/istio 1428",
        rules=verdict(Tag.RANGE, "ACCEPT"),
    ),
    Mutant(
        name="everything-excluded-uninstalls",
        what="an exclusion of 0.0.0.0/0 also turns inbound capture off",
        source="B10: istio/istio 36509",
        rules=when(
            lambda case: any(
                not network.prefixlen for network in case.policy.outbound_ip_range_exclusion_list
            ),
            drop(Tag.CAPTURE_IN),
        ),
    ),
    _hidden("metadata", "169.254.0.0/16", "fe80::/10", "B56; the instance metadata service"),
    _hidden("private-10", "10.0.0.0/8", "fd00::/8", "B56: capture of the internet only"),
    _hidden("private-172", "172.16.0.0/12", "fc00::/7", "B56: docker's own networks"),
    _hidden("private-192", "192.168.0.0/16", "fec0::/10", "B56: the home network"),
    _hidden("shared", "100.64.0.0/10", "64:ff9b::/96", "B56: carrier-grade NAT and NAT64"),
    _hidden("api-server", "10.96.0.1/32", "fd00:10:96::1/128", "linkerd's and FSM's API server"),
    _hidden("service-network", "10.96.0.0/12", "fd00:10:96::/112", "the default service network"),
    _hidden("pod-network", "10.244.0.0/16", "fd00:10:244::/56", "the default pod network of kind"),
    _hidden("internet-resolvers", "8.8.8.0/24", "2001:4860::/32", "B35: DNS exempt by address"),
    _hidden("resolver", "10.96.0.10/32", "fd00:10:96::a/128", "B35: the cluster's DNS by address"),
    _hidden("reserved", "240.0.0.0/4", "3fff::/20", "B56: class E, in use by clouds"),
    _hidden("node", "192.0.2.1/32", "2001:db8:a::1/128", "B55: istio/istio 29904"),
    Mutant(
        name="private-only-captured",
        what="only private destinations are captured: the internet leaks",
        source="B09: a default inclusion of the cluster's ranges",
        rules=lambda rules, case: narrow(
            Tag.CAPTURE_OUT, f"-d {'10.0.0.0/8' if case.family == 4 else 'fd00::/8'}"
        )(rules, case),
    ),
    Mutant(
        name="lower-half-captured",
        what="only the lower half of all addresses is captured",
        source="an address as a signed 32-bit number",
        rules=lambda rules, case: narrow(
            Tag.CAPTURE_OUT, f"-d {'0.0.0.0/1' if case.family == 4 else '::/1'}"
        )(rules, case),
    ),
)

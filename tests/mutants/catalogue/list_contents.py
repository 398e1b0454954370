"""Lists that are misread for what an item names, for its text, or for another list of the pod."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network

from pytest_fsmredir.model.configuration import parse_ip_range, parse_port
from pytest_fsmredir.model.policy import ListName, Network, Policy
from tests.mutants.changes import Change, each, in_turn, moved_before, when
from tests.mutants.correct import Case, Tag
from tests.mutants.mutant import Mutant
from tests.mutants.policies import Listed, PolicyChange, at_most, items
from tests.mutants.reader import Ports, Reader, raw
from tests.mutants.rules import Rule, Rules

_OUT, _IN = ListName.OUTBOUND_PORT_EXCLUSION, ListName.INBOUND_PORT_EXCLUSION
_EXCLUDED = ListName.OUTBOUND_IP_RANGE_EXCLUSION
_INCLUDED = ListName.OUTBOUND_IP_RANGE_INCLUSION
_INTERFACES = ListName.NETWORK_INTERFACE_EXCLUSION
_WORDS = {
    _OUT: "outbound-ports", _IN: "inbound-ports",
    _EXCLUDED: "excluded-ranges", _INCLUDED: "included-ranges",
    _INTERFACES: "excluded-interfaces",
}  # fmt: skip
_SET_APART = {
    "of-class-e": ("224.0.0.0/3", "B56: class E and multicast taken for one"),
    "of-shared-networks": ("100.64.0.0/10", "B56: carrier-grade NAT"),
    "of-link-local": ("169.254.0.0/16", "B56: metadata services of clouds"),
    "of-private-networks": ("192.168.0.0/16", "B56: private networks"),
    "of-unique-local": ("fc00::/7", "B56: unique local addresses"),
    "of-nat64": ("64:ff9b::/96", "B56: NAT64"),
}
"""Ranges whose parts a mutant drops from a list, and where they come from."""


def _together(listed: ListName, other: ListName, edit: Callable[[Listed], Listed]) -> PolicyChange:
    """Edit a list in a pod that has another list, too."""

    def change(policy: Policy) -> Policy:
        return items(listed, edit)(policy) if getattr(policy, other.value) else policy

    return change


def _cut_together() -> Iterator[Mutant]:
    pairs = [(_OUT, _INCLUDED), (_IN, _INCLUDED), (_EXCLUDED, _INCLUDED), (_INCLUDED, _OUT)]
    for listed, other in pairs:
        yield Mutant(
            name=f"{_WORDS[listed]}-cut-at-15-with-{_WORDS[other]}",
            what=f"{listed.value}: together with {other.value}, items from the 16th on are lost",
            source="B01, in one branch of a template",
            policy=_together(listed, other, at_most(15)),
        )


def _usual_ports_lost() -> Iterator[Mutant]:
    for listed in (_OUT, _IN):
        yield Mutant(
            name=f"{_WORDS[listed]}-of-dns-alone-lost",
            what=f"{listed.value}: the port 53 is lost where no other port is named",
            source="B56: DNS, which a sidecar sees to by itself",
            policy=items(listed, lambda ports: () if ports == (53,) else ports),
        )
        yield Mutant(
            name=f"{_WORDS[listed]}-of-the-web-lost",
            what=f"{listed.value}: the port 80 is lost",
            source="B56: a mesh is there for HTTP",
            policy=items(listed, lambda ports: tuple(port for port in ports if port != 80)),
        )


def _outside(text: str) -> Callable[[Listed], Listed]:
    """Drop the ranges that lie in a range."""
    block = ip_network(text)
    return lambda listed: tuple(
        each for each in listed if each.version != block.version or not each.subnet_of(block)
    )


def _set_apart_lost() -> Iterator[Mutant]:
    for listed in (_EXCLUDED, _INCLUDED):
        for name, (block, source) in _SET_APART.items():
            yield Mutant(
                name=f"{_WORDS[listed]}-{name}-lost",
                what=f"{listed.value}: ranges in {block} are lost",
                source=source,
                policy=items(listed, _outside(block)),
            )


def _own_network_lost(tag: str) -> Change:
    """Drop the ranges, shorter than all, that hold an address of the pod."""

    def change(rules: Rules, case: Case) -> Rules:
        own = [ip_address(address) for address in case.addresses]

        def kept(rule: Rule) -> bool:
            network = ip_network(rule.match.split()[-1]) if rule.tag == tag else None
            return network is None or not network.prefixlen or not any(a in network for a in own)

        return tuple(rule for rule in rules if kept(rule))

    return change


def _by_beginning(rule: Rule) -> Rule:
    """Match the interfaces whose names begin so, if the name ends in a digit."""
    return replace(rule, match=re.sub(r"(\d)$", r"\1+", rule.match))


def _read(
    name: str, what: str, source: str, split: Callable[[str], Sequence[str]], argument: str = ""
) -> Mutant:
    def trimmed(text: str) -> list[str]:
        return [item.strip() for item in split(text)]

    read = Reader(lists=raw(trimmed))
    return Mutant(name=name, what=what, source=source, read=read, argument=argument)


def _beginning(pattern: str) -> Ports:
    """Read the first group of what a pattern matches as a port."""

    def read(text: str) -> Sequence[int]:
        found = re.fullmatch(pattern, text)
        return [parse_port(found[1] if found else text)]

    return read


def _in_32_bits(text: str) -> Sequence[int]:
    return [parse_port(str(int(text) % (1 << 32)) if text.isdecimal() else text)]


def _unless_bracketed(text: str) -> Sequence[int]:
    return [] if text[:1] == "[" or text[-1:] == "]" else [parse_port(text)]


def _first_prefix(text: str) -> Sequence[Network]:
    return [parse_ip_range("/".join(text.split("/")[:2]))]


def _unsigned_prefix(text: str) -> Sequence[Network]:
    return [parse_ip_range(text.replace("/-", "/"))]


MUTANTS = (
    *_cut_together(),
    *_usual_ports_lost(),
    *_set_apart_lost(),
    Mutant(
        name="excluded-ranges-of-two-bits-lost",
        what="an excluded range with a prefix of one or two bits is lost",
        source="F03: a table of masks that begins too late",
        policy=items(
            _EXCLUDED, lambda ranges: tuple(r for r in ranges if r.prefixlen not in {1, 2})
        ),
    ),
    *(
        Mutant(
            name=f"{_WORDS[listed]}-of-own-network-lost",
            what=f"{listed.value}: a range that holds the pod's own address is lost",
            source="B56: the pods' network, which the seed's example excludes",
            rules=_own_network_lost(tag),
        )
        for listed, tag in ((_EXCLUDED, Tag.RANGE), (_INCLUDED, Tag.INCLUDED))
    ),
    *(
        Mutant(
            name=f"{_WORDS[listed]}-ignored-with-excluded-interfaces",
            what=f"{listed.value}: the list is ignored if there are excluded interfaces",
            source="B09, in one branch of a template",
            policy=_together(listed, _INTERFACES, at_most(0)),
        )
        for listed in (_EXCLUDED, _INCLUDED)
    ),
    Mutant(
        name="inclusion-before-interface-exclusion",
        what="included ranges win over excluded interfaces",
        source="B04: istio/istio 6027",
        rules=when(
            lambda case: case.policy.network_interface_exclusion_list,
            moved_before(Tag.INCLUDED, Tag.INTERFACE_OUT),
        ),
    ),
    Mutant(
        name="interface-by-beginning",
        what="an excluded interface that ends in a digit stands for all that begin so",
        source="F12: eth1+ is a wildcard",
        rules=in_turn(
            each(Tag.INTERFACE_IN, _by_beginning), each(Tag.INTERFACE_OUT, _by_beginning)
        ),
    ),
    _read(
        "newline-ends-list",
        "an annotation ends at its first newline",
        "F12: read in a shell",
        lambda text: text.strip().partition("\n")[0].split(","),
    ),
    _read(
        "newline-deleted",
        "newlines of an annotation are deleted",
        "F12: tr -d in a shell",
        lambda text: text.replace("\n", "").split(","),
    ),
    _read(
        "semicolon-ends-list",
        "an annotation ends at its first semicolon",
        "F12: a shell line",
        lambda text: text.partition(";")[0].split(","),
    ),
    _read(
        "semicolon-separates",
        "semicolons separate items as commas do",
        "F12",
        lambda text: text.replace(";", ",").split(","),
        argument="SPEC-13.8: its plain meaning is honoured",
    ),
    Mutant(
        name="bracketed-port-skipped",
        what="a port next to a bracket is skipped",
        source="the seed writes lists of --set in brackets",
        read=Reader(ports=_unless_bracketed),
    ),
    Mutant(
        name="port-in-32-bits",
        what="4294967376 is taken as 80",
        source="F02: a number that overflows",
        read=Reader(ports=_in_32_bits),
    ),
    Mutant(
        name="port-with-letters",
        what="'80x' is taken as 80",
        source="F02: strtol without a look at the rest",
        read=Reader(ports=_beginning(r"([0-9]+)[a-z]+")),
    ),
    Mutant(
        name="range-with-two-prefixes",
        what="'10.0.0.0/8/9' is taken as 10.0.0.0/8",
        source="F03: a text that is split at each slash",
        read=Reader(ranges=_first_prefix),
    ),
    Mutant(
        name="range-with-sign-in-prefix",
        what="'10.0.0.0/-8' is taken as 10.0.0.0/8",
        source="F03: the digits of a text",
        read=Reader(ranges=_unsigned_prefix),
    ),
)

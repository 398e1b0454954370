"""Faults of traffic inside the pod, and of the pod's own addresses."""

from __future__ import annotations

from tests.mutants.changes import (
    drop,
    first,
    for_family,
    in_turn,
    last,
    made,
    narrow,
    substitute,
    to_end,
    verdict,
)
from tests.mutants.correct import IN, OUT, TO_IN, TO_OUT, Tag
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule

_NOT_OWN = in_turn(drop(Tag.LOCAL), drop(Tag.HAIRPIN))


def _pod_network(address: str) -> str:
    return f"{address.rsplit('.', 2)[0]}.0.0/16" if "." in address else "fd77::/16"


MUTANTS = (
    Mutant(
        name="hairpin-lost",
        what="the sidecar's call to its own pod bypasses the inbound listener",
        source="B24: openservicemesh/osm 4340; B25: linkerd/linkerd2 10816",
        rules=drop(Tag.HAIRPIN),
    ),
    Mutant(
        name="hairpin-after-sidecar",
        what="the hairpin rule is after the sidecar's rule and has no effect",
        source="B24: openservicemesh/osm PR 4411",
        rules=to_end(Tag.HAIRPIN),
    ),
    Mutant(
        name="hairpin-to-outbound",
        what="the sidecar's call to its own pod goes to its outbound listener",
        source="B22: istio/istio PR 12110",
        rules=verdict(Tag.HAIRPIN, TO_OUT),
    ),
    Mutant(
        name="hairpin-on-localhost-too",
        what="the sidecar's connection to 127.0.0.1 is captured inbound again: a loop",
        source="B21: istio/istio 14443; B23: linkerd/linkerd2-proxy PR 1219",
        rules=lambda rules, case: substitute(Tag.HAIRPIN, f"! -d {case.loopback} ", "")(
            rules, case
        ),
    ),
    Mutant(
        name="hairpin-for-applications",
        what="an application's call to its own pod is captured inbound",
        source="B26: istio/istio 12551",
        rules=substitute(Tag.HAIRPIN, "-m owner --uid-owner 1500", ""),
    ),
    Mutant(
        name="hairpin-by-prerouting",
        what="inbound capture takes the sidecar's loopback traffic as well",
        source="B21: istio/istio 14242",
        rules=in_turn(
            verdict(Tag.SIDECAR, "RETURN"),
            first(Rule("", OUT, "-o lo -m owner --uid-owner 1500", IN)),
        ),
    ),
    Mutant(
        name="local-rule-lost",
        what="an application's call to its own pod is captured outbound",
        source="B26: istio/istio 12551; the seed's ancestor OSM 0.7",
        rules=drop(Tag.LOCAL),
    ),
    Mutant(
        name="localhost-captured",
        what="an application's connection to 127.0.0.1 and ::1 is captured outbound",
        source="B27: openservicemesh/osm 3266, PR 264",
        rules=in_turn(drop(Tag.LOCAL), drop(Tag.LOOPBACK)),
    ),
    Mutant(
        name="only-127-0-0-1-spared",
        what="only 127.0.0.1 of 127.0.0.0/8 is exempt, and the pod's address is not",
        source="B27: openservicemesh/osm PR 4342; the seed's ancestor OSM 0.7",
        rules=in_turn(drop(Tag.LOCAL), substitute(Tag.LOOPBACK, "127.0.0.0/8", "127.0.0.1/32")),
    ),
    Mutant(
        name="loopback-mask-16",
        what="only 127.0.0.0/16 counts as loopback, and the pod's address is captured",
        source="B27: a mask of 16 for one of 8",
        rules=in_turn(drop(Tag.LOCAL), substitute(Tag.LOOPBACK, "127.0.0.0/8", "127.0.0.0/16")),
    ),
    Mutant(
        name="loopback-mask-7",
        what="126.0.0.0/7 counts as loopback",
        source="B27: off by one",
        rules=for_family(4, first(Rule("", OUT, "-d 126.0.0.0/7"))),
    ),
    Mutant(
        name="loopback-mask-2",
        what="64.0.0.0/2 counts as loopback",
        source="B27: a mask of 2 for one of 8",
        rules=for_family(4, first(Rule("", OUT, "! -o lo -d 64.0.0.0/2"))),
    ),
    Mutant(
        name="localhost-captured-inbound",
        what="an application's connection to localhost goes to the inbound listener",
        source="B27: openservicemesh/osm 3266",
        rules=in_turn(
            substitute(Tag.HAIRPIN, "-m owner --uid-owner 1500", ""),
            lambda rules, case: substitute(Tag.HAIRPIN, f"! -d {case.loopback}", "")(rules, case),
        ),
    ),
    Mutant(
        name="self-call-before-exclusions",
        what="the pod's address is captured before excluded ports are matched",
        source="B05: istio/istio PR 13970",
        rules=made(
            lambda case: (
                Rule("", OUT, f"-d {case.addresses[0]} -m owner ! --uid-owner 1500", TO_OUT),
            )
        ),
    ),
    Mutant(
        name="own-address-by-first-only",
        what="only the pod's first address counts as its own",
        source="B40: linkerd/linkerd2 9840",
        rules=lambda rules, case: substitute(Tag.LOCAL, "-o lo", f"-d {case.addresses[0]}")(
            rules, case
        ),
    ),
    Mutant(
        name="pod-network-spared",
        what="the pod's whole /16 counts as its own",
        source="B27: a mask of 16 for one of 32",
        rules=made(lambda case: (Rule("", OUT, f"-d {_pod_network(case.addresses[0])}"),)),
    ),
    Mutant(
        name="local-by-input-interface",
        what="loopback is matched by -i lo, which no packet in OUTPUT has",
        source="B32: istio/istio 19940",
        rules=in_turn(drop(Tag.LOOPBACK), substitute(Tag.LOCAL, "-o lo", "-i lo")),
    ),
    Mutant(
        name="loopback-first-for-all",
        what="everything on lo is exempt before the hairpin rule",
        source="B24: openservicemesh/osm 4340",
        rules=first(Rule("", OUT, "-o lo")),
    ),
    Mutant(
        name="local-types-first",
        what="-m addrtype --dst-type LOCAL is exempt before the hairpin rule",
        source="B25: linkerd/linkerd2 PR 1863",
        rules=first(Rule("", OUT, "-m addrtype --dst-type LOCAL")),
    ),
    Mutant(
        name="inclusion-before-local",
        what="an application's call to an included address of the pod is captured",
        source="catalogue OII-008",
        rules=in_turn(
            lambda rules, case: (
                tuple(
                    Rule("", r.chain, f"{r.match} -m owner ! --uid-owner 1500", r.verdict)
                    for r in rules
                    if r.tag == Tag.INCLUDED
                )
                + rules
            ),
        ),
    ),
    Mutant(
        name="sidecar-loopback-sent-outbound",
        what="the sidecar's connection to localhost goes to its outbound listener",
        source="B22: istio/istio PR 12110",
        rules=first(Rule("", OUT, "-o lo -m owner --uid-owner 1500", TO_OUT)),
    ),
    Mutant(
        name="admin-port-captured-on-localhost",
        what="an application's connection to 127.0.0.1:15000 is captured",
        source="B49: istio/istio.io PR 17303",
        rules=first(Rule("", OUT, "-p tcp -o lo --dport 15000", TO_OUT)),
    ),
    Mutant(
        name="admin-port-sent-to-inbound-on-localhost",
        what="an application's connection to 127.0.0.1:15000 goes to the inbound listener",
        source="B49: istio/istio.io PR 17303",
        rules=first(Rule("", OUT, "-p tcp -o lo --dport 15000", TO_IN)),
    ),
    Mutant(
        name="loopback-rejected",
        what="connections between processes of the pod are rejected",
        source="B27: openservicemesh/osm PR 264",
        rules=last(Rule("", "INPUT", "-i lo -p tcp --dport 8000:9000", "REJECT", table="filter")),
    ),
    Mutant(
        name="hairpin-on-eth0-only",
        what="the hairpin rule matches -o eth0, where no such packet leaves",
        source="B23: linkerd/linkerd2-proxy PR 1219",
        rules=substitute(Tag.HAIRPIN, "-o lo", "-o eth0"),
    ),
    Mutant(
        name="hairpin-first-address-only",
        what="the hairpin rule matches the pod's first address only",
        source="B40: linkerd/linkerd2 9840",
        rules=lambda rules, case: narrow(Tag.HAIRPIN, f"-d {case.addresses[0]}")(
            substitute(Tag.HAIRPIN, f"! -d {case.loopback} ", "")(rules, case), case
        ),
    ),
)

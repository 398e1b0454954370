"""Capture rules that are lost, in the wrong chain, to the wrong listener or too narrow."""

from __future__ import annotations

from tests.mutants.changes import (
    drop,
    first,
    in_turn,
    made,
    match,
    narrow,
    narrow_for,
    to_front,
    verdict,
    verdict_for,
)
from tests.mutants.correct import IN, OUT, TO_IN, TO_OUT, Case, Tag
from tests.mutants.loading import nothing
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule


def _lo(case: Case) -> str:
    return "127.0.0.1" if case.family == 4 else "[::1]"


def _node(case: Case) -> str:
    return "192.0.2.1" if case.family == 4 else "[2001:db8:a::1]"


def _inside(case: Case) -> str:
    return "10.0.0.0/8" if case.family == 4 else "fd00::/8"


def _client(name: str, v4: str, v6: str, source: str) -> Mutant:
    return Mutant(
        name=f"inbound-exempts-{name}",
        what=f"clients from {v4} and {v6} reach the application",
        source=source,
        rules=made(lambda case: (Rule("", IN, f"-s {v4 if case.family == 4 else v6}"),)),
    )


def _port(name: str, chain: str, port: int, source: str) -> Mutant:
    way = "inbound" if chain == IN else "outbound"
    return Mutant(
        name=f"{way}-exempts-{name}",
        what=f"{way} port {port} is exempt by default",
        source=source,
        rules=first(Rule("", chain, f"-p tcp --dport {port}")),
    )


MUTANTS = (
    Mutant(
        name="nothing-programmed",
        what="no rule at all, and success reported",
        source="B44: istio/istio 14327, 11037",
        load=nothing,
    ),
    Mutant(
        name="inbound-hook-lost",
        what="no jump from PREROUTING: inbound TCP is not captured",
        source="B45: istio/istio 56587",
        rules=drop(Tag.HOOK_IN),
    ),
    Mutant(
        name="outbound-hook-lost",
        what="no jump from OUTPUT: outbound TCP is not captured",
        source="B45: istio/istio 56587",
        rules=drop(Tag.HOOK_OUT),
    ),
    Mutant(
        name="inbound-capture-lost",
        what="the inbound chain ends without a redirect",
        source="B18: linkerd/linkerd2 9267",
        rules=drop(Tag.CAPTURE_IN),
    ),
    Mutant(
        name="outbound-capture-lost",
        what="the outbound chain ends without a redirect",
        source="B18: linkerd/linkerd2 9267",
        rules=drop(Tag.CAPTURE_OUT),
    ),
    Mutant(
        name="inbound-redirect-empty",
        what="the inbound redirect chain holds no rule",
        source="B18: linkerd/linkerd2 13171",
        rules=in_turn(drop(Tag.REDIRECT_IN), first(Rule("", TO_IN, "-p udp"))),
    ),
    Mutant(
        name="outbound-redirect-empty",
        what="the outbound redirect chain holds no rule",
        source="B18: linkerd/linkerd2 13171",
        rules=in_turn(drop(Tag.REDIRECT_OUT), first(Rule("", TO_OUT, "-p udp"))),
    ),
    Mutant(
        name="inbound-to-outbound-listener",
        what="inbound TCP is redirected to 15001",
        source="B21: istio/istio 14242, 14443",
        rules=verdict(Tag.REDIRECT_IN, "REDIRECT --to-ports 15001"),
    ),
    Mutant(
        name="outbound-to-inbound-listener",
        what="outbound TCP is redirected to 15003",
        source="B21: istio/istio 14242, 14443",
        rules=verdict(Tag.REDIRECT_OUT, "REDIRECT --to-ports 15003"),
    ),
    Mutant(
        name="listeners-swapped",
        what="inbound goes to 15001 and outbound to 15003",
        source="B21: istio/istio 14443",
        rules=in_turn(
            verdict(Tag.REDIRECT_IN, "REDIRECT --to-ports 15001"),
            verdict(Tag.REDIRECT_OUT, "REDIRECT --to-ports 15003"),
        ),
    ),
    Mutant(
        name="hooks-swapped",
        what="PREROUTING jumps to the outbound chain and OUTPUT to the inbound one",
        source="B21: istio/istio 14242",
        rules=in_turn(verdict(Tag.HOOK_IN, OUT), verdict(Tag.HOOK_OUT, IN)),
    ),
    Mutant(
        name="hook-in-shares-outbound-chain",
        what="inbound TCP runs through the outbound chain",
        source="B21: istio/istio 14242",
        rules=verdict(Tag.HOOK_IN, OUT),
    ),
    Mutant(
        name="redirect-in-off-by-one",
        what="inbound TCP is redirected to 15004",
        source="off by one",
        rules=verdict(Tag.REDIRECT_IN, "REDIRECT --to-ports 15004"),
    ),
    Mutant(
        name="redirect-out-off-by-one",
        what="outbound TCP is redirected to 15002",
        source="off by one",
        rules=verdict(Tag.REDIRECT_OUT, "REDIRECT --to-ports 15002"),
    ),
    Mutant(
        name="redirect-in-istio-port",
        what="inbound TCP is redirected to Istio's 15006",
        source="a rule set copied from istio/istio",
        rules=verdict(Tag.REDIRECT_IN, "REDIRECT --to-ports 15006"),
    ),
    Mutant(
        name="redirect-out-to-range",
        what="outbound TCP is spread over the ports 15001 to 15003",
        source="a port list written as a range",
        rules=verdict(Tag.REDIRECT_OUT, "REDIRECT --to-ports 15001-15003"),
    ),
    Mutant(
        name="redirect-in-keeps-port",
        what="inbound TCP is redirected to the port it was sent to",
        source="B07: a target without its option",
        rules=verdict(Tag.REDIRECT_IN, "REDIRECT"),
    ),
    Mutant(
        name="inbound-dnat-to-localhost",
        what="inbound TCP is translated to 127.0.0.1, which the kernel drops as a martian",
        source="B28: openservicemesh/osm PR 4701",
        rules=verdict_for(Tag.REDIRECT_IN, lambda case: f"DNAT --to-destination {_lo(case)}:15003"),
    ),
    Mutant(
        name="outbound-dnat-to-node",
        what="outbound TCP is translated to port 15001 of the node instead of the pod's own",
        source="B41: openservicemesh/osm 4359; a sidecar looked for in the wrong namespace",
        rules=verdict_for(
            Tag.REDIRECT_OUT, lambda case: f"DNAT --to-destination {_node(case)}:15001"
        ),
    ),
    Mutant(
        name="outbound-dnat-keeps-address",
        what="only the port of outbound TCP is translated: it goes to a remote port 15001",
        source="B39: cilium/cilium 16583",
        rules=verdict(Tag.REDIRECT_OUT, "DNAT --to-destination :15001"),
    ),
    Mutant(
        name="inbound-only-on-eth0",
        what="inbound capture matches -i eth0: a second interface is open",
        source="B11, B40: istio/istio 40326, linkerd/linkerd2 9840",
        rules=narrow(Tag.HOOK_IN, "-i eth0"),
    ),
    Mutant(
        name="outbound-only-on-eth0",
        what="outbound capture matches -o eth0: a second interface leaks",
        source="B11: istio/istio PR 59019",
        rules=narrow(Tag.HOOK_OUT, "-o eth0"),
    ),
    Mutant(
        name="inbound-only-to-primary-address",
        what="inbound capture matches the pod's first address only",
        source="B40: istio/istio 7182, linkerd/linkerd2-proxy-init 5",
        rules=narrow_for(Tag.HOOK_IN, lambda case: f"-d {case.addresses[0]}"),
    ),
    Mutant(
        name="outbound-only-from-primary-address",
        what="outbound capture matches the pod's first address as source only",
        source="B40: istio/istio 7182",
        rules=narrow_for(Tag.HOOK_OUT, lambda case: f"-s {case.addresses[0]}"),
    ),
    Mutant(
        name="inbound-only-from-cluster",
        what="inbound capture matches private sources only: others reach the application",
        source="B09: istio/istio 38415",
        rules=narrow_for(Tag.HOOK_IN, lambda case: f"-s {_inside(case)}"),
    ),
    Mutant(
        name="inbound-established-only",
        what="inbound capture matches --ctstate ESTABLISHED, which no first packet has",
        source="B42: istio/istio 35157",
        rules=narrow(Tag.HOOK_IN, "-m conntrack --ctstate ESTABLISHED"),
    ),
    Mutant(
        name="outbound-established-only",
        what="outbound capture matches --ctstate ESTABLISHED, which no first packet has",
        source="B42: istio/istio 35157",
        rules=narrow(Tag.HOOK_OUT, "-m conntrack --ctstate ESTABLISHED"),
    ),
    Mutant(
        name="outbound-not-syn",
        what="outbound capture matches ! --syn",
        source="a wrong flag match",
        rules=match(Tag.HOOK_OUT, "-p tcp ! --syn"),
    ),
    Mutant(
        name="outbound-unprivileged-source-only",
        what="outbound capture matches source ports from 1024: bound ones below leak",
        source="B38: istio/istio 43301",
        rules=match(Tag.HOOK_OUT, "-p tcp --sport 1024:"),
    ),
    Mutant(
        name="inbound-unprivileged-source-only",
        what="inbound capture matches client ports from 1024: clients below bypass the sidecar",
        source="B38: istio/istio 51210",
        rules=match(Tag.HOOK_IN, "-p tcp --sport 1024:"),
    ),
    Mutant(
        name="outbound-local-destinations-first",
        what="outbound capture matches --dst-type LOCAL instead of the opposite",
        source="the usual -m addrtype mistake",
        rules=narrow(Tag.HOOK_OUT, "-m addrtype --dst-type LOCAL"),
    ),
    Mutant(
        name="inbound-not-local",
        what="inbound capture matches ! --dst-type LOCAL",
        source="the usual -m addrtype mistake",
        rules=narrow(Tag.HOOK_IN, "-m addrtype ! --dst-type LOCAL"),
    ),
    Mutant(
        name="inbound-exempts-own-node",
        what="the node's address is exempt inbound, for its probes",
        source="linkerd/linkerd2 4713; ambient mode of istio exempts probes the same way",
        rules=made(lambda case: (Rule("", IN, f"-s {_node(case).strip('[]')}"),)),
    ),
    _client("ambient", "169.254.0.0/16", "fd16:9254::/32", "istio/istio: 169.254.7.127 of ambient"),
    _client("shared", "100.64.0.0/10", "64:ff9b::/96", "B56: carrier-grade NAT and NAT64"),
    _client("private-172", "172.16.0.0/12", "fd00:10::/32", "B56: docker's own networks"),
    _client("reserved", "240.0.0.0/4", "3fff::/20", "B56: class E, in use by clouds"),
    _port("databases", OUT, 27017, "B05: a server that speaks last, exempt by port"),
    _port("agents", OUT, 8126, "B05: tracing past the sidecar"),
    _port("brokers", IN, 9092, "B05: clients that speak no HTTP"),
    _port("node-ports", IN, 30080, "B55: node ports taken for ports of pods"),
    Mutant(
        name="capture-out-before-everything",
        what="everything outbound is captured first: exclusions and the sidecar's rule are dead",
        source="B30: istio/istio PR 30306",
        rules=to_front(Tag.CAPTURE_OUT),
    ),
    Mutant(
        name="capture-in-before-everything",
        what="everything inbound is captured first: reserved and excluded ports are dead",
        source="B06: istio/istio 9330",
        rules=to_front(Tag.CAPTURE_IN),
    ),
)

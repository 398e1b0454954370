"""Mutants that must pass, whose rules are loaded in another way or stand beside something else."""

from __future__ import annotations

from tests.mutants import loading
from tests.mutants.changes import first, for_family
from tests.mutants.loading import ROUTE_LOCALNET, followed_by
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule


def _inserted(text: str) -> str:
    return text.replace("-A PREROUTING", "-I PREROUTING").replace("-A OUTPUT", "-I OUTPUT")


MUTANTS = (
    Mutant(
        name="same-loaded-twice",
        what="the rules are loaded twice",
        source="B17, B19",
        load=loading.twice,
        argument="the second run finds the same rules that it would make",
    ),
    Mutant(
        name="same-other-variant",
        what="the rules are loaded with the other variant's programs",
        source="B12: istio/istio 15519",
        load=loading.other_variant,
        argument="the kernel runs the hooks of both variants; no packet shows which program"
        " added a rule",
    ),
    Mutant(
        name="same-both-variants",
        what="the rules are loaded with the programs of both variants",
        source="B15: metalbear-co/mirrord 2272; F11",
        load=loading.both_variants,
        argument="a connection that one nat hook has decided is no longer new to the other, and"
        " both would decide alike",
    ),
    Mutant(
        name="same-own-mark-delivered",
        what="packets with the lowest bit in their mark are delivered to the pod itself",
        source="linux/Documentation/networking/tproxy.rst; Istio's TPROXY mode",
        load=followed_by(
            "for ip in 'ip -4' 'ip -6'; do"
            " $ip rule del fwmark 1/1 lookup 100 2>/dev/null; $ip rule add fwmark 1/1 lookup 100;"
            " $ip route replace local default dev lo table 100; done"
        ),
        argument="SPEC-5.6: TPROXY needs a reserved mark, which no packet of an application has",
    ),
    Mutant(
        name="same-inserted-before-others",
        what="the jumps are before the foreign rules of the nat table",
        source="B51: istio/istio 1428",
        text=_inserted,
        argument="the specification does not order two redirections of one TCP connection;"
        " packets that the jumps do not take reach foreign rules as before",
    ),
    Mutant(
        name="same-first-family-stays",
        what="when IPv6 fails, the pod is refused and the rules for IPv4 stay",
        source="B32: istio/istio 19940; B18",
        load=loading.first_family_at_least,
        argument="each family is complete or untouched, and a pod that is refused does not start",
    ),
    Mutant(
        name="same-without-fast-open",
        what="TCP fast open is switched off in the pod",
        source="the usual hardening of a pod's kernel settings",
        load=followed_by("echo 0 >/proc/sys/net/ipv4/tcp_fastopen"),
        privileged=True,
        argument="no SYN with data comes out of the pod, so none bypasses the sidecar",
    ),
    Mutant(
        name="same-localhost-routed-and-guarded",
        what="route_localnet is on, and packets for 127.0.0.0/8 from outside are dropped",
        source="kubernetes/kubernetes PR 91569, which protects kube-proxy's setting this way",
        rules=for_family(
            4, first(Rule("", "PREROUTING", "! -i lo -d 127.0.0.0/8", "DROP", table="mangle"))
        ),
        load=followed_by(ROUTE_LOCALNET),
        privileged=True,
        argument="the drop rule matches every packet that the setting admits",
    ),
    Mutant(
        name="same-loopback-has-a-reserved-address",
        what="the loopback interface has the address ::6",
        source="istio-iptables and kumactl 2.14.3, for connections that pass the sidecar inbound",
        load=followed_by("ip -6 addr replace ::6/128 dev lo 2>/dev/null || true"),
        argument="::/8 is reserved (RFC 4291, section 4): no remote host has such an address",
    ),
    Mutant(
        name="same-refuses-beside-others",
        what="a pod with foreign rules is refused",
        source="B54; a tester's correct implementation",
        load=loading.refusing_foreign_rules,
        argument="SPEC-18.1: foreign rules keep their effect where nothing is programmed",
    ),
)

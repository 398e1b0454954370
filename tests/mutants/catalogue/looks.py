"""Captures that depend on packet contents, and captures that do more than redirect."""

from __future__ import annotations

from tests.mutants.changes import Change, first, for_family, in_turn, last, narrow
from tests.mutants.correct import IN, OUT, TO_OUT, Tag
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule


def _exempt(name: str, words: str, what: str, source: str) -> Mutant:
    """Exempt outbound packets that match some words."""
    return Mutant(name=name, what=what, source=source, rules=first(Rule("", OUT, words)))


def _rejected_on_lo(words: str) -> Change:
    return last(
        Rule("", "INPUT", f"-i lo -p tcp {words}", "REJECT --reject-with tcp-reset", "filter")
    )


def _copy_out(gateway: str) -> Rule:
    words = "-o lo -p tcp --dport 15001"
    return Rule("", "POSTROUTING", words, f"TEE --gateway {gateway}", table="mangle")


MUTANTS = (
    _exempt(
        "outbound-small-segments-exempt",
        "-p tcp -m tcpmss --mss 0:1000",
        "a SYN that asks for small segments is exempt",
        "B52: projectcalico/calico 7120; tunnels recognised by their segment size",
    ),
    _exempt(
        "outbound-fast-open-exempt",
        "-p tcp --tcp-option 34",
        "a SYN with the fast open option is exempt",
        "B38; catalogue OUT-REDIR-011",
    ),
    Mutant(
        name="outbound-ip-options-exempt",
        what="an IPv4 packet with options is exempt",
        source="catalogue OUT-REDIR-012",
        rules=for_family(4, first(Rule("", OUT, '-m u32 --u32 "0>>24&0xF=6:15"'))),
    ),
    Mutant(
        name="inbound-fast-open-exempt",
        what="an inbound SYN with the fast open option is exempt",
        source="B38; catalogue OUT-REDIR-011",
        rules=first(Rule("", IN, "-p tcp --tcp-option 34")),
    ),
    Mutant(
        name="inbound-small-segments-exempt",
        what="an inbound SYN that asks for small segments is exempt",
        source="B52: projectcalico/calico 7120",
        rules=first(Rule("", IN, "-p tcp -m tcpmss --mss 0:1000")),
    ),
    Mutant(
        name="captured-copied-out",
        what="a copy of every captured packet leaves the pod",
        source="catalogue OUT-REDIR-006; a mirror port left on",
        rules=in_turn(
            for_family(4, last(_copy_out("169.254.1.1"))),
            for_family(6, last(_copy_out("fe80::1"))),
        ),
    ),
    Mutant(
        name="http2-rejected",
        what="a stream that begins as HTTP/2 is reset",
        source="S-PROTO; linkerd/linkerd2 4713",
        rules=_rejected_on_lo('-m string --algo bm --string "PRI * HTTP/2"'),
    ),
    Mutant(
        name="http1-only",
        what="a stream with a byte that HTTP never has is reset",
        source="S-PROTO: raw TCP; catalogue OUT-REDIR-009",
        rules=_rejected_on_lo('-m string --algo bm --hex-string "|00|" --from 52'),
    ),
    Mutant(
        name="inbound-from-listener-port-exempt",
        what="a client whose port is 15001 is exempt",
        source="B21: istio/istio 14443; catalogue IPX-006",
        rules=first(Rule("", IN, "-p tcp --sport 15001")),
    ),
    Mutant(
        name="inbound-to-15003-goes-outbound",
        what="inbound 15003 is redirected to the outbound listener",
        source="B21: istio/istio 14242",
        rules=first(Rule("", IN, "-p tcp --dport 15003", TO_OUT)),
    ),
    Mutant(
        name="probes-to-metrics-port",
        what="the probe ports are redirected to the metrics port",
        source="B46: linkerd/linkerd2 7777; one agent for every probe",
        rules=first(Rule("", IN, "-p tcp --dport 15901:15904", "REDIRECT --to-ports 15010")),
    ),
    Mutant(
        name="inbound-listening-ports-only",
        what="inbound capture takes packets for which a socket exists",
        source="B09: istio/istio 30280; catalogue IN-REDIR-004",
        rules=in_turn(
            first(Rule("", "PREROUTING", "-p tcp -m socket", "MARK --set-mark 7", table="mangle")),
            narrow(Tag.CAPTURE_IN, "-m mark --mark 7"),
        ),
    ),
    Mutant(
        name="opens-after-refusal",
        what="once the sidecar refuses a connection, the pod leaks for a minute",
        source="B43: istio/istio 23802; a circuit breaker",
        rules=in_turn(
            first(Rule("", OUT, "-m recent --name open --rcheck --rsource --seconds 60")),
            first(
                Rule(
                    "",
                    "OUTPUT",
                    "-p tcp --sport 15001 --tcp-flags RST RST",
                    "MESH_OPEN",
                    table="mangle",
                ),
                Rule("", "MESH_OPEN", "-m recent --name open --set --rdest", table="mangle"),
            ),
        ),
    ),
)

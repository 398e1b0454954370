"""UDP that is captured or dropped by port, by length or by interface."""

from __future__ import annotations

from tests.mutants.catalogue.protocols import dropped
from tests.mutants.changes import Change, last
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule


def _filtered(hook: str, words: str, verdict: str = "DROP") -> Change:
    return dropped(hook, f"-p udp {words}", f"-p udp {words}", verdict)


def _caught(hook: str, port: int, to: int) -> Change:
    return last(Rule("", hook, f"-p udp --dport {port}", f"REDIRECT --to-ports {to}"))


def _udp(name: str, what: str, source: str, change: Change) -> Mutant:
    return Mutant(name=name, what=what, source=source, rules=change)


MUTANTS = (
    _udp(
        "quic-rejected-by-length",
        "the first datagram of QUIC is rejected, short ones to its port are not",
        "a common QUIC block",
        _filtered("OUTPUT", "--dport 443 -m length --length 1200:65535", "REJECT"),
    ),
    _udp(
        "dns-long-answers-dropped",
        "a DNS answer of 512 bytes or more is dropped",
        "B52: cloudnativelabs/kube-router 685",
        _filtered("INPUT", "--sport 53 -m length --length 540:65535"),
    ),
    _udp(
        "statsd-captured",
        "UDP to port 8125 is redirected to the sidecar",
        "B35: istio/istio 29639; a sidecar that takes metrics too",
        _caught("OUTPUT", 8125, 15010),
    ),
    _udp(
        "geneve-captured-in",
        "inbound UDP to port 6081 goes to 15003",
        "B34: istio/istio 33469",
        _caught("PREROUTING", 6081, 15003),
    ),
    _udp(
        "ntp-rejected",
        "UDP to port 123 is rejected",
        "B34: istio/istio PR 33572",
        _filtered("OUTPUT", "--dport 123", "REJECT"),
    ),
    _udp(
        "udp-to-node-ports-dropped-in",
        "inbound UDP to 30000-32767 is dropped",
        "B34: istio/istio PR 33572",
        _filtered("INPUT", "--dport 30000:32767"),
    ),
    _udp(
        "udp-to-a-range-dropped",
        "outbound UDP to 40000-43000 is dropped",
        "B34: istio/istio PR 33572",
        _filtered("OUTPUT", "--dport 40000:43000"),
    ),
    _udp(
        "udp-to-a-range-captured-in",
        "inbound UDP to 16384-20000, the usual ports of voice, goes to 15003",
        "B34: istio/istio 33469",
        last(Rule("", "PREROUTING", "-p udp --dport 16384:20000", "REDIRECT --to-ports 15003")),
    ),
    _udp(
        "udp-of-a-length-dropped",
        "outbound UDP of 700 to 710 bytes is dropped",
        "B34: istio/istio PR 33572",
        _filtered("OUTPUT", "-m length --length 700:710"),
    ),
    _udp(
        "udp-on-second-interface-dropped-out",
        "UDP that leaves by the second interface is dropped",
        "B40: istio/istio 7182",
        _filtered("OUTPUT", "-o net1"),
    ),
    _udp(
        "udp-on-second-interface-dropped-in",
        "UDP that comes in by the second interface is dropped",
        "B40: istio/istio 7182",
        _filtered("INPUT", "-i net1"),
    ),
)
"""Mutants by kind; the field's history is the source, not the list of checks."""

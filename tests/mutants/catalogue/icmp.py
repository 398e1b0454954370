"""ICMP that is dropped by type, length, rate, sender or interface."""

from __future__ import annotations

from tests.mutants.catalogue.protocols import dropped
from tests.mutants.changes import Change, first, for_family, in_turn
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule

_ECHO = ("-p icmp --icmp-type echo-request", "-p ipv6-icmp --icmpv6-type echo-request")


def _both(hook: str, words: str) -> Change:
    """Drop the ICMP packets of both families that also match the words."""
    return dropped(hook, f"-p icmp {words}", f"-p ipv6-icmp {words}")


def _echo(hook: str, words: str) -> Change:
    """Drop the echo requests of both families that also match the words."""
    return dropped(hook, *(f"{echo} {words}" for echo in _ECHO))


def _only(hook: str) -> Change:
    """Accept only pings, "port unreachable" and path MTU discovery."""
    types = ("echo-request", "echo-reply", "port-unreachable", "fragmentation-needed")
    return for_family(
        4,
        first(
            *(
                Rule("", hook, f"-p icmp --icmp-type {each}", "ACCEPT", table="filter")
                for each in types
            ),
            Rule("", hook, "-p icmp", "DROP", table="filter"),
        ),
    )


def _one_a_second(words: str) -> Change:
    """Limit what some words match."""
    limit = "-m limit --limit 1/s --limit-burst 1"
    return first(
        Rule("", "INPUT", f"{words} {limit}", "ACCEPT", table="filter"),
        Rule("", "INPUT", words, "DROP", table="filter"),
    )


def _icmp(name: str, what: str, change: Change) -> Mutant:
    source = "B52: projectcalico/calico 7120; a hardening guide followed in the init container"
    return Mutant(name=name, what=what, source=source, rules=change)


MUTANTS = (
    _icmp("icmp-listed-types-only-in", "inbound ICMP passes if its type is listed", _only("INPUT")),
    _icmp(
        "icmp-listed-types-only-out", "outbound ICMP passes if its type is listed", _only("OUTPUT")
    ),
    _icmp(
        "icmp-host-unreachable-dropped",
        "the message that a host is unreachable is dropped",
        dropped(
            "INPUT",
            "-p icmp --icmp-type host-unreachable",
            "-p ipv6-icmp --icmpv6-type address-unreachable",
        ),
    ),
    _icmp(
        "icmp-time-exceeded-dropped",
        "the message that a hop limit was exceeded is dropped: a traceroute sees nothing",
        dropped(
            "INPUT",
            "-p icmp --icmp-type time-exceeded",
            "-p ipv6-icmp --icmpv6-type time-exceeded",
        ),
    ),
    _icmp(
        "icmp-time-exceeded-dropped-out",
        "the message that a hop limit was exceeded does not leave the pod",
        dropped(
            "OUTPUT",
            "-p icmp --icmp-type time-exceeded",
            "-p ipv6-icmp --icmpv6-type time-exceeded",
        ),
    ),
    _icmp(
        "icmp-parameter-problem-dropped",
        "the message that a header is wrong is dropped",
        dropped(
            "INPUT",
            "-p icmp --icmp-type parameter-problem",
            "-p ipv6-icmp --icmpv6-type parameter-problem",
        ),
    ),
    _icmp(
        "icmp-large-dropped",
        "ICMP packets of 1000 bytes and more are dropped",
        _both("INPUT", "-m length --length 1000:65535"),
    ),
    _icmp(
        "icmp-echo-limited",
        "one ping a second is let in",
        in_turn(for_family(4, _one_a_second(_ECHO[0])), for_family(6, _one_a_second(_ECHO[1]))),
    ),
    _icmp(
        "icmp-echo-of-applications-dropped",
        "only root can ping",
        _echo("OUTPUT", "-m owner ! --uid-owner 0"),
    ),
    _icmp("icmp-echo-on-loopback-dropped", "no ping stays in the pod", _echo("OUTPUT", "-o lo")),
    _icmp(
        "icmp-echo-to-itself-dropped",
        "the pod cannot ping its own address",
        dropped("OUTPUT", f"-o lo ! -d 127.0.0.0/8 {_ECHO[0]}", f"-o lo ! -d ::1 {_ECHO[1]}"),
    ),
    _icmp(
        "icmp-on-second-interface-dropped",
        "ICMP that comes in by the second interface is dropped",
        for_family(4, _both("INPUT", "-i net1")),
    ),
)
"""Mutants by kind; the field's history is the source, not the list of checks."""

"""Captures of some packets only: by chance, by rate or by header."""

from __future__ import annotations

from tests.mutants.changes import first, in_turn, narrow
from tests.mutants.correct import IN, OUT, Tag
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule


def _untracked(chain: str, words: str) -> Rule:
    return Rule("", chain, words, "CT --notrack", table="raw")


MUTANTS = (
    Mutant(
        name="outbound-half-by-chance",
        what="outbound TCP is captured with probability 0.5",
        source="the canary idiom of kube-proxy's service rules",
        rules=narrow(Tag.CAPTURE_OUT, "-m statistic --mode random --probability 0.5"),
    ),
    Mutant(
        name="inbound-half-by-chance",
        what="inbound TCP is captured with probability 0.5",
        source="the canary idiom of kube-proxy's service rules",
        rules=narrow(Tag.CAPTURE_IN, "-m statistic --mode random --probability 0.5"),
    ),
    Mutant(
        name="outbound-every-tenth-leaks",
        what="each tenth outbound connection is exempt",
        source="the canary idiom of kube-proxy's service rules",
        rules=in_turn(
            narrow(Tag.REDIRECT_OUT, "-m statistic --mode nth ! --every 10 --packet 0"),
        ),
    ),
    Mutant(
        name="inbound-every-tenth-leaks",
        what="each tenth inbound connection is exempt",
        source="the canary idiom of kube-proxy's service rules",
        rules=narrow(Tag.REDIRECT_IN, "-m statistic --mode nth ! --every 10 --packet 0"),
    ),
    Mutant(
        name="inbound-every-hundredth-leaks",
        what="each hundredth inbound connection is exempt",
        source="B38: istio/istio 51210",
        rules=narrow(Tag.REDIRECT_IN, "-m statistic --mode nth ! --every 100 --packet 0"),
    ),
    Mutant(
        name="outbound-rate-limited",
        what="outbound capture ends at a burst of 5 connections: the rest leaks",
        source="B38: istio/istio 51210",
        rules=narrow(Tag.REDIRECT_OUT, "-m limit --limit 1/second --limit-burst 5"),
    ),
    Mutant(
        name="inbound-rate-limited",
        what="inbound capture ends at a burst of 50 connections: the rest bypasses the sidecar",
        source="B38: istio/istio 51210",
        rules=narrow(Tag.REDIRECT_IN, "-m limit --limit 1/second --limit-burst 50"),
    ),
    Mutant(
        name="outbound-quota-leaks",
        what="outbound capture ends when the first packets have 6,000 bytes",
        source="B38: istio/istio 51210",
        rules=narrow(Tag.REDIRECT_OUT, "-m quota --quota 6000"),
    ),
    Mutant(
        name="outbound-hashlimit-by-destination",
        what="outbound capture ends at 3 connections to the same destination",
        source="B38: istio/istio 51210",
        rules=narrow(
            Tag.REDIRECT_OUT,
            "-m hashlimit --hashlimit-upto 1/second --hashlimit-burst 3"
            " --hashlimit-mode dstip --hashlimit-name leak",
        ),
    ),
    Mutant(
        name="inbound-connlimit-rejects",
        what="more than 100 connections at once are rejected",
        source="B38: istio/istio 43301",
        rules=first(
            Rule(
                "",
                "INPUT",
                "-p tcp --syn --dport 15003 -m connlimit --connlimit-above 100 --connlimit-mask 0",
                "REJECT --reject-with tcp-reset",
                table="filter",
            )
        ),
    ),
    Mutant(
        name="inbound-connlimit-per-client-leaks",
        what="capture holds for the first 64 connections of a client at once",
        source="B38: istio/istio 43301",
        rules=narrow(Tag.REDIRECT_IN, "-m connlimit --connlimit-upto 64"),
    ),
    Mutant(
        name="inbound-connlimit-of-hundreds-leaks",
        what="capture holds for the first 300 connections of a client at once",
        source="B38: istio/istio 43301",
        rules=narrow(Tag.REDIRECT_IN, "-m connlimit --connlimit-upto 300"),
    ),
    Mutant(
        name="outbound-connlimit-of-hundreds-leaks",
        what="capture holds for the first 300 connections of the pod at once",
        source="B38: istio/istio 43301",
        rules=narrow(Tag.REDIRECT_OUT, "-m connlimit --connlimit-upto 300"),
    ),
    Mutant(
        name="inbound-second-of-client-leaks",
        what="the second connection of a client bypasses the sidecar while the first is open",
        source="B37: istio/istio 38982, linkerd/linkerd2 15505",
        rules=first(Rule("", IN, "-m connlimit --connlimit-above 1")),
    ),
    Mutant(
        name="outbound-second-leaks",
        what="while a connection is open the next one leaks",
        source="B38: istio/istio 43301",
        rules=first(Rule("", OUT, "-m connlimit --connlimit-above 1 -m owner ! --uid-owner 1500")),
    ),
    Mutant(
        name="inbound-client-ports-folded",
        what="every client reaches the inbound listener from port 20001",
        source="B37: istio/istio 38982; one tuple for two flows",
        rules=first(
            Rule("", "INPUT", "-p tcp --dport 15003 --sport 20000:20010", "SNAT --to-source :20001")
        ),
    ),
    Mutant(
        name="replies-told-by-address",
        what="calls to earlier clients of the pod bypass the sidecar, as if they were replies",
        source="B37: istio/istio 38982",
        rules=first(
            Rule("", IN, "-m recent --name callers --set --rsource", "MESH_CALLER"),
            Rule("", "MESH_CALLER", "-p udp"),
            Rule("", OUT, "-m recent --name callers --rcheck --rdest"),
        ),
    ),
    Mutant(
        name="outbound-untracked-range",
        what="connection tracking is off for the destination ports 8000 to 9000",
        source="B34: istio/istio 33469; NOTRACK for speed",
        rules=first(_untracked("OUTPUT", "-p tcp --dport 8000:9000")),
    ),
    Mutant(
        name="inbound-untracked-range",
        what="connection tracking is off for inbound ports 8000 to 9000",
        source="B34: istio/istio PR 33572; NOTRACK for speed",
        rules=first(_untracked("PREROUTING", "-p tcp --dport 8000:9000")),
    ),
    Mutant(
        name="inbound-untracked-client",
        what="connection tracking is off for clients from 203.0.113.0/24 and 2001:db8:c::/64",
        source="B39: linkerd/linkerd2 1787; no entry, no original destination",
        rules=lambda rules, case: (
            *rules,
            _untracked(
                "PREROUTING",
                f"-p tcp -s {'203.0.113.0/24' if case.family == 4 else '2001:db8:c::/64'}",
            ),
        ),
    ),
    Mutant(
        name="replies-untracked",
        what="connection tracking is off for packets from port 15003: replies keep that port",
        source="B36: istio/istio 36489",
        rules=first(_untracked("OUTPUT", "-p tcp --sport 15003")),
    ),
    Mutant(
        name="loopback-untracked",
        what="connection tracking is off on lo, where captured outbound flows run",
        source="B21: istio/istio 14443; the usual raw -i lo -j NOTRACK",
        rules=first(_untracked("PREROUTING", "-i lo"), _untracked("OUTPUT", "-o lo")),
    ),
    Mutant(
        name="outbound-small-syn-only",
        what="capture matches a SYN of at most 80 bytes: one with data leaks",
        source="B38: TCP fast open, see OUT-REDIR-011 of the catalogue",
        rules=narrow(Tag.REDIRECT_OUT, "-m length --length 0:80"),
    ),
    Mutant(
        name="outbound-with-timestamps-only",
        what="capture matches a SYN with the timestamp option",
        source="an over-tight match on how Linux clients look",
        rules=narrow(Tag.REDIRECT_OUT, "--tcp-option 8"),
    ),
    Mutant(
        name="inbound-with-timestamps-only",
        what="inbound capture matches a SYN with the timestamp option",
        source="an over-tight match on how Linux clients look",
        rules=narrow(Tag.REDIRECT_IN, "--tcp-option 8"),
    ),
    Mutant(
        name="inbound-exempt-marked",
        what="inbound packets with a DSCP value are exempt",
        source="istio/istio 33469; a QoS rule in front",
        rules=first(Rule("", IN, "-m dscp ! --dscp 0")),
    ),
    Mutant(
        name="outbound-exempt-tos",
        what="outbound packets with a type of service are exempt (ssh sets one)",
        source="B48: kubevirt/kubevirt PR 6923; ssh exempt by its type of service",
        rules=first(Rule("", OUT, "-m dscp ! --dscp 0")),
    ),
)

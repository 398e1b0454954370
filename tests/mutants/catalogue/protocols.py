"""Protocols other than TCP, and kinds of TCP: captured, dropped or exempt."""

from __future__ import annotations

from tests.mutants.changes import Change, drop, first, for_family, in_turn, last, made
from tests.mutants.correct import OUT, Tag
from tests.mutants.loading import followed_by
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule


def _nat(hook: str, words: str, verdict: str) -> Change:
    return last(Rule("", hook, words, verdict))


def dropped(hook: str, v4: str, v6: str = "", verdict: str = "DROP") -> Change:
    """Drop the packets that some words match in the filter table, family by family."""
    return in_turn(
        for_family(4, last(Rule("", hook, v4, verdict, table="filter"))) if v4 else in_turn(),
        for_family(6, last(Rule("", hook, v6, verdict, table="filter"))) if v6 else in_turn(),
    )


def _udp(name: str, what: str, source: str, change: Change) -> Mutant:
    return Mutant(name=name, what=what, source=source, rules=change)


MUTANTS = (
    _udp(
        "udp-out-captured",
        "outbound UDP is redirected to 15001 as well",
        "B35: istio/istio 29639; a rule without -p tcp",
        _nat("OUTPUT", "-p udp", "REDIRECT --to-ports 15001"),
    ),
    _udp(
        "udp-in-captured",
        "inbound UDP is redirected to 15003 as well",
        "B34: istio/istio 33469; a rule without -p tcp",
        _nat("PREROUTING", "-p udp", "REDIRECT --to-ports 15003"),
    ),
    _udp(
        "dns-captured",
        "UDP to port 53 is redirected to a DNS proxy",
        "B35: istio/istio 29639",
        _nat("OUTPUT", "-p udp --dport 53", "REDIRECT --to-ports 15053"),
    ),
    _udp(
        "dns-captured-but-for-sidecar",
        "UDP to port 53 is redirected unless the sidecar sends it",
        "B35: istio/istio 29639; Istio's DNS capture",
        _nat(
            "OUTPUT", "-p udp --dport 53 -m owner ! --uid-owner 1500", "REDIRECT --to-ports 15053"
        ),
    ),
    _udp(
        "dns-captured-for-root",
        "UDP to port 53 of uid 0 is redirected",
        "B35: istio/istio 29639; every container's DNS",
        _nat("OUTPUT", "-p udp --dport 53 -m owner --uid-owner 0", "REDIRECT --to-ports 15053"),
    ),
    _udp(
        "dns-proxy-address-translated",
        "UDP to 127.0.0.153:53 is translated to its port 5300",
        "FSM 1.0 to 1.4.16 with its local DNS proxy",
        for_family(
            4,
            _nat("OUTPUT", "-p udp -d 127.0.0.153 --dport 53", "DNAT --to-destination :5300"),
        ),
    ),
    _udp(
        "udp-to-listener-numbers-captured",
        "inbound UDP to 15001 goes to 15003",
        "catalogue PROTO-002",
        _nat("PREROUTING", "-p udp --dport 15001", "REDIRECT --to-ports 15003"),
    ),
    _udp(
        "udp-in-to-listener-numbers-dropped",
        "inbound UDP to the sidecar's port numbers is dropped",
        "catalogue PROTO-002",
        dropped("INPUT", "-p udp --dport 15000:15010", "-p udp --dport 15000:15010"),
    ),
    _udp(
        "udp-source-randomised",
        "outbound UDP gets a random source port",
        "B34: istio/istio 46935; MASQUERADE --random-fully",
        _nat("POSTROUTING", "-p udp", "MASQUERADE --random-fully"),
    ),
    Mutant(
        name="udp-untracked",
        what="connection tracking is off for UDP: foreign translations stop",
        source="B34: istio/istio 33469; the field's cure for UDP",
        rules=first(
            Rule("", "PREROUTING", "-p udp", "CT --notrack", table="raw"),
            Rule("", "OUTPUT", "-p udp", "CT --notrack", table="raw"),
        ),
    ),
    _udp(
        "quic-rejected",
        "UDP to port 443 is rejected, so that browsers fall back to TCP",
        "a common QUIC block",
        dropped("OUTPUT", "-p udp --dport 443", "-p udp --dport 443", "REJECT"),
    ),
    _udp(
        "udp-dropped-out",
        "outbound UDP is dropped",
        "B34: istio/istio PR 33572",
        dropped("OUTPUT", "-p udp", "-p udp"),
    ),
    _udp(
        "udp-dropped-in",
        "inbound UDP is dropped",
        "B34: istio/istio PR 33572",
        dropped("INPUT", "-i eth0 -p udp", "-i eth0 -p udp"),
    ),
    _udp(
        "udp-large-dropped",
        "UDP datagrams of more than 1400 bytes are dropped",
        "B52: cloudnativelabs/kube-router 685",
        dropped("INPUT", "-p udp -m length --length 1400:", "-p udp -m length --length 1400:"),
    ),
    _udp(
        "udp-large-dropped-out",
        "outbound UDP datagrams of more than 1400 bytes are dropped",
        "B52: cloudnativelabs/kube-router 685",
        dropped("OUTPUT", "-p udp -m length --length 1400:", "-p udp -m length --length 1400:"),
    ),
    _udp(
        "multicast-dropped",
        "multicast is dropped",
        "catalogue PROTO-010",
        dropped("OUTPUT", "-d 224.0.0.0/4", "-p udp -d ff00::/8"),
    ),
    _udp(
        "broadcast-dropped",
        "broadcast is dropped",
        "catalogue PROTO-010",
        dropped("OUTPUT", "-m addrtype --dst-type BROADCAST"),
    ),
    _udp(
        "multicast-captured",
        "multicast UDP is redirected",
        "catalogue PROTO-010",
        in_turn(
            for_family(4, _nat("OUTPUT", "-p udp -d 224.0.0.0/4", "REDIRECT --to-ports 15001")),
            for_family(6, _nat("OUTPUT", "-p udp -d ff00::/8", "REDIRECT --to-ports 15001")),
        ),
    ),
    _udp(
        "sctp-dropped",
        "SCTP is dropped in either direction",
        "catalogue PROTO-008",
        in_turn(dropped("INPUT", "-p sctp", "-p sctp"), dropped("OUTPUT", "-p sctp", "-p sctp")),
    ),
    _udp(
        "udplite-dropped",
        "UDP-Lite is dropped",
        "catalogue PROTO-008",
        dropped("OUTPUT", "-p udplite", "-p udplite"),
    ),
    _udp(
        "only-known-protocols-pass",
        "every protocol except TCP, UDP and ICMP is dropped",
        "catalogue PROTO-008",
        made(
            lambda case: tuple(
                Rule("", "OUTPUT", f"-p {protocol}", kind, table="filter")
                for protocol, kind in (
                    ("tcp", "ACCEPT"),
                    ("udp", "ACCEPT"),
                    ("icmp" if case.family == 4 else "ipv6-icmp", "ACCEPT"),
                    ("all", "DROP"),
                )
            )
        ),
    ),
    _udp(
        "icmp-echo-dropped-in",
        "inbound pings are dropped",
        "B32: istio/istio 18956",
        dropped(
            "INPUT",
            "-p icmp --icmp-type echo-request",
            "-p ipv6-icmp --icmpv6-type echo-request",
        ),
    ),
    _udp(
        "icmp-echo-dropped-out",
        "outbound pings are dropped",
        "B32: istio/istio 18956",
        dropped(
            "OUTPUT",
            "-p icmp --icmp-type echo-request",
            "-p ipv6-icmp --icmpv6-type echo-request",
        ),
    ),
    _udp(
        "icmp-echo-redirected",
        "the pod's pings are answered by the pod itself",
        "S-PROTO; a REDIRECT without -p tcp",
        in_turn(
            for_family(4, _nat("OUTPUT", "-p icmp", "REDIRECT")),
            for_family(6, _nat("OUTPUT", "-p ipv6-icmp --icmpv6-type echo-request", "REDIRECT")),
        ),
    ),
    _udp(
        "icmp-echo-redirected-in",
        "pings of a second address are answered by the first",
        "S-PROTO; a REDIRECT without -p tcp",
        in_turn(
            for_family(4, _nat("PREROUTING", "-p icmp", "DNAT --to-destination 127.0.0.1")),
            for_family(6, _nat("PREROUTING", "-p ipv6-icmp", "DNAT --to-destination ::1")),
        ),
    ),
    _udp(
        "icmp-unreachable-dropped-in",
        "the application never learns that a UDP port is closed",
        "B52: projectcalico/calico 7120",
        dropped(
            "INPUT",
            "-p icmp --icmp-type port-unreachable",
            "-p ipv6-icmp --icmpv6-type port-unreachable",
        ),
    ),
    _udp(
        "icmp-unreachable-dropped-out",
        "a client never learns that the pod's UDP port is closed",
        "B52: projectcalico/calico 7120",
        dropped(
            "OUTPUT",
            "-p icmp --icmp-type port-unreachable",
            "-p ipv6-icmp --icmpv6-type port-unreachable",
        ),
    ),
    _udp(
        "path-mtu-message-dropped",
        "'packet too big' messages are dropped",
        "B52: projectcalico/calico 7120, cloudnativelabs/kube-router 685",
        dropped(
            "INPUT",
            "-p icmp --icmp-type fragmentation-needed",
            "-p ipv6-icmp --icmpv6-type packet-too-big",
        ),
    ),
    _udp(
        "icmp-dropped-in",
        "inbound ICMP is dropped",
        "B52: cloudnativelabs/kube-router 685",
        dropped("INPUT", "-p icmp", "-p ipv6-icmp"),
    ),
    Mutant(
        name="ping-ignored-by-sysctl",
        what="the kernel ignores pings",
        source="B52: a hardening guide followed in the init container",
        load=followed_by(
            "echo 1 >/proc/sys/net/ipv4/icmp_echo_ignore_all;"
            " echo 1 >/proc/sys/net/ipv6/icmp/echo_ignore_all"
        ),
        privileged=True,
    ),
    Mutant(
        name="dns-over-tcp-exempt",
        what="TCP to port 53 is exempt",
        source="B35: istio/istio 29639",
        rules=first(Rule("", OUT, "-p tcp --dport 53")),
    ),
    Mutant(
        name="dns-over-tcp-rejected",
        what="TCP to port 53 is rejected",
        source="B35: istio/istio 29639",
        rules=dropped("OUTPUT", "-p tcp --dport 53", "-p tcp --dport 53", "REJECT"),
    ),
    Mutant(
        name="sidecar-seen-as-client-in",
        what="the sidecar's inbound listener sees 127.0.0.6 instead of the client",
        source="B47: linkerd/linkerd2 4713, istio/istio 5679",
        rules=for_family(4, _nat("INPUT", "-p tcp --dport 15003", "SNAT --to-source 127.0.0.6")),
    ),
    Mutant(
        name="inbound-client-masqueraded",
        what="the sidecar's inbound listener sees another client port",
        source="B47: linkerd/linkerd2 5913",
        rules=in_turn(
            for_family(
                4,
                _nat("INPUT", "-p tcp --dport 15003", "SNAT --to-source 203.0.113.20:40000-40999"),
            ),
            for_family(
                6,
                _nat(
                    "INPUT",
                    "-p tcp --dport 15003",
                    "SNAT --to-source [2001:db8:c::20]:40000-40999",
                ),
            ),
        ),
    ),
    Mutant(
        name="outbound-source-ports-moved",
        what="direct outbound connections get another source port",
        source="B34: istio/istio 46935; a MASQUERADE in front",
        rules=_nat("POSTROUTING", "-p tcp -o eth0", "MASQUERADE --to-ports 61000-62000"),
    ),
    Mutant(
        name="outbound-masqueraded",
        what="packets leave the pod with the interface's first address",
        source="B40: linkerd/linkerd2 9840; B47",
        rules=_nat("POSTROUTING", "-o eth0", "MASQUERADE"),
    ),
    Mutant(
        name="stray-segments-not-dropped",
        what="a segment outside the window gets a reset as answer",
        source="B36: istio/istio 36489, kubernetes/kubernetes PR 74840; FSM",
        rules=drop(Tag.STRAY),
        argument="SPEC-15.6 permits it: the seed's own rules do the same; CT-004 notes it",
    ),
    Mutant(
        name="stray-segments-rejected",
        what="a segment outside the window is rejected with a reset",
        source="B36: istio/istio 49975",
        rules=in_turn(
            drop(Tag.STRAY),
            last(
                Rule(
                    "",
                    "INPUT",
                    "-p tcp -m conntrack --ctstate INVALID",
                    "REJECT --reject-with tcp-reset",
                    table="filter",
                )
            ),
        ),
        argument="SPEC-15.6 permits that such a segment ends the connection; CT-004 notes it",
    ),
    Mutant(
        name="retransmitted-syn-dropped",
        what="a retransmitted SYN is dropped",
        source="catalogue CT-006; a SYN flood protection in front",
        rules=first(
            Rule(
                "",
                "PREROUTING",
                "-p tcp --syn -m hashlimit --hashlimit-above 1/minute --hashlimit-burst 1"
                " --hashlimit-mode srcip,srcport,dstip,dstport --hashlimit-name again",
                "DROP",
                table="raw",
            )
        ),
    ),
    Mutant(
        name="established-sent-past-again",
        what="packets of a captured connection with data are dropped after the first few",
        source="B42: istio/istio 35157",
        rules=first(
            Rule(
                "",
                "INPUT",
                "-p tcp -m connbytes --connbytes 100000: --connbytes-dir both"
                " --connbytes-mode bytes",
                "DROP",
                table="filter",
            )
        ),
    ),
    Mutant(
        name="reset-kept-in",
        what="a reset of the application is not forwarded",
        source="catalogue OUT-REDIR-010",
        rules=dropped(
            "INPUT", "-i lo -p tcp --tcp-flags RST RST", "-i lo -p tcp --tcp-flags RST RST"
        ),
    ),
    Mutant(
        name="urgent-data-dropped",
        what="segments with urgent data are dropped",
        source="a hardening guide followed in the init container",
        rules=dropped("INPUT", "-p tcp --tcp-flags URG URG", "-p tcp --tcp-flags URG URG"),
    ),
    Mutant(
        name="half-close-kept-in",
        what="the end of a stream is not forwarded",
        source="B38: istio/istio 43301",
        rules=dropped(
            "INPUT", "-i lo -p tcp --tcp-flags FIN FIN", "-i lo -p tcp --tcp-flags FIN FIN"
        ),
    ),
)

"""The kinds of mutants that the self-check may not see from inside a pod, and why."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Kind:
    """Mutants that the check may not see, for one reason.

    Attributes:
        what: What they break.
        why: Why the check may not see it.
        globs: Patterns of their names.
    """

    what: str
    why: str
    globs: tuple[str, ...]


KINDS = (
    Kind(
        "further runs of the init command, rules of others, other circumstances of a run",
        "It sees what one run has left in one pod.",
        ("second-run-*", "*-flushed-first", "*-emptied-after", "*-flushed-after", "policy-of-*",
         "tables-of-*", "done-when-*", "lock-*", "failures-*", "one-command-*", "needs-*",
         "programmed-*", "restored-*", "only-with-*", "second-family-*", "ipv?-alone-*", "single-*",
         "setting-*", "namespace-*", "conntrack-*", "link-*", "default-route-*", "mtu-*",
         "reverse-*", "ephemeral-*", "localhost-routed*", "forwarding-*", "*-accepted-before-*",
         "open-flows-*", "forwarded-*", "others-*"),
    ),
    Kind(
        "configurations that have to be refused, or that are refused wrongly",
        "There is no pod to check, or the check itself does not take a malformed list.",
        ("*refuse*", "bad-*", "large-port-*", "port-*", "bare-*", "short-range-*", "*negated*",
         "empty-range-*", "upper-case-*", "blanks-not-*", "opens-after-*", "hooks-swapped",
         "refused-*", "interface-name-*", "range-with-*", "newline-*", "semicolon-*"),
    ),
    Kind(
        "connections that are open for a while",
        "It closes each connection at once.",
        ("idle-*", "established-*", "half-close-*", "reset-kept-*", "retransmitted-*", "urgent-*"),
    ),
    Kind(
        "packets with a mark",
        "To set a mark needs a privilege.",
        ("mark-*", "marked-*", "marks-*"),
    ),
    Kind(
        "other users and groups",
        "It runs as one user; to become another one needs a privilege.",
        ("*-by-group", "*-user-and-group", "*root*", "*-users-*", "*-group-*", "*-groups-*",
         "daemons-*", "application-user-alone-*", "users-of-*"),
    ),
    Kind(
        "header fields that no option of a socket sets, and what the sidecar sees of the client",
        "To send a raw packet needs a privilege.",
        ("header-*", "*-timestamps-*", "*-small-s*", "*-fast-open-*", "*-ip-options-*",
         "*-seen-as-client-*"),
    ),
    Kind(
        "ICMP, and protocols other than TCP and UDP",
        "To send them needs a privilege. It sends one ping where the user may.",
        ("icmp*", "ipv6-icmp-*", "*-discovery-*", "ping-*", "sctp-*", "udplite-*", "only-known-*",
         "gre-*", "esp-*", "ah-*", "dccp-*", "ipip-*", "igmp-*", "all-but-known-*",
         "path-mtu-*", "groups-*", "dscp-*", "ttl-*"),
    ),
    Kind(
        "datagrams that come in, answers to datagrams, and all but a few ports",
        "It sees that an interface carries a datagram, and asks no server for an answer.",
        ("*udp*", "dns-*", "*-node-dns", "quic-*", "statsd-*", "multicast-*", "broadcast-*",
         "ntp-*", "geneve-*"),
    ),
    Kind(
        "connections from outside",
        "No host outside dials the pod. Next to a running sidecar it reports the connections that"
        " are open.",
        ("*inbound*", "reserved-*", "*-reserved", "*-open-150??", "capture-in-*", "hook-in-*",
         "probes-*", "*-health-*", "*-admin-*", "ipv6-reserved-*", "http2-*", "loopback-*",
         "everything-excluded-*", "outbound-ports-both-*", "last-line-lost"),
    ),
    Kind(
        "counts, rates, and many connections at once",
        "It has one connection open at a time, and few in all.",
        ("*-limited", "*connlimit*", "*quota*", "*-by-chance", "*hundred*", "replies-*"),
    ),
    Kind(
        "lists that the pod does not have",
        "It judges only the lists that its pod has. Such a fault shows in a pod with the list.",
        ("*-cut-at-*", "*-thousandths-*", "*-byte", "*-4096-*", "*-cancels", "included-doubles-*",
         "*triple-lost", "*-merged", "*-skipped", "*-followers-*", "*-ascending-*", "mesh-*",
         "empty-annotation-*", "*-first-address", "*-sixteenth-*", "inclusion-decided-*",
         "*-of-both-versions", "*-own-address*", "annotations-leak-*", "blank-ends-*", "split-at-*",
         "*-after-blank-*", "*-by-kind", "*-by-beginning", "*-with-excluded-interfaces",
         "*-before-interface-*", "*-ranges-of-*-lost", "*-ports-of-*-lost"),
    ),
    Kind(
        "places that it does not dial, and what happens behind the pod's interface",
        "It dials samples, and packets that leave the pod are out of its sight.",
        ("range-unreachable", "user-without-route", "remote-address-*", "*-copied-out",
         "*-masqueraded", "*-ports-moved", "*-on-eth0-only", "*-from-high-ports",
         "*-unprivileged-source-*", "*-accepted", "*-by-source-too", "hidden-node-*",
         "*-cloud-agent", "*-gateway", "*-second-route", "sidecar-captured-link-local",
         "*-metadata", "*-primary-address*"),
    ),
    Kind(
        "rules of nft, answers, and exemptions of two conditions at once",
        "It dials samples, and no sample meets both conditions.",
        ("native-*", "subtly-*", "*answers*", "later-flags-*", "zone-for-*", "handed-over-*",
         "port-without-route", "marked-by-port-*"),
    ),
)  # fmt: skip


def kind_of(name: str) -> Kind | None:
    """Return the kind of a mutant that the check may not see; None if it has to see it."""
    return next((k for k in KINDS if any(fnmatchcase(name, g) for g in k.globs)), None)

"""The mutants that the checks of every flow do not have to find, and why.

Each was reviewed: its fault does not show in the rules of a pod of these checks, or only packets
show it that the checks do not send.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """Mutants that the checks do not find, for one reason.

    Attributes:
        name: The reason in a few words.
        why: Why the checks do not find them.
        mutants: Their names.
    """

    name: str
    why: str
    mutants: frozenset[str]


def _kind(name: str, why: str, mutants: str) -> Kind:
    return Kind(name, why, frozenset(mutants.split()))


KINDS = (
    _kind(
        "lifecycle",
        "The checks read the rules that one run leaves in a fresh pod without other rules.",
        """
        ipv4-alone-unprogrammed ipv6-alone-unprogrammed single-family-refused
        single-family-without-ports second-run-keeps-capturing-all second-run-keeps-ipv4-ranges
        second-run-keeps-ipv6-ranges second-run-keeps-interfaces second-run-adds-no-inbound-ports
        second-run-keeps-outbound-ports-of-an-empty-list second-run-adds-outbound-ports
        second-run-keeps-inbound-ports-of-an-empty-list second-run-adds-inbound-ports
        second-run-keeps-included-ranges second-run-keeps-inclusion second-run-removes-first
        second-run-removes-ipv6-first second-run-unhooks-inbound-meanwhile second-run-fails
        second-run-of-the-same-length-does-nothing
        second-run-with-the-same-first-items-does-nothing
        second-run-does-nothing second-run-appends second-run-keeps-inbound
        second-run-keeps-outbound second-run-takes-away second-run-empties-nat
        second-family-if-it-can only-with-a-sidecar done-when-other-variant-holds-rules
        done-when-lock-is-held needs-more-capabilities  failures-hidden
        failures-of-commands-hidden lock-not-waited-for  restored-over-all
        nat-flushed-first filter-flushed-first mangle-flushed-first raw-flushed-first
        everything-flushed-first prerouting-flushed-after nat-input-emptied-after
        nat-postrouting-emptied-after raw-prerouting-emptied-after mangle-prerouting-emptied-after
        mangle-input-emptied-after mangle-forward-emptied-after mangle-postrouting-emptied-after
        filter-forward-emptied-after policy-of-input-reset policy-of-forward-reset
        policy-of-output-reset conntrack-flushed open-flows-reset one-command-a-line
        """,
    ),
    _kind(
        "other rules",
        "The fate of packets changes only together with rules of others.",
        """
        others-never-reached marks-overwritten
        outbound-ports-accepted inbound-ports-accepted excluded-ranges-accepted udp-untracked
        sidecar-accepted-before-others captured-accepted-before-others tables-of-nftables-deleted
        """,
    ),
    _kind(
        "configuration",
        "The configuration is refused, or read in another way than as lists of the pod.",
        """
        empty-annotation-clears-mesh bad-port-skipped large-port-skipped large-port-wraps
        interface-name-cut
        port-clamped port-by-leading-digits port-span-by-its-ends port-with-zero-is-octal
        port-0-skipped bad-item-skipped-unless-last bad-range-skipped bare-address-is-a-network
        range-with-zero-is-octal range-with-mask-is-an-address
        short-range-by-inet-aton bad-port-of-mesh-skipped bad-range-of-mesh-skipped
        empty-range-is-everything negated-range-taken upper-case-range-skipped
        unusual-ipv6-form-skipped ipv6-unabbreviated-skipped port-0-is-any
        bad-list-found-after-ipv4 bad-list-found-after-ipv6 refused-run-flushes-ipv4
        refused-run-flushes-ipv6 refused-in-silence blanks-not-trimmed blank-ends-list
        included-range-after-blank-lost newline-ends-list newline-deleted semicolon-ends-list
        bracketed-port-skipped port-in-32-bits port-with-letters range-with-two-prefixes
        range-with-sign-in-prefix
        """,
    ),
    _kind(
        "policy",
        "It shows in a pod with lists that no check of every flow has.",
        """
        inbound-exclusion-opens-reserved excluded-ranges-everything-skipped
        interface-by-beginning inclusion-before-interface-exclusion
        outbound-ports-cut-at-15-with-included-ranges
        inbound-ports-cut-at-15-with-included-ranges
        excluded-ranges-cut-at-15-with-included-ranges
        included-ranges-cut-at-15-with-outbound-ports
        excluded-ranges-ignored-with-excluded-interfaces
        included-ranges-ignored-with-excluded-interfaces
        excluded-ranges-of-two-bits-lost
        excluded-ranges-of-class-e-lost excluded-ranges-of-shared-networks-lost
        excluded-ranges-of-link-local-lost excluded-ranges-of-private-networks-lost
        excluded-ranges-of-unique-local-lost excluded-ranges-of-nat64-lost
        excluded-ranges-of-own-network-lost included-ranges-of-class-e-lost
        included-ranges-of-shared-networks-lost included-ranges-of-link-local-lost
        included-ranges-of-private-networks-lost included-ranges-of-unique-local-lost
        included-ranges-of-nat64-lost included-ranges-of-own-network-lost
        interface-exclusion-by-kind
        excluded-ranges-everything-among-others-skipped
        included-ranges-everything-among-others-skipped
        included-ranges-everything-skipped included-ranges-on-eth0-only
        included-ranges-everything-of-both-versions
        excluded-ranges-by-source-too included-ranges-by-source-too
        excluded-ranges-own-address-uninstalls inclusion-decided-per-family
        inclusion-before-own-address included-doubles-cancel
        excluded-addresses-merged included-addresses-merged
        mesh-outbound-ip-range-exclusion-dropped-with-pod-outbound-ip-range-inclusion
        mesh-outbound-ip-range-exclusion-dropped-with-pod-outbound-port-exclusion
        mesh-outbound-ip-range-exclusion-dropped-with-pod-inbound-port-exclusion
        mesh-outbound-ip-range-inclusion-dropped-with-pod-outbound-ip-range-exclusion
        mesh-outbound-ip-range-inclusion-dropped-with-pod-outbound-port-exclusion
        mesh-outbound-ip-range-inclusion-dropped-with-pod-inbound-port-exclusion
        mesh-outbound-port-exclusion-dropped-with-pod-outbound-ip-range-exclusion
        mesh-outbound-port-exclusion-dropped-with-pod-outbound-ip-range-inclusion
        mesh-outbound-port-exclusion-dropped-with-pod-inbound-port-exclusion
        mesh-inbound-port-exclusion-dropped-with-pod-outbound-ip-range-exclusion
        mesh-inbound-port-exclusion-dropped-with-pod-outbound-ip-range-inclusion
        mesh-inbound-port-exclusion-dropped-with-pod-outbound-port-exclusion
        outbound-port-exclusion-mesh-double-cancels outbound-port-exclusion-once-each-cancels
        outbound-port-exclusion-even-cancels outbound-port-exclusion-triple-lost
        inbound-port-exclusion-double-cancels inbound-port-exclusion-mesh-double-cancels
        inbound-port-exclusion-once-each-cancels inbound-port-exclusion-even-cancels
        inbound-port-exclusion-triple-lost outbound-ip-range-exclusion-double-cancels
        outbound-ip-range-exclusion-mesh-double-cancels
        outbound-ip-range-exclusion-once-each-cancels outbound-ip-range-exclusion-even-cancels
        outbound-ip-range-exclusion-triple-lost outbound-ip-range-inclusion-double-cancels
        outbound-ip-range-inclusion-mesh-double-cancels
        outbound-ip-range-inclusion-once-each-cancels outbound-ip-range-inclusion-even-cancels
        outbound-ip-range-inclusion-triple-lost outbound-ports-close-ones-merged
        inbound-ports-close-ones-merged outbound-ports-short-followers-lost
        inbound-ports-short-followers-lost outbound-ports-cut-at-300 outbound-ports-cut-at-512
        outbound-ports-cut-at-1000 outbound-ports-cut-at-1024 outbound-ports-cut-at-2048
        outbound-ports-cut-at-4096 outbound-ports-last-4096-kept outbound-ports-thousandths-lost
        outbound-ports-counted-in-a-byte inbound-ports-cut-at-300 inbound-ports-cut-at-512
        inbound-ports-cut-at-1000 inbound-ports-cut-at-1024 inbound-ports-cut-at-2048
        inbound-ports-cut-at-4096 inbound-ports-last-4096-kept inbound-ports-thousandths-lost
        inbound-ports-counted-in-a-byte excluded-ranges-cut-at-300 excluded-ranges-cut-at-512
        excluded-ranges-cut-at-1000 excluded-ranges-cut-at-1024 excluded-ranges-cut-at-2048
        excluded-ranges-cut-at-4096 excluded-ranges-last-4096-kept
        excluded-ranges-thousandths-lost excluded-ranges-counted-in-a-byte
        included-ranges-cut-at-300 included-ranges-cut-at-512 included-ranges-cut-at-1000
        included-ranges-cut-at-1024 included-ranges-cut-at-2048 included-ranges-cut-at-4096
        included-ranges-last-4096-kept included-ranges-thousandths-lost
        included-ranges-counted-in-a-byte excluded-ranges-of-a-version-cut-at-512
        excluded-ranges-of-a-version-cut-at-4096 included-ranges-of-a-version-cut-at-512
        included-ranges-of-a-version-cut-at-4096
        """,
    ),
    _kind(
        "not in rules",
        "A setting of the kernel is wrong, and no rule.",
        """
        localhost-routed localhost-routed-and-not-captured forwarding-on ping-ignored-by-sysctl
        mtu-lowered ephemeral-ports-few
        """,
    ),
    _kind(
        "several flows",
        "The fate of a flow depends on an earlier one. The condition is named as not proved.",
        """
        redirect-out-to-range replies-told-by-address opens-after-refusal
        retransmitted-syn-dropped
        """,
    ),
    _kind(
        "content",
        "It affects packets with a content that the checks do not send. It is named as not proved.",
        """
        http2-rejected reset-kept-in
        """,
    ),
    _kind(
        "time",
        "An idle connection is forgotten after some time.",
        """
        idle-open-forgotten-out-v4
        idle-open-forgotten-out-v6
        idle-open-forgotten-in-v4
        idle-open-forgotten-in-v6
        idle-half-closed-forgotten-out-v4
        idle-half-closed-forgotten-out-v6
        idle-half-closed-forgotten-in-v4
        idle-half-closed-forgotten-in-v6
        idle-early-forgotten-in-v4
        idle-reaped-v4
        idle-reaped-v6
        """,
    ),
    _kind(
        "left out",
        "A proof leaves out link-local, multicast and broadcast addresses, and forwarded packets.",
        """
        forwarded-dropped multicast-dropped broadcast-dropped groups-dropped-in multicast-dropped-in
        broadcast-dropped-in multicast-captured inbound-exempts-link-local
        inbound-exempts-own-link-local sidecar-captured-link-local
        """,
    ),
)

_BY_MUTANT = {mutant: kind for kind in KINDS for mutant in kind.mutants}
if len(_BY_MUTANT) != sum(len(kind.mutants) for kind in KINDS):
    raise ValueError("a mutant is of two kinds")


def kind_of(name: str) -> Kind | None:
    """Return the kind of a mutant that the checks need not find; None if they have to find it."""
    return _BY_MUTANT.get(name)

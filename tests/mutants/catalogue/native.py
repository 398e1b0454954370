"""Rules of nftables without iptables, correct but for one narrow fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_fsmredir.implementations.base import Target
from pytest_fsmredir.model.reserved import OUTBOUND_PORT
from tests.mutants.correct import NEVER_OPEN
from tests.mutants.loading import Plan, must
from tests.mutants.mutant import Mutant
from tests.neutral.lists import Lists
from tests.neutral.nftables import TABLE, ruleset

_DISPATCH = "meta l4proto != tcp return"


@dataclass(frozen=True)
class Natively:
    """Load rules of nft alone, some of which are wrong.

    Attributes:
        leaving: Rules before the correct ones, for packets that leave.
        entering: The same for packets that come in.
        more: Further chains, sets and maps of the table.
        capture: What the last rule for packets that leave does.
        dispatch: The first rule of both chains, which lets all but TCP pass.
    """

    leaving: tuple[str, ...] = ()
    entering: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    capture: str = f"redirect to :{OUTBOUND_PORT}"
    dispatch: str = _DISPATCH

    def __call__(self, pod: Target, plans: Sequence[Plan]) -> None:
        """Load them."""
        del plans
        text = ruleset(_lists(pod))
        old = f"redirect to :{OUTBOUND_PORT}"
        text = text.replace("\n".join([old, "}"]), "\n".join([self.capture, "}"]))
        text = text.replace(_DISPATCH, self.dispatch)
        text = _after(text, "meta skuid 1500 return", self.leaving)
        text = _after(text, "type nat hook prerouting priority -95;", self.entering)
        text = text.replace(f"table {TABLE} {{\n", "\n".join([f"table {TABLE} {{", *self.more, ""]))
        must(pod.run(["nft", "-f", "-"], text))


def _after(text: str, line: str, rules: Sequence[str]) -> str:
    return text.replace(line, "\n".join([line, *rules]))


def _lists(pod: Target) -> Lists:
    policy = pod.configuration.policy()
    return Lists(
        families=tuple(sorted({6 if ":" in address else 4 for address in pod.addresses})),
        excluded=tuple(map(str, policy.outbound_ip_range_exclusion_list)),
        included=tuple(map(str, policy.outbound_ip_range_inclusion_list)),
        outbound=policy.outbound_port_exclusion_list,
        inbound=tuple(p for p in policy.inbound_port_exclusion_list if p not in NEVER_OPEN),
        interfaces=policy.network_interface_exclusion_list,
    )


def _native(name: str, what: str, load: Natively) -> Mutant:
    return Mutant(name=f"native-{name}", what=what, source="B70: a rule of nft", load=load)


def _spares(name: str, what: str, *rules: str, more: Sequence[str] = ()) -> Mutant:
    return _native(
        f"out-{name}", f"outbound TCP is exempt {what}", Natively(rules, more=tuple(more))
    )


def _opens(name: str, what: str, *rules: str, more: Sequence[str] = ()) -> Mutant:
    return _native(f"in-{name}", f"inbound TCP is exempt {what}", Natively((), rules, tuple(more)))


MUTANTS = (
    _spares("pair", "to one port of one address",
            "ip daddr . tcp dport { 203.0.113.77 . 5432 } return",
            "ip6 daddr . tcp dport { 2001:db8:9::77 . 5432 } return"),
    _spares("pair-of-intervals", "to a range of ports of a network",
            "ip daddr . tcp dport @few return", "ip6 daddr . tcp dport @few6 return",
            more=["set few { type ipv4_addr . inet_service; flags interval;"
                  " elements = { 198.51.100.0/25 . 5000-5010 }; }",
                  "set few6 { type ipv6_addr . inet_service; flags interval;"
                  " elements = { 2001:db8:9::/64 . 5000-5010 }; }"]),
    _spares("map-of-ranges", "to a range of ports in a verdict map",
            "tcp dport vmap { 5000-5010 : return, 6000 : jump nothing }",
            more=["chain nothing { }"]),
    _native("map-without-default", "marked outbound TCP finds no verdict in a map",
            Natively(capture="meta mark vmap { 0x0 : goto taken }",
                     more=(f"chain taken {{ meta l4proto tcp redirect to :{OUTBOUND_PORT}; }}",))),
    _spares("goto-that-returns", "to a few ports whose chain returns beyond its caller",
            "tcp dport 7000-7010 goto nothing", more=["chain nothing { return; }"]),
    _spares("port-bits", "to ports with some bits", "tcp dport & 0xff00 == 0x1300 return"),
    _spares("address-bits", "to addresses that end with 77",
            "ip daddr & 0.0.0.255 == 0.0.0.77 return", "ip6 daddr & ::ffff == ::77 return"),
    _spares("user-with-port", "of one user from some source ports",
            "meta skuid . tcp sport { 1000 . 41000-41010 } return"),
    _spares("group-not-user", "of one group but for root",
            "meta skuid != 0 meta skgid 4321 return"),
    _spares("two-marks", "with one of two marks", "meta mark { 0x11, 0x2200-0x22ff } return"),
    _spares("original-port", "to an original port",
            "meta l4proto tcp ct original proto-dst 5432 return"),
    _spares("raw-port", "to a port, read as raw bytes", "meta l4proto tcp @th,16,16 5432 return"),
    _spares("segment-size", "with a small segment size",
            "tcp option maxseg size 1000-1300 return"),
    _spares("every-seventh", "each seventh time", "numgen inc mod 7 vmap { 3 : return }"),
    _spares("quota", "after a quota", "quota over 400 bytes return"),
    _spares("many-open", "beyond three open connections", "ct count over 3 return"),
    _spares("learnt", "to an address that was dialled before",
            "ip daddr @seen return", "ip6 daddr @seen6 return", "add @seen { ip daddr }",
            "add @seen6 { ip6 daddr }",
            more=["set seen { type ipv4_addr; size 100; flags dynamic; }",
                  "set seen6 { type ipv6_addr; size 100; flags dynamic; }"]),
    _spares("learnt-in-plain-set", "to an address that was dialled before",
            "ip daddr @seen return", "ip6 daddr @seen6 return", "add @seen { ip daddr }",
            "add @seen6 { ip6 daddr }",
            more=["set seen { type ipv4_addr; }", "set seen6 { type ipv6_addr; }"]),
    _spares("rate-of-address", "beyond a rate for each address",
            "update @rates { ip daddr limit rate over 2/minute burst 2 packets } return",
            "update @rates6 { ip6 daddr limit rate over 2/minute burst 2 packets } return",
            more=["set rates { type ipv4_addr; size 100; flags dynamic; }",
                  "set rates6 { type ipv6_addr; size 100; flags dynamic; }"]),
    _spares("hashed", "whose ports have one hash", "jhash tcp sport mod 4 seed 0x1 3 return"),
    _spares("twice-asked", "to a port that a chain marks at its first call",
            "jump twice", "jump twice",
            more=["chain twice { meta mark & 0x100 == 0x100 accept;"
                  " tcp dport 5432 meta mark set meta mark | 0x100; }"]),
    _opens("pair", "from one port of a network",
           "ip saddr . tcp sport @few return", "ip6 saddr . tcp sport @few6 return",
           more=["set few { type ipv4_addr . inet_service; flags interval;"
                 " elements = { 198.51.100.0/25 . 5000-5010 }; }",
                 "set few6 { type ipv6_addr . inet_service; flags interval;"
                 " elements = { 2001:db8:9::/64 . 5000-5010 }; }"]),
    _opens("interface-with-port", "to some ports of one interface",
           'iifname . tcp dport vmap { "eth0" . 7000-7010 : accept }'),
    _opens("service-class", "of one class to some ports", "ip dscp cs5 tcp dport > 60000 return",
           "ip6 dscp cs5 tcp dport > 60000 return"),
    _opens("length", "with long headers", "meta length 61-79 tcp sport < 50000 return"),
    _opens("translated-before", "to a port that another table translates first",
           more=["chain sooner { type nat hook prerouting priority -101;"
                 " tcp dport 7000-7010 redirect to :7000; }"]),
    _native("port-rewritten-out", "outbound TCP to one port goes to another one",
            Natively(more=("chain rewriting { type filter hook output priority -150;"
                           " meta skuid != 1500 tcp dport 5433 tcp dport set 5432; }",))),
    _native("port-rewritten-in", "inbound TCP to one port goes to another one",
            Natively(more=("chain rewriting { type filter hook prerouting priority -150;"
                           " tcp dport 5433 tcp dport set 5432; }",))),
    _native("replies-dropped-to-port", "the pod's answers to one port of a client are dropped",
            Natively(more=("chain answering { type filter hook output priority 0;"
                           " ct direction reply tcp dport 54321 drop; }",))),
    _native("replies-dropped-when-long", "long answers of the pod are dropped",
            Natively(more=("chain answering { type filter hook output priority 0;"
                           " tcp sport 15003 meta length > 900 drop; }",))),
    _native("replies-dropped-from-server", "answers of one server's port are dropped",
            Natively(more=("chain answered { type filter hook input priority 0;"
                           " iif != lo ct direction reply tcp sport 5432 drop; }",))),
    _native("zone-of-replies", "answers to one port are looked for in another zone",
            Natively(more=("chain zones { type filter hook output priority -300;"
                           " tcp dport 5432 ct reply zone set 7; }",))),
    _native("untracked-source-port", "outbound TCP from one source port is untracked",
            Natively(more=("chain raw { type filter hook output priority -300;"
                           " meta skuid 1000 tcp sport 41000 notrack; }",))),
    _native("policy-drop", "a chain drops all but the protocols that it lists",
            Natively(more=("chain listing { type filter hook output priority -150; policy drop;"
                           " meta l4proto { tcp, udp, icmp, ipv6-icmp, gre, esp, ah, sctp } accept;"
                           " meta l4proto 0-250 accept; }",))),
    _native("long-flows-dropped", "packets beyond a number of bytes are dropped",
            Natively(more=("chain long { type filter hook input priority 0;"
                           " tcp dport 15003 ct original bytes > 300 drop; }",))),
    _native("class-by-connection", "the class of a datagram follows the mark of its flow",
            Natively(more=("chain marking { type filter hook output priority -150;"
                           " udp dport 7777 ct mark set 0x2e; ct mark 0x2e ip dscp set ef; }",))),
    _native("ingress-source", "a table of the interface drops TCP from one source port",
            Natively(more=('chain first { type filter hook ingress device "eth0" priority 0;'
                           " tcp sport 54321 drop; }",))),
)  # fmt: skip

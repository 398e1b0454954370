"""Packets that the application marks: exempt, lost or misrouted."""

from __future__ import annotations

from tests.mutants.changes import first
from tests.mutants.correct import OUT
from tests.mutants.loading import followed_by
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule

_PRIORITY_AS_MARK = (
    "nft 'table inet spared { chain output { type filter hook output priority -160;"
    " meta priority 6 meta mark set 0x1506; }; }'"
)
_IN_BOTH = "for ip in 'ip -4' 'ip -6'; do $ip rule del {0} 2>/dev/null; $ip rule add {0}; done"


def _spared(name: str, mark: str, source: str) -> Mutant:
    return Mutant(
        name=f"mark-exempt-{name}",
        what=f"TCP with the mark {mark} is exempt",
        source=source,
        rules=first(Rule("", OUT, f"-m mark --mark {mark}")),
    )


def _lost(name: str, protocol: str, mark: str, kind: str) -> Mutant:
    return Mutant(
        name=f"marked-{protocol}-{name}",
        what=f"the filter table drops outbound {protocol} with the mark {mark}",
        source="B59: a mark of another mesh",
        rules=first(
            Rule("", "OUTPUT", f"-p {protocol} -m mark --mark {mark}", kind, table="filter")
        ),
    )


MUTANTS = (
    _spared("istio", "1337", "B59: istio/istio, whose sidecar marks its packets"),
    _spared("masked", "0x539/0xfff", "B59: istio/istio, the mask of its ambient mode"),
    _spared("low-bit", "0x1/0x1", "B59: the mark in the kernel's document on TPROXY"),
    _spared("kubernetes", "0x4000/0x4000", "B59: kube-proxy marks what it masquerades"),
    _spared("high-bit", "0x80000000/0x80000000", "B59: a bit that is a sign to some programs"),
    _spared("tailscale", "0x80000/0xff0000", "B59: tailscale's mark for its own packets"),
    _lost("dropped", "udp", "1337", "DROP"),
    _lost("rejected", "udp", "0x80/0x80", "REJECT"),
    _lost("dropped", "tcp", "0x20000/0x20000", "DROP"),
    Mutant(
        name="mark-routed-to-nowhere",
        what="a leftover rule routes packets with Istio's mark to nowhere",
        source="B70: merbridge/merbridge PR 163; Istio's TPROXY mode",
        load=followed_by(_IN_BOTH.format("fwmark 1337 blackhole")),
    ),
    Mutant(
        name="priority-exempt",
        what="TCP with the priority 6 is exempt",
        source="B59: a class of traffic taken for a user",
        rules=first(Rule("", OUT, "-m mark --mark 0x1506")),
        load=followed_by(_PRIORITY_AS_MARK),
    ),
)

"""Correct rule sets by other means, most of which the mutants use for faults."""

from __future__ import annotations

from collections.abc import Callable

from tests.mutants.catalogue.native import Natively
from tests.mutants.changes import Change, each, first, in_turn, unchanged
from tests.mutants.correct import TO_OUT, Tag
from tests.mutants.loading import Load, followed_by, install
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule

_NOTHING_DIFFERS = "no packet has another fate"
_IN_BOTH = "for ip in 'ip -4' 'ip -6'; do {0}; done"


def _same(
    name: str, what: str, rules: Change = unchanged, load: Load = install, why: str = ""
) -> Mutant:
    return Mutant(
        name=f"same-{name}", what=what, source="a correct rule set by other means",
        rules=rules, load=load, argument=why or _NOTHING_DIFFERS,
    )  # fmt: skip


def _mangled(chain: str, words: str, action: str) -> Rule:
    return Rule("", chain, words, action, table="mangle")


def _table(name: str, *chains: str) -> Load:
    """Load a further table of nft after the rules."""
    body = "\n".join(["", *chains, ""])
    return followed_by(
        f"nft 'table inet {name}; delete table inet {name}; table inet {name} {{ {body} }}'"
    )


def _by(words: str) -> Callable[[Rule], Rule]:
    return lambda rule: Rule(rule.tag, rule.chain, words, rule.verdict, rule.table)


MUTANTS = (
    _same("sidecar-by-connection-mark", "the sidecar is told by the mark of its connections",
          in_turn(
              first(_mangled("OUTPUT", "-p tcp -m owner --uid-owner 1500",
                             "CONNMARK --set-mark 0x5dc")),
              each(Tag.SIDECAR, _by("-m connmark --mark 0x5dc")),
          )),
    _same("captured-by-connection-mark", "connections of applications get a mark, and are captured",
          in_turn(
              first(_mangled("OUTPUT", "-p tcp -m owner ! --uid-owner 1500",
                             "CONNMARK --set-mark 0x77")),
              each(Tag.REDIRECT_OUT, _by("-p tcp -m connmark --mark 0x77")),
          )),
    _same("marks-saved-and-restored", "marks of packets are saved in connections and restored",
          first(_mangled("OUTPUT", "-p tcp", "CONNMARK --save-mark"),
                _mangled("OUTPUT", "-p tcp", "CONNMARK --restore-mark"))),
    _same("handed-over-by-tproxy", "TPROXY hands inbound TCP of one port to the inbound listener",
          first(_mangled("PREROUTING", "-i eth0 -p tcp --dport 5432 -m conntrack --ctstate NEW",
                         "TPROXY --on-port 15003 --tproxy-mark 0x0/0x0"))),
    _same("limit-of-a-log", "a few captured connections are logged",
          first(Rule("", TO_OUT, "-m limit --limit 1/minute --limit-burst 2", "LOG"))),
    _same("forwarded-masqueraded", "packets of an interface that no pod has are masqueraded",
          first(Rule("", "POSTROUTING", "-o tun9", "MASQUERADE"))),
    _same("counted-at-every-hook", "another table counts the packets of every hook",
          load=_table("counters", *(
              f"chain {hook} {{ type filter hook {hook} priority -170; counter; }}"
              for hook in ("prerouting", "input", "output", "postrouting")
          ))),
    _same("answers-accepted-first", "another table accepts answers and open connections first",
          load=_table("quick", "chain output { type filter hook output priority -150;"
                      " ct direction reply accept; ct state established accept; }")),
    _same("policy-drop-with-accept", "a chain drops what it does not accept, and accepts all",
          load=_table("strict", "chain output { type filter hook output priority -150;"
                      " policy drop; meta l4proto tcp accept; accept; }")),
    _same("addresses-counted", "another table counts the addresses that are dialled",
          load=_table("counting", "set dialled { type ipv4_addr; size 999; flags dynamic; }",
                      "chain output { type filter hook output priority -150;"
                      " update @dialled { ip daddr limit rate 1/hour } counter; }")),
    _same("segment-size-clamped", "connections of the sidecar get another segment size",
          load=_table("clamp", "chain output { type filter hook postrouting priority -150;"
                      " meta skuid 1500 tcp flags syn tcp option maxseg size set 536; }"),
          why="the document says nothing about the size of segments"),
    _same("options-stripped", "the sidecar's connections lose the option for timestamps",
          first(_mangled("OUTPUT", "-p tcp --syn -m owner --uid-owner 1500",
                         "TCPOPTSTRIP --strip-options timestamp")),
          why="the document says nothing about the options of a segment"),
    _same("class-by-port", "TCP to one port gets a service class as it leaves",
          first(_mangled("POSTROUTING", "-p tcp --dport 5432", "DSCP --set-dscp 0x08")),
          why="the document says nothing about the service class of TCP"),
    _same("rule-of-an-own-mark", "packets with a mark use another table with the same routes",
          load=followed_by(_IN_BOTH.format(
              "$ip rule del fwmark 0x6600 lookup 166 2>/dev/null;"
              " $ip rule add fwmark 0x6600 lookup 166;"
              " $ip route show table main |"
              " while read -r route; do $ip route replace $route table 166; done"))),
    _same("default-route-looked-up-last", "the main table is looked up twice, the default last",
          load=followed_by(_IN_BOTH.format(
              "$ip rule del lookup main suppress_prefixlength 0 2>/dev/null;"
              " $ip rule add lookup main suppress_prefixlength 0 pref 90"))),
    _same("captured-to-be-on-lo-dropped", "captured packets on lo are dropped, which none is yet",
          first(Rule("", "OUTPUT", "-o lo -p tcp --dport 15001 -m conntrack --ctstate DNAT", "DROP",
                     table="filter")),
          why="all of OUTPUT asks for the interface of the first route (nf_hook, linux/netfilter.h)"
          ),
    _same("natively", "the rules are those of nft, without iptables", load=Natively()),
    _same("natively-by-map", "a verdict map lets all but TCP pass",
          load=Natively(dispatch="meta l4proto vmap { tcp : continue, 0-5 : return,"
                                 " 7-255 : return }")),
)  # fmt: skip

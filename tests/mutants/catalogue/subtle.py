"""Exemptions and losses by two conditions at once, by marks of connections, sets and routes."""

from __future__ import annotations

from functools import partial

from tests.mutants.changes import Change, before, first, in_turn
from tests.mutants.correct import IN, OUT, Tag
from tests.mutants.loading import followed_by, preceded_by
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule

_BOTH = "for ip in 'ip -4' 'ip -6'; do {0}; done"


_CAPTURES = {"out": (Tag.CAPTURE_OUT, OUT), "in": (Tag.CAPTURE_IN, IN)}


def _exempt(way: str, name: str, what: str, words: str) -> Mutant:
    tag, chain = _CAPTURES[way]
    return Mutant(
        name=f"subtly-{way}-{name}",
        what=f"{way}bound TCP is exempt {what}",
        source="B41: an exemption of two conditions",
        rules=before(tag, Rule("", chain, words)),
    )


_spared, _opened = partial(_exempt, "out"), partial(_exempt, "in")


def _marked(name: str, what: str, *changes: Change) -> Mutant:
    return Mutant(
        name=name, what=what, source="B59: a mark of another mesh", rules=in_turn(*changes)
    )


def _harmed(name: str, what: str, *harm: Rule) -> Mutant:
    return Mutant(name=name, what=what, source="B70: a rule of another program", rules=first(*harm))


def _routed(name: str, what: str, script: str) -> Mutant:
    return Mutant(
        name=name, what=what, source="B70: a route that outlives its purpose",
        load=followed_by(_BOTH.format(script)),
    )  # fmt: skip


MUTANTS = (
    _spared("user-to-port", "to one port for one user",
            "-p tcp --dport 5432 -m owner --uid-owner 999"),
    _spared("port-pair", "from one port to the same one", "-p tcp --sport 5432 --dport 5432"),
    _spared("class-to-port", "of one class to some ports",
            "-p tcp --dport 60000: -m dscp --dscp 0x0a"),
    _spared("group-from-ports", "of one group from some ports",
            "-p tcp --sport 41000:41010 -m owner --gid-owner 4321"),
    _spared("mark-of-user", "with one mark for one user",
            "-m mark --mark 0x55 -m owner --uid-owner 999"),
    _spared("either-port", "if one of its ports is 5432", "-p tcp -m multiport --ports 5432"),
    _spared("after-bytes", "by bytes", "-m connbytes --connbytes 0:100 --connbytes-dir original"
            " --connbytes-mode bytes -p tcp --dport 5432"),
    _spared("original-range", "to a range of original ports",
            "-p tcp -m conntrack --ctorigdstport 5432:5440"),
    _spared("interface-type", "to addresses that are local to no interface",
            "-p tcp --dport 5432 -m addrtype --dst-type UNICAST --limit-iface-out"),
    _spared("supplementary-group", "of a group that is any group of its user",
            "-m owner --gid-owner 4321 --suppl-groups"),
    _spared("answers-port", "from one port, told by its answers",
            "-p tcp -m conntrack --ctrepldstport 40404"),
    _opened("low-to-high", "from low ports to high ones", "-p tcp --sport 1:1023 --dport 60000:"),
    _opened("class-from-range", "of one class from a range",
            "-p tcp --sport 40000:50000 -m dscp --dscp 0x2e"),
    _opened("length-to-port", "of one length to one port",
            "-p tcp --dport 5432 -m length --length 60:80"),
    _opened("ecn-to-port", "with a flag to one port", "-p tcp --dport 5432 -m ecn --ecn-tcp-cwr"),
    _opened("expired-source", "from one source port by a string",
            "-p tcp --sport 54321 -m u32 --u32 0>>28=4:6"),
    _marked("subtly-out-by-connection-mark",
            "outbound TCP to one port is exempt by the mark of its connection",
            first(Rule("", "OUTPUT", "-p tcp --dport 5432", "CONNMARK --set-mark 7",
                       table="mangle")),
            before(Tag.CAPTURE_OUT, Rule("", OUT, "-m connmark --mark 7"))),
    _marked("subtly-in-by-restored-mark",
            "inbound TCP from low ports is exempt by a mark that is saved and restored",
            first(
                Rule("", "PREROUTING", "-p tcp --sport 1:1023", "MARK --set-xmark 0x100/0x100",
                     table="mangle"),
                Rule("", "PREROUTING", "-p tcp", "CONNMARK --save-mark", table="mangle"),
                Rule("", "PREROUTING", "-p tcp", "MARK --set-xmark 0x0/0xffffffff", table="mangle"),
                Rule("", "PREROUTING", "-p tcp", "CONNMARK --restore-mark", table="mangle"),
            ),
            before(Tag.CAPTURE_IN, Rule("", IN, "-m mark --mark 0x100/0x100"))),
    _marked("subtly-out-at-second-call",
            "a chain that is called twice exempts at its second call what it marks at its first",
            before(
                Tag.CAPTURE_OUT,
                Rule("", OUT, "", "MESH_TWICE"),
                Rule("", OUT, "", "MESH_TWICE"),
                Rule("", "MESH_TWICE", "-m mark --mark 0x100/0x100", "ACCEPT"),
                Rule("", "MESH_TWICE", "-p tcp --dport 5432", "MARK --set-xmark 0x100/0x100"),
            )),
    Mutant(
        name="subtly-out-by-goto",
        what="a chain returns to the caller of the chain that goes to it",
        source="B41: -g in place of -j",
        rules=before(
            Tag.CAPTURE_OUT,
            Rule("", OUT, "-p tcp --dport 5432", "-g MESH_NOTHING"),
            Rule("", "MESH_NOTHING", "-p udp", "RETURN"),
        ),
    ),
    _harmed("later-flags-dropped", "segments that end a connection are dropped on one port",
            Rule("", "OUTPUT", "-p tcp --dport 5432 --tcp-flags FIN,ACK FIN,ACK", "DROP",
                 table="mangle")),
    _harmed("answers-dropped-on-one-port", "answers of the pod to one client port are dropped",
            Rule("", "OUTPUT", "-p tcp --dport 54321 -m conntrack --ctdir REPLY", "DROP",
                 table="filter")),
    _harmed("long-answers-dropped", "long answers of the sidecar are dropped",
            Rule("", "OUTPUT", "-p tcp --sport 15003 -m length --length 900:65535", "DROP",
                 table="filter")),
    _harmed("answers-of-server-dropped", "answers of one port of servers are dropped",
            Rule("", "INPUT", "-i eth0 -p tcp --sport 5432 -m conntrack --ctstate ESTABLISHED",
                 "DROP", table="filter")),
    _harmed("captured-dropped-as-martian", "what NAT sends to lo is dropped, as not on lo",
            Rule("", "OUTPUT", "! -o lo -p tcp -m conntrack --ctstate DNAT", "DROP",
                 table="filter")),
    _harmed("zone-for-answers", "answers to one port are looked for in another zone",
            Rule("", "OUTPUT", "-p tcp --dport 5432", "CT --zone-reply 7", table="raw")),
    _harmed("zone-for-everything",
            "every connection has a zone in which the sidecar does not look for it",
            Rule("", "OUTPUT", "", "CT --zone 7", table="raw"),
            Rule("", "PREROUTING", "", "CT --zone 7", table="raw")),
    _harmed("zone-for-port", "one port has a zone of its own",
            Rule("", "OUTPUT", "-p tcp --dport 5432", "CT --zone 7", table="raw")),
    _harmed("handed-over-to-outbound", "TPROXY hands inbound TCP of one port to the wrong listener",
            Rule("", "PREROUTING", "-i eth0 -p tcp --dport 5432", "TPROXY --on-port 15001",
                 table="mangle")),
    _routed("port-without-route", "a routing rule prohibits TCP to one port",
            "$ip rule del ipproto tcp dport 5432 prohibit 2>/dev/null;"
            " $ip rule add ipproto tcp dport 5432 prohibit"),
    _routed("mark-without-default-route", "a mark of applications has no default route",
            "$ip rule del fwmark 0x99 lookup main suppress_prefixlength 0 2>/dev/null;"
            " $ip rule add fwmark 0x99 lookup main suppress_prefixlength 0 pref 90;"
            " $ip rule del fwmark 0x99 unreachable 2>/dev/null;"
            " $ip rule add fwmark 0x99 unreachable pref 91"),
    Mutant(
        name="marked-by-port-routed-away",
        what="a mark that a rule sets for one port leads to a table without routes",
        source="B70: a route that outlives its purpose",
        rules=first(Rule("", "OUTPUT", "-p tcp --dport 5432", "MARK --set-mark 0x66",
                         table="mangle")),
        load=preceded_by(_BOTH.format(
            "$ip rule del fwmark 0x66 lookup 166 2>/dev/null; $ip rule add fwmark 0x66 lookup 166;"
            " $ip route replace blackhole default table 166")),
    ),
)  # fmt: skip

"""Wrong ways to load rules: half, twice, late, over foreign rules, or with hidden failures."""

from __future__ import annotations

import shlex
import sys

from tests.mutants import loading
from tests.mutants.changes import first, last
from tests.mutants.correct import IN, OUT
from tests.mutants.loading import followed_by, preceded_by, without_status
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule


def _half(text: str) -> str:
    """Keep the first half of a table's lines."""
    head, *lines = text.removesuffix("COMMIT\n").splitlines()
    return "\n".join([head, *lines[: len(lines) // 2], "COMMIT", ""])


def _without_last(text: str) -> str:
    """Drop the last line of the first table, which is nat."""
    lines = text.splitlines()
    del lines[lines.index("COMMIT") - 1]
    return "\n".join([*lines, ""])


def _each(command: str) -> str:
    """Run an iptables command for both families."""
    return f"iptables {command} && ip6tables {command}"


_FLUSH = """
import socket, struct
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as sock:
    sock.send(struct.pack("=IHHII4x", 20, 0x102, 5, 1, 0))
    status = struct.unpack_from("=i", sock.recv(4096), 16)[0]
raise SystemExit(-status)
"""
"""Deletes every tracked flow, as ``conntrack -F`` does: IPCTNL_MSG_CT_DELETE without attributes
(linux/netfilter/nfnetlink_conntrack.h), with an acknowledgement."""


def _after(name: str, what: str, source: str, *scripts: str, privileged: bool = False) -> Mutant:
    return Mutant(
        name=name, what=what, source=source, load=followed_by(*scripts), privileged=privileged
    )


def _before(name: str, what: str, source: str, *scripts: str) -> Mutant:
    return Mutant(name=name, what=what, source=source, load=preceded_by(*scripts))


MUTANTS = (
    Mutant(
        name="half-the-lines",
        what="the first half of the rules, loaded as if it were all",
        source="B18: linkerd/linkerd2 9267, proxy-init PR 164",
        text=_half,
    ),
    Mutant(
        name="last-line-lost",
        what="the last rule of nat is lost: no jump from OUTPUT",
        source="B02: istio/istio PR 59544, a cut buffer",
        text=_without_last,
    ),
    Mutant(
        name="second-run-fails",
        what="a second run fails, because the chains exist",
        source="B17: linkerd/linkerd2 5786, 3563; istio/istio 42792",
        load=loading.only_creating,
    ),
    Mutant(
        name="second-run-does-nothing",
        what="a second run leaves the rules of the first one",
        source="B18: linkerd/linkerd2 13171; B45: istio/istio 56587",
        load=loading.unless_there,
    ),
    Mutant(
        name="second-run-appends",
        what="a second run appends its rules to those of the first one",
        source="B19: metalbear-co/mirrord 3006",
        load=loading.appending,
    ),
    Mutant(
        name="second-run-keeps-inbound",
        what="a second run does not empty the inbound chain",
        source="B18: linkerd/linkerd2 9267",
        load=loading.without_flushing(IN),
    ),
    Mutant(
        name="second-run-keeps-outbound",
        what="a second run does not empty the outbound chain",
        source="B18: linkerd/linkerd2 9267",
        load=loading.without_flushing(OUT),
    ),
    Mutant(
        name="second-run-takes-away",
        what="a second run removes what the first one added",
        source="B50: kumahq/kuma 8071; one program to install and to clean up",
        load=loading.toggling,
    ),
    Mutant(
        name="second-run-empties-nat",
        what="a second run flushes the nat table, including foreign rules",
        source="B50: kumahq/kuma 6093",
        load=loading.flushing_when_there,
    ),
    Mutant(
        name="second-family-if-it-can",
        what="IPv6 is programmed if it happens to work",
        source="B32: istio/istio 37410",
        load=loading.second_family_if_it_can,
    ),
    Mutant(
        name="only-with-a-sidecar",
        what="nothing is programmed unless the sidecar listens already",
        source="B43: istio/istio 16067",
        load=loading.unless("! ss -ltnH 'sport = :15001' | grep -q ."),
    ),
    Mutant(
        name="done-when-other-variant-holds-rules",
        what="rules in the other variant count as its own: nothing is programmed",
        source="B15: metalbear-co/mirrord 2272; B12: istio/istio 15519",
        load=loading.unless(
            '[ "$FSM_IPTABLES" = nft ] && other=legacy || other=nft;'
            " iptables-$other-save 2>/dev/null | grep -q ^-A"
        ),
    ),
    Mutant(
        name="done-when-lock-is-held",
        what="a held lock counts as another run for the pod: nothing is programmed",
        source="B20: istio/istio 10818",
        load=loading.unless('! flock -n "$XTABLES_LOCKFILE" true'),
    ),
    Mutant(
        name="needs-more-capabilities",
        what="the init command has to change a file's owner",
        source="B16: kumahq/kuma 8412",
        load=preceded_by("touch file && chown 1000:1000 file"),
    ),
    Mutant(
        name="one-command-a-line",
        what="each rule is a separate command: a failure leaves half of them",
        source="B18: linkerd/linkerd2 9267; the seed's ancestor OSM 0.7",
        load=loading.one_by_one,
    ),
    Mutant(
        name="failures-hidden",
        what="exit status 0 whatever the programs return",
        source="B14: linkerd/linkerd2 8732, openservicemesh/osm 4609",
        load=without_status(loading.install),
    ),
    Mutant(
        name="failures-of-commands-hidden",
        what="each rule is a separate command, and exit statuses are ignored",
        source="B12: istio/istio 15519",
        load=without_status(loading.one_by_one),
    ),
    Mutant(
        name="lock-not-waited-for",
        what="a held lock makes the programs fail, which is hidden",
        source="B20: istio/cni 23, linkerd/linkerd2 2970",
        load=loading.impatient,
    ),
    Mutant(
        name="programmed-in-background",
        what="the init command ends before its work is done",
        source="B43: linkerd/linkerd2 4788",
        load=loading.in_background,
    ),
    Mutant(
        name="restored-over-all",
        what="iptables-restore without --noflush: foreign rules are gone",
        source="B50: kumahq/kuma 8071",
        load=loading.flushing,
    ),
    _before(
        "nat-flushed-first",
        "the nat table is emptied first",
        "B50: kumahq/kuma 6093",
        _each("-t nat -F"),
    ),
    _before(
        "filter-flushed-first",
        "the filter table is emptied first",
        "B50: kumahq/kuma PR 10890",
        _each("-F"),
    ),
    _before(
        "mangle-flushed-first",
        "the mangle table is emptied first",
        "B50: kumahq/kuma PR 10890",
        _each("-t mangle -F"),
    ),
    _before(
        "raw-flushed-first",
        "the raw table is emptied first",
        "B50: kumahq/kuma PR 10890",
        _each("-t raw -F"),
    ),
    _before(
        "everything-flushed-first",
        "all tables are emptied and foreign chains deleted",
        "B50",
        *(
            _each(f"-t {t} -F && ip6tables -t {t} -X && iptables -t {t} -X")
            for t in ("nat", "filter", "mangle", "raw")
        ),
    ),
    _after(
        "prerouting-flushed-after",
        "foreign rules of PREROUTING are removed",
        "B50: kumahq/kuma 8071",
        "iptables -t nat -F PREROUTING && iptables -t nat -A PREROUTING -p tcp -j MESH_IN",
        "ip6tables -t nat -F PREROUTING && ip6tables -t nat -A PREROUTING -p tcp -j MESH_IN",
    ),
    *(
        _after(
            f"{table}-{chain.lower()}-emptied-after",
            f"foreign rules of {chain} in the table {table} are removed",
            "B50: kumahq/kuma 8071",
            _each(f"-t {table} -F {chain}"),
        )
        for table, chain in (
            ("nat", "INPUT"),
            ("nat", "POSTROUTING"),
            ("raw", "PREROUTING"),
            ("mangle", "PREROUTING"),
            ("mangle", "INPUT"),
            ("mangle", "FORWARD"),
            ("mangle", "POSTROUTING"),
            ("filter", "FORWARD"),
        )
    ),
    *(
        _after(
            f"policy-of-{chain.lower()}-reset",
            f"the policy of {chain} is set to ACCEPT",
            "B50: kumahq/kuma PR 10890",
            _each(f"-P {chain} ACCEPT"),
        )
        for chain in ("INPUT", "FORWARD", "OUTPUT")
    ),
    _after(
        "tables-of-nftables-deleted",
        "tables of nftables that iptables does not know are deleted",
        "B15: metalbear-co/mirrord 2272; a clean-up of leftovers of an earlier release",
        "nft list tables 2>/dev/null | grep inet | while read each; do nft delete $each; done",
    ),
    Mutant(
        name="marks-overwritten",
        what="all TCP of the pod gets a mark, which replaces its own",
        source="B51: istio/istio 1428; the mark of its TPROXY mode",
        rules=last(
            Rule("", "OUTPUT", "-p tcp", "MARK --set-mark 0x539", table="mangle"),
            Rule("", "PREROUTING", "-p tcp", "MARK --set-mark 0x539", table="mangle"),
        ),
    ),
    _before(
        "sidecar-accepted-before-others",
        "what the sidecar sends is accepted before foreign filter rules",
        "B51: istio/istio 1428",
        _each("-I OUTPUT -m owner --uid-owner 1500 -j ACCEPT"),
    ),
    _before(
        "captured-accepted-before-others",
        "what is captured inbound is accepted before foreign filter rules",
        "B51: istio/istio 1428",
        _each("-I INPUT -p tcp --dport 15003 -j ACCEPT"),
    ),
    Mutant(
        name="others-never-reached",
        what="exempt packets are accepted: foreign rules never see them",
        source="B51: istio/istio 1428",
        rules=last(
            Rule("", OUT, "", "ACCEPT"),
            Rule("", "PREROUTING", "-p tcp", "ACCEPT"),
            Rule("", "OUTPUT", "-p tcp", "ACCEPT"),
        ),
    ),
    Mutant(
        name="forwarded-dropped",
        what="what the pod forwards is dropped",
        source="B54: linkerd/linkerd2-proxy-init PR 53",
        rules=last(Rule("", "FORWARD", "", "DROP", table="filter")),
    ),
    _after(
        "conntrack-flushed",
        "connection tracking forgets every open flow",
        "B42: istio/istio 35157",
        f"{shlex.quote(sys.executable)} -I -S -c {shlex.quote(_FLUSH)}",
    ),
    _after(
        "open-flows-reset",
        "open flows are reset",
        "B42: istio/istio 35157",
        "ss -K 2>/dev/null >/dev/null; true",
    ),
    _after(
        "link-taken-down",
        "the pod's link is down for a moment: its routes are gone",
        "B41: istio/istio 55139",
        "ip link set eth0 down && ip link set eth0 up",
    ),
    _after(
        "default-route-lost",
        "a clean-up of routes takes the default route",
        "B41: Azure/azure-workload-identity 1050",
        "ip route del default; ip -6 route del default; true",
    ),
    _after(
        "mtu-lowered",
        "the interface's MTU is 1000",
        "B52: projectcalico/calico 7120",
        "ip link set eth0 mtu 1300",
    ),
    _after(
        "reverse-path-strict",
        "strict reverse path filtering: a second interface loses packets",
        "B40: istio/istio 7182",
        "cd /proc/sys/net/ipv4/conf;"
        " for f in all eth0 net1; do [ ! -e $f ] || echo 1 >$f/rp_filter; done",
        privileged=True,
    ),
    _after(
        "ephemeral-ports-few",
        "the pod has 3 ephemeral ports",
        "B38: istio/istio 51210",
        "echo 40000 40002 >/proc/sys/net/ipv4/ip_local_port_range",
        privileged=True,
    ),
    _after(
        "conntrack-table-small",
        "the table of connections holds 16 entries",
        "B38: catalogue CT-008",
        "echo 16 >/proc/sys/net/netfilter/nf_conntrack_max",
        privileged=True,
    ),
    _after(
        "setting-written-without-privileges",
        "route_localnet is switched on, which an unprivileged init container may not",
        "issue 12: an implementation that dies in every pod",
        "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet",
    ),
    _after(
        "namespace-entered-without-privileges",
        "the rules are loaded through nsenter, which an unprivileged init container may not run",
        "issue 12: what containerd's default seccomp profile denies",
        "nsenter --net=/proc/self/ns/net true",
    ),
    Mutant(
        name="rules-inbound-only-after-restart",
        what="only the first connection of a pod is captured",
        source="B42: istio/istio 35157",
        rules=first(
            Rule("", IN, "-m recent --name seen --rcheck"),
            Rule("", IN, "-m recent --name seen --set", "MESH_TO_IN"),
        ),
    ),
)

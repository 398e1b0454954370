"""Packets lost outside the tables of iptables: by routes, addresses, and hooks of an interface."""

from __future__ import annotations

from tests.mutants.loading import followed_by
from tests.mutants.mutant import Mutant


def _dropping(hook: str) -> str:
    return (
        f'nft \'table netdev {hook} {{ chain all {{ type filter hook {hook} device "eth0"'
        " priority 0; udp dport 7777 drop; }; }'"
    )


MUTANTS = (
    Mutant(
        name="range-unreachable",
        what="a route makes a range of remote addresses unreachable",
        source="B70: a route that outlives its purpose",
        load=followed_by("ip route replace unreachable 198.51.100.128/25"),
    ),
    Mutant(
        name="user-without-route",
        what="a routing rule prohibits every packet of one user",
        source="B59: a user is set apart by policy routing",
        load=followed_by(
            "ip rule del uidrange 4242-4242 prohibit 2>/dev/null;"
            " ip rule add uidrange 4242-4242 prohibit"
        ),
    ),
    Mutant(
        name="remote-address-taken",
        what="a remote address is an address of the pod",
        source="B70: an address that outlives its purpose",
        load=followed_by("ip addr replace 203.0.113.9/32 dev lo"),
    ),
    Mutant(
        name="udp-dropped-at-ingress",
        what="a table of the interface drops UDP to one port before all other rules",
        source="B70: a filter that iptables-save does not show",
        load=followed_by(_dropping("ingress")),
    ),
    Mutant(
        name="udp-dropped-at-egress",
        what="a table of the interface drops UDP to one port after all other rules",
        source="B70: a filter that iptables-save does not show",
        load=followed_by(_dropping("egress")),
    ),
)

"""The reference rules without iptables: one table of nftables, loaded in one transaction.

Traffic that is not redirected gets ``return`` from a base chain, so that other chains at the same
hook still see the packet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Final

from pytest_fsmredir.errors import ConfigurationError
from pytest_fsmredir.implementations.base import Refused, Run
from pytest_fsmredir.implementations.reference.rules import (
    Family,
    SidecarPorts,
    reject_unsupported,
)
from pytest_fsmredir.model.policy import Network, Policy
from pytest_fsmredir.model.reserved import SERVED_PORTS

TABLE: Final = "inet fsmredir"

# The priorities of the iptables tables at these hooks (NF_IP_PRI_MANGLE, NF_IP_PRI_NAT_DST).
_CHAINS: Final = {
    "stray": "type filter hook input priority -150",
    "inbound": "type nat hook prerouting priority -100",
    "outbound": "type nat hook output priority -100",
}


def apply(policy: Policy, sidecar: SidecarPorts, families: Collection[Family], run: Run) -> None:
    """Replace the rules of some families with those of a policy.

    Raises:
        Refused: Nothing was changed.
    """
    try:
        text = transaction(policy, sidecar, families)
    except ConfigurationError as why:
        raise Refused(str(why)) from None
    _load(text, run)


def remove(run: Run) -> None:
    """Remove our table.

    Raises:
        Refused: The table could not be removed.
    """
    # The first line makes the second one succeed if there is no table.
    _load(f"add table {TABLE}\ndelete table {TABLE}\n", run)


def transaction(policy: Policy, sidecar: SidecarPorts, families: Collection[Family]) -> str:
    """Return input of ``nft -f`` that replaces our table with the rules of a policy.

    Existing chains stay, so that their order among other chains at the same hook does not change.

    Raises:
        ConfigurationError: These rules cannot honour the policy.
    """
    reject_unsupported(policy, sidecar)
    _reject_wildcards(policy)
    rules = {
        "stray": [
            "ct state != invalid return",
            'iifname "lo" return',
            *_left_alone_inbound(policy, families),
            "meta l4proto tcp drop",
        ],
        "inbound": [
            *_left_alone_inbound(policy, families),
            f"meta l4proto tcp redirect to :{sidecar.inbound_port}",
        ],
        "outbound": _outbound(policy, sidecar, families),
    }
    lines = [
        f"add table {TABLE}",
        *(f"add chain {TABLE} {name} {{ {hook}; }}" for name, hook in _CHAINS.items()),
        f"flush table {TABLE}",
        *(f"add rule {TABLE} {name} {rule}" for name in _CHAINS for rule in rules[name]),
        "",
    ]
    return "\n".join(lines)


def _reject_wildcards(policy: Policy) -> None:
    for name in policy.network_interface_exclusion_list:
        if "*" in name:
            raise ConfigurationError(
                f"interface name {name!r} can't be written in a rule without changing its meaning"
                " ('*' is a wildcard of nftables); name each interface in full"
            )


def _left_alone_inbound(policy: Policy, families: Collection[Family]) -> list[str]:
    ports = (*SERVED_PORTS, *policy.inbound_port_exclusion_list)
    return [
        *_other_families(families),
        *_interfaces("iifname", policy),
        *_ports(ports),
    ]


def _outbound(policy: Policy, sidecar: SidecarPorts, families: Collection[Family]) -> list[str]:
    to_outbound = f"meta l4proto tcp redirect to :{sidecar.outbound_port}"
    by_sidecar = f"meta skuid {sidecar.uid}"
    inclusions = policy.outbound_ip_range_inclusion_list
    return [
        *_other_families(families),
        f"ip daddr {Family.IPV4.loopback} return",
        f"ip6 daddr {Family.IPV6.loopback} return",
        # A packet to one of the pod's own addresses leaves by lo. If the sidecar sends it, it is a
        # call of the pod to itself through the mesh, and must pass the inbound listener.
        f'oifname "lo" {by_sidecar} meta l4proto tcp redirect to :{sidecar.inbound_port}',
        'oifname "lo" return',
        f"{by_sidecar} return",
        *_interfaces("oifname", policy),
        *_ranges(policy.outbound_ip_range_exclusion_list, "return"),
        *_ports(policy.outbound_port_exclusion_list),
        *(_ranges(inclusions, to_outbound) if inclusions else [to_outbound]),
    ]


def _other_families(families: Collection[Family]) -> list[str]:
    return [f"meta nfproto ipv{family.value} return" for family in Family if family not in families]


def _interfaces(key: str, policy: Policy) -> list[str]:
    names = [f'"{name}"' for name in dict.fromkeys(policy.network_interface_exclusion_list)]
    return [f"{key} {_set(names)} return"] if names else []


def _ports(ports: Sequence[int]) -> list[str]:
    return [f"tcp dport {_set(map(str, sorted(set(ports))))} return"] if ports else []


def _ranges(networks: Iterable[Network], verdict: str) -> list[str]:
    every = list(networks)
    # One set cannot hold ranges that overlap.
    sets: dict[str, list[str]] = {
        "ip": [str(n) for n in collapse_addresses(n for n in every if isinstance(n, IPv4Network))],
        "ip6": [str(n) for n in collapse_addresses(n for n in every if isinstance(n, IPv6Network))],
    }
    return [f"{word} daddr {_set(ranges)} {verdict}" for word, ranges in sets.items() if ranges]


def _set(members: Iterable[str]) -> str:
    return f"{{ {', '.join(members)} }}"


def _load(text: str, run: Run) -> None:
    ended = run(["nft", "-f", "-"], text)
    if ended.status != 0:
        raise Refused(f"nft {ended.failure}")

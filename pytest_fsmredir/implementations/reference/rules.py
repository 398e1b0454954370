"""The reference rules as text: input for ``iptables-restore --noflush``. Pure; runs nothing.

Traffic that is not redirected gets RETURN, never ACCEPT, so that later rules in the same hook still
see the packet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from pytest_fsmredir.errors import ConfigurationError
from pytest_fsmredir.model.policy import Network, Policy
from pytest_fsmredir.model.reserved import (
    ADMIN_PORT,
    INBOUND_PORT,
    OUTBOUND_PORT,
    SERVED_PORTS,
    SIDECAR_UID,
)

MULTIPORT_LIMIT: Final = 15
"""Ports that one ``multiport`` match can hold (XT_MULTI_PORTS, linux/netfilter/xt_multiport.h)."""

# The wildcard, the two quoting characters of iptables-restore that iptables-save does not escape,
# and the characters that would end the argument or the line.
_UNWRITABLE = re.compile(r'[+"\\\s\x00-\x1f\x7f]')


class Family(IntEnum):
    """An IP version; each has its own set of rules and its own programs."""

    IPV4 = 4
    IPV6 = 6

    @property
    def program(self) -> str:
        """The common prefix of the names of the family's programs."""
        return "iptables" if self is Family.IPV4 else "ip6tables"

    @property
    def loopback(self) -> str:
        """The range of addresses that never leave a host."""
        return "127.0.0.0/8" if self is Family.IPV4 else "::1/128"


class Table(StrEnum):
    """The tables with our rules, in the order of loading.

    A restore commits one table after the other. If it ends in between, ``mangle`` alone is
    harmless.
    """

    MANGLE = "mangle"
    NAT = "nat"


class Chain(StrEnum):
    """The chains of the reference."""

    INBOUND = "FSMREDIR_IN"
    OUTBOUND = "FSMREDIR_OUT"
    TO_INBOUND = "FSMREDIR_TO_INBOUND"
    TO_OUTBOUND = "FSMREDIR_TO_OUTBOUND"
    STRAY = "FSMREDIR_STRAY"


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarPorts:
    """The listeners of the sidecar, and the user id that owns its traffic."""

    uid: int = SIDECAR_UID
    inbound_port: int = INBOUND_PORT
    outbound_port: int = OUTBOUND_PORT


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All our rules in one table of one family, wanted or found.

    Attributes:
        chains: Names of our chains.
        rules: ``-A`` lines of those chains, in order.
        jumps: ``-A`` lines of other chains that jump into our chains, in order.
    """

    chains: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    jumps: tuple[str, ...] = ()


RuleSets = Mapping[Table, RuleSet]
"""All our rules in one family, wanted or found, by table; every table is present."""

NOTHING: Final[RuleSets] = {table: RuleSet() for table in Table}


def reject_unsupported(policy: Policy, sidecar: SidecarPorts) -> None:
    """Reject policies that the seed allows but that these rules cannot honour.

    Raises:
        ConfigurationError: The message names the value and the next step.
    """
    for name in policy.network_interface_exclusion_list:
        if _UNWRITABLE.search(name):
            raise ConfigurationError(
                f"interface name {name!r} can't be written in a rule without changing its meaning"
                " ('+' is iptables' wildcard); name each interface in full"
            )
    for port in (ADMIN_PORT, sidecar.outbound_port, sidecar.inbound_port):
        if port in policy.inbound_port_exclusion_list:
            raise ConfigurationError(
                f"inbound port {port} can't be excluded: it is the sidecar's own and must not be"
                " open to the network; remove it from the inbound port exclusion list"
            )


def rule_sets(policy: Policy, sidecar: SidecarPorts, family: Family) -> RuleSets:
    """Return the rules that implement the policy in one family of a pod."""
    return {Table.MANGLE: _dropping(policy), Table.NAT: _redirecting(policy, sidecar, family)}


def _dropping(policy: Policy) -> RuleSet:
    """Return the rules that drop stray segments of captured connections.

    Connection tracking marks a segment outside the window as INVALID and does not translate it. The
    segment would match no socket, and the kernel would answer with a reset that ends the connection
    (istio/istio 36489, kubernetes/kubernetes 74839). These rules do not drop traffic that bypasses
    the sidecar inbound, nor traffic that the pod forwards, which does not pass INPUT.
    """
    return RuleSet(
        chains=(Chain.STRAY,),
        rules=_appended(Chain.STRAY, ["-i lo -j RETURN", *_left_alone_inbound(policy), "-j DROP"]),
        jumps=(f"-A INPUT -p tcp -m conntrack --ctstate INVALID -j {Chain.STRAY}",),
    )


def _redirecting(policy: Policy, sidecar: SidecarPorts, family: Family) -> RuleSet:
    """Return the rules that redirect connections.

    The inbound rules need no exemption of ``lo``: NAT decides on those packets in OUTPUT, and
    PREROUTING does not ask it again.
    """
    to_inbound = f"-p tcp -j REDIRECT --to-ports {sidecar.inbound_port}"
    to_outbound = f"-p tcp -j REDIRECT --to-ports {sidecar.outbound_port}"
    return RuleSet(
        chains=(Chain.INBOUND, Chain.OUTBOUND, Chain.TO_INBOUND, Chain.TO_OUTBOUND),
        rules=(
            *_appended(Chain.TO_INBOUND, [to_inbound]),
            *_appended(Chain.TO_OUTBOUND, [to_outbound]),
            *_appended(Chain.INBOUND, [*_left_alone_inbound(policy), f"-j {Chain.TO_INBOUND}"]),
            *_appended(Chain.OUTBOUND, _outbound(policy, sidecar, family)),
        ),
        jumps=(
            f"-A PREROUTING -p tcp -j {Chain.INBOUND}",
            f"-A OUTPUT -p tcp -j {Chain.OUTBOUND}",
        ),
    )


def creation(wanted: RuleSets) -> str:
    """Return input that adds rule sets to a pod without our chains, and fails on any other pod.

    ``-N`` of an existing chain is an error, and a table is restored completely or not at all. So a
    fresh pod needs one program and no listing of the tables, and the attempt does not change a pod
    that was programmed before.
    """
    return "".join(
        _restored(table, [*(f"-N {chain}" for chain in own.chains), *own.rules, *own.jumps])
        for table, own in wanted.items()
    )


def transition(found: RuleSets, wanted: RuleSets) -> str:
    """Return input that turns our rule sets into others and changes nothing else.

    A correct jump stays, so that its position among foreign rules does not change. If ``wanted`` is
    ``NOTHING``, the input removes our rules.
    """
    return "".join(
        _restored(table, _steps(found[table], wanted[table]))
        for table in Table
        if found[table] != wanted[table]
    )


def _steps(found: RuleSet, wanted: RuleSet) -> list[str]:
    chains = dict.fromkeys((*found.chains, *wanted.chains))
    kept = {jump for jump in wanted.jumps if found.jumps.count(jump) == 1}
    return [
        *(f":{chain} - [0:0]" for chain in chains),  # flushes an existing chain
        *(f"-D{jump.removeprefix('-A')}" for jump in found.jumps if jump not in kept),
        *wanted.rules,
        *(jump for jump in wanted.jumps if jump not in kept),
        *(f"-X {chain}" for chain in chains if chain not in wanted.chains),
    ]


def read_back(listing: str) -> RuleSet:
    """Return our rules in an ``iptables-save`` listing of one table."""
    chains, rules, jumps = [], [], []
    for line in listing.splitlines():
        words = line.split()
        if line.startswith(":") and words[0][1:] in set(Chain):
            chains.append(words[0][1:])
        elif line.startswith("-A") and words[1] in set(Chain):
            rules.append(line)
        elif line.startswith("-A") and words[-2] in {"-j", "-g"} and words[-1] in set(Chain):
            jumps.append(line)
    return RuleSet(tuple(chains), tuple(rules), tuple(jumps))


def multiport_groups(ports: Iterable[int]) -> list[tuple[int, ...]]:
    """Split ports into groups for one ``multiport`` match each: same order, no duplicates."""
    unique = list(dict.fromkeys(ports))
    starts = range(0, len(unique), MULTIPORT_LIMIT)
    return [tuple(unique[start : start + MULTIPORT_LIMIT]) for start in starts]


def _left_alone_inbound(policy: Policy) -> list[str]:
    return [
        *_interfaces_left_alone("-i", policy),
        *_ports_left_alone((*SERVED_PORTS, *policy.inbound_port_exclusion_list)),
    ]


def _outbound(policy: Policy, sidecar: SidecarPorts, family: Family) -> list[str]:
    owned_by_sidecar = f"-m owner --uid-owner {sidecar.uid}"
    excluded = _of_family(policy.outbound_ip_range_exclusion_list, family)
    return [
        f"-d {family.loopback} -j RETURN",
        # A packet to one of the pod's own addresses leaves by lo. If the sidecar sends it, it is a
        # call of the pod to itself through the mesh, and must pass the inbound listener.
        f"-o lo {owned_by_sidecar} -j {Chain.TO_INBOUND}",
        "-o lo -j RETURN",
        f"{owned_by_sidecar} -j RETURN",
        *_interfaces_left_alone("-o", policy),
        *(f"-d {network} -j RETURN" for network in excluded),
        *_ports_left_alone(policy.outbound_port_exclusion_list),
        *_captured(policy.outbound_ip_range_inclusion_list, family),
    ]


def _captured(inclusions: Sequence[Network], family: Family) -> list[str]:
    # The inclusion list counts for both families: a pod that includes only IPv4 ranges includes no
    # IPv6 destination.
    if not inclusions:
        return [f"-j {Chain.TO_OUTBOUND}"]
    return [f"-d {network} -j {Chain.TO_OUTBOUND}" for network in _of_family(inclusions, family)]


def _interfaces_left_alone(option: str, policy: Policy) -> list[str]:
    return [f"{option} {name} -j RETURN" for name in policy.network_interface_exclusion_list]


def _ports_left_alone(ports: Iterable[int]) -> list[str]:
    return [
        f"-p tcp -m multiport --dports {','.join(map(str, group))} -j RETURN"
        for group in multiport_groups(ports)
    ]


def _of_family(networks: Iterable[Network], family: Family) -> list[Network]:
    return [network for network in networks if network.version == family]


def _appended(chain: Chain, bodies: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"-A {chain} {body}" for body in bodies)


def _restored(table: Table, lines: Iterable[str]) -> str:
    return "\n".join([f"*{table}", *lines, "COMMIT", ""])

"""A correct rule set as data, in a common layout. Every mutant is a change to it.

The layout is that of FSM's rules (and of OSM's before them). It adds what they lack: IPv6, any
number of ports, the whole of 127.0.0.0/8. It shares no text with the built-in reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_fsmredir.model.policy import Network, Policy
from tests.mutants.rules import Rule, Rules

IN, OUT, TO_IN, TO_OUT = "MESH_IN", "MESH_OUT", "MESH_TO_IN", "MESH_TO_OUT"
RESERVED_PORTS = (15010, 15901, 15902, 15903, 15904)
NEVER_OPEN = (15000, 15001, 15003)
SLOTS = 15
"""Maximum number of ports in one multiport match."""


class Tag:
    """The purpose of a rule."""

    HOOK_IN = "inbound TCP enters our chain"
    HOOK_OUT = "outbound TCP enters our chain"
    REDIRECT_IN = "to the sidecar's inbound listener"
    REDIRECT_OUT = "to the sidecar's outbound listener"
    INTERFACE_IN = "an excluded interface, inbound"
    RESERVED = "a port that answers for itself"
    PORT_IN = "excluded inbound ports"
    CAPTURE_IN = "everything else inbound"
    HAIRPIN = "the sidecar calls its own pod"
    LOCAL = "an application stays inside the pod"
    SIDECAR = "the sidecar's own traffic"
    LOOPBACK = "loopback destinations"
    INTERFACE_OUT = "an excluded interface, outbound"
    RANGE = "an excluded range"
    PORT_OUT = "excluded outbound ports"
    INCLUDED = "an included range"
    CAPTURE_OUT = "everything else outbound"
    STRAY = "segments that belong to no connection"


@dataclass(frozen=True, slots=True)
class Case:
    """The input for a rule set.

    Attributes:
        policy: The pod's policy.
        family: IP version of the rule set.
        addresses: The pod's addresses of that version, primary first.
    """

    policy: Policy
    family: int
    addresses: tuple[str, ...]

    @property
    def loopback(self) -> str:
        """The loopback range of the family."""
        return "127.0.0.0/8" if self.family == 4 else "::1/128"


def correct(case: Case) -> Rules:
    """Return the rules of one family of a pod."""
    return (*_redirects(), *_inbound(case), *_outbound(case), *_hooks())


def slots(ports: Sequence[int], limit: int = SLOTS) -> list[str]:
    """Split ports into lists that fit one multiport match."""
    return [
        ",".join(map(str, ports[start : start + limit])) for start in range(0, len(ports), limit)
    ]


def of_family(networks: Iterable[Network], family: int) -> list[Network]:
    """Return the ranges of one IP version."""
    return [network for network in networks if network.version == family]


def _hooks() -> Rules:
    return (
        Rule(Tag.HOOK_IN, "PREROUTING", "-p tcp", IN),
        Rule(Tag.HOOK_OUT, "OUTPUT", "-p tcp", OUT),
        # Untranslated, such a segment would get a reset as answer (B36, istio/istio PR 36566).
        Rule(
            Tag.STRAY, "PREROUTING", "-p tcp -m conntrack --ctstate INVALID", "DROP", table="mangle"
        ),
    )


def _redirects() -> Rules:
    return (
        Rule(Tag.REDIRECT_IN, TO_IN, "-p tcp", "REDIRECT --to-ports 15003"),
        Rule(Tag.REDIRECT_OUT, TO_OUT, "-p tcp", "REDIRECT --to-ports 15001"),
    )


def _inbound(case: Case) -> Rules:
    policy = case.policy
    # The sidecar's own ports stay closed whatever the list says.
    open_ports = [p for p in policy.inbound_port_exclusion_list if p not in NEVER_OPEN]
    return (
        *(
            Rule(Tag.INTERFACE_IN, IN, f"-i {name}")
            for name in policy.network_interface_exclusion_list
        ),
        *(Rule(Tag.RESERVED, IN, f"-p tcp --dport {port}") for port in RESERVED_PORTS),
        *(
            Rule(Tag.PORT_IN, IN, f"-p tcp -m multiport --dports {listed}")
            for listed in slots(open_ports)
        ),
        Rule(Tag.CAPTURE_IN, IN, "", TO_IN),
    )


def _outbound(case: Case) -> Rules:
    policy = case.policy
    return (
        Rule(Tag.HAIRPIN, OUT, f"-o lo ! -d {case.loopback} -m owner --uid-owner 1500", TO_IN),
        Rule(Tag.LOCAL, OUT, "-o lo -m owner ! --uid-owner 1500"),
        Rule(Tag.SIDECAR, OUT, "-m owner --uid-owner 1500"),
        Rule(Tag.LOOPBACK, OUT, f"-d {case.loopback}"),
        *(
            Rule(Tag.INTERFACE_OUT, OUT, f"-o {name}")
            for name in policy.network_interface_exclusion_list
        ),
        *(
            Rule(Tag.RANGE, OUT, f"-d {network}")
            for network in of_family(policy.outbound_ip_range_exclusion_list, case.family)
        ),
        *(
            Rule(Tag.PORT_OUT, OUT, f"-p tcp -m multiport --dports {listed}")
            for listed in slots(policy.outbound_port_exclusion_list)
        ),
        *_captured(policy.outbound_ip_range_inclusion_list, case.family),
    )


def _captured(inclusions: Sequence[Network], family: int) -> Rules:
    # Whether there is a list is decided by both families together.
    if not inclusions:
        return (Rule(Tag.CAPTURE_OUT, OUT, "", TO_OUT),)
    return (
        *(
            Rule(Tag.INCLUDED, OUT, f"-d {network}", TO_OUT)
            for network in of_family(inclusions, family)
        ),
        Rule(Tag.CAPTURE_OUT, OUT),
    )

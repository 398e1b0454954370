"""Choose flows at the boundaries of a policy: edges of ranges and neighbours of ports.

The flows depend only on the policy, so a shrunk policy still includes the failing flow.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import chain, cycle, islice, product
from typing import NamedTuple

from pytest_fsmredir.model.flow import Address, Direction, Flow, Protocol
from pytest_fsmredir.model.policy import Network, Policy
from pytest_fsmredir.model.reserved import (
    ADMIN_PORT,
    INBOUND_PORT,
    OUTBOUND_PORT,
    SERVED_PORTS,
    SIDECAR_UID,
)

APP_UIDS = (1000, 0, 1499, 1501)
SIDECARS_OWN_PORTS = (ADMIN_PORT, OUTBOUND_PORT, INBOUND_PORT)
RESERVED_PORTS = frozenset({*SIDECARS_OWN_PORTS, *SERVED_PORTS})

_CROSSED = 300  # combinations of address, port and user, in addition to each alone
_FEW = 3  # values of a list to try where the list must have no effect
_ORDINARY_PORTS = (8080, 8081, 9000, 9001, 20000, 20001, 30000, 30001)
_DNS_PORT = 53
_OTHER_PORTS = (
    1,
    _DNS_PORT,
    443,
    65535,
    *SIDECARS_OWN_PORTS,
)  # ordinary ports that a bug may treat as special
_OTHER_ADDRESSES = {4: "8.8.8.8", 6: "2606:4700::8"}

_Intervals = dict[int, list[tuple[int, int]]]


def _intervals(*ranges: str) -> _Intervals:
    """Return ranges as pairs of numbers by family: they compare faster than networks."""
    found: _Intervals = {4: [], 6: []}
    for network in map(ip_network, ranges):
        found[network.version].append((int(network[0]), int(network[-1])))
    return found


# The outside host answers for these addresses. It does not answer for 0.x, link-local, multicast
# and reserved addresses, for those of pods, or for what lies behind their interface net1.
ANSWERED = _intervals("0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3", "2000::/3", "fd00::/8")
NOT_ANSWERED = _intervals(
    "0.0.0.0/8", "10.64.0.0/11", "127.0.0.0/8", "169.254.0.0/16", "198.19.0.0/16",
    "2001:db8:ffff::/48", "fd77::/16",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTargets:
    """The possible sources and destinations of flows.

    Attributes:
        family: IP version of the flows.
        server: The address of a host outside.
        pod: The pod's primary address.
        loopback: The loopback address.
        silent: An outside address that answers nothing.
        second: The pod's address on its second interface; None when it has no such interface.
        beyond: A remote address that the second interface leads to.
        users: Further users of the application.
        interfaces: The names of the pod's first and second interface.
        answered: Ranges that the outside answers for, in addition to the server; None for every
            address.
    """

    family: int
    server: str
    pod: str
    loopback: str
    silent: str
    second: str | None = None
    beyond: str | None = None
    users: tuple[int, ...] = ()
    interfaces: tuple[str, str] = ("eth0", "net1")
    answered: tuple[Network, ...] | None = None


class ProbeFlow(NamedTuple):
    """A flow to send, and its source port; None lets the kernel choose."""

    flow: Flow
    source_port: int | None = None

    def __str__(self) -> str:
        source = "" if self.source_port is None else f" from port {self.source_port}"
        return f"{self.flow}{source}"


def probes(policy: Policy, scene: ProbeTargets) -> list[ProbeFlow]:
    """Return the flows to send under a policy, each once, the simplest of a kind first.

    Flows with a given source port come first: later ones make hosts listen, which keeps ports busy.
    """
    flows = [
        *_outbound(policy, scene),
        *_inbound(policy, scene),
        *_inside(policy, scene),
        *_datagrams(policy, scene),
    ]
    return list(dict.fromkeys([*_from_listed_ports(policy, scene), *map(ProbeFlow, flows)]))


def can_be_dialled(address: str) -> bool:
    """Whether a host outside the pod can answer for an address."""
    value = ip_address(address)
    return _within(value, ANSWERED) and not _within(value, NOT_ANSWERED)


def addresses_at(networks: Iterable[Network], family: int) -> list[str]:
    """Return the first and last address of each range of a family, and their outer neighbours."""
    found: dict[str, None] = {}
    highest = 2**32 - 1 if family == 4 else 2**128 - 1
    for network in networks:
        if network.version != family:
            continue
        first, last = int(network[0]), int(network[-1])
        for value in (first, last, first - 1, last + 1):
            if 0 <= value <= highest:
                found[str(type(network[0])(value))] = None
    return [address for address in found if can_be_dialled(address)]


def _within(address: IPv4Address | IPv6Address, intervals: _Intervals) -> bool:
    value = int(address)
    return any(first <= value <= last for first, last in intervals[address.version])


def ports_at(ports: Iterable[int]) -> list[int]:
    """Return each port and its neighbours."""
    listed = list(dict.fromkeys(ports))
    neighbours = [port + step for port in listed for step in (-1, 1) if 1 <= port + step <= 65535]
    return list(dict.fromkeys([*listed, *neighbours]))


def _outbound(policy: Policy, scene: ProbeTargets) -> Iterator[Flow]:
    addresses = [*outside_addresses(policy, scene), *_beyond(scene)]
    ports = [
        _ordinary_port(policy),
        *ports_at(policy.outbound_port_exclusion_list),
        *policy.inbound_port_exclusion_list[:_FEW],
        *_OTHER_PORTS,
    ]
    uids = tuple(dict.fromkeys((*APP_UIDS, *scene.users, SIDECAR_UID)))
    users = cycle(uids)
    for uid in uids:
        yield _from_pod(scene, addresses[0], ports[0], uid)
    for address in addresses:
        yield _from_pod(scene, address, ports[0], APP_UIDS[0])
    for port in ports:
        yield _from_pod(scene, addresses[0], port, APP_UIDS[0])
        yield _from_pod(scene, addresses[0], port, next(users))
    for address, port, uid in _crossed(addresses, ports, uids):
        yield _from_pod(scene, address, port, uid)


def _inbound(policy: Policy, scene: ProbeTargets) -> Iterator[Flow]:
    listed = ports_at((*policy.inbound_port_exclusion_list, *RESERVED_PORTS))
    foreign = policy.outbound_port_exclusion_list[:_FEW]
    for port in (_ordinary_port(policy), *listed, *foreign):
        for name, address in zip(scene.interfaces, (scene.pod, scene.second), strict=True):
            if address is not None and _has_meaning_inbound(policy, name, port):
                yield Flow(Direction.INBOUND, Address(address, port), interface=name)


def _has_meaning_inbound(policy: Policy, interface: str, port: int) -> bool:
    """Whether the specification decides the fate of an inbound flow.

    It leaves the sidecar's own ports on an excluded interface open.
    """
    excluded = interface in policy.network_interface_exclusion_list
    return not (excluded and port in SIDECARS_OWN_PORTS)


def _inside(policy: Policy, scene: ProbeTargets) -> Iterator[Flow]:
    """Yield flows inside the pod, except to reserved ports: no application listens there."""
    listed = (
        *policy.outbound_port_exclusion_list[:_FEW],
        *policy.inbound_port_exclusion_list[:_FEW],
    )
    for port in (_ordinary_port(policy), *listed):
        if port in RESERVED_PORTS:
            continue
        for uid in (APP_UIDS[0], 0, SIDECAR_UID):
            for address in (scene.pod, scene.loopback):
                yield Flow(Direction.OUTBOUND, Address(address, port), uid=uid)
        if scene.family == 4:  # SPEC-7.6 does not decide the sidecar's behaviour there
            yield Flow(Direction.OUTBOUND, Address("127.0.0.2", port), uid=APP_UIDS[0])


def _datagrams(policy: Policy, scene: ProbeTargets) -> Iterator[Flow]:
    outbound = (_DNS_PORT, OUTBOUND_PORT, *policy.outbound_port_exclusion_list[:1])
    addresses = outside_addresses(policy, scene)
    for address, port in zip(cycle(addresses[: len(outbound)]), outbound, strict=False):
        yield Flow(Direction.OUTBOUND, Address(address, port), Protocol.UDP, uid=APP_UIDS[0])
    for port in (_DNS_PORT, INBOUND_PORT, *policy.inbound_port_exclusion_list[:1]):
        yield Flow(Direction.INBOUND, Address(scene.pod, port), Protocol.UDP)


def _from_listed_ports(policy: Policy, scene: ProbeTargets) -> Iterator[ProbeFlow]:
    """Yield flows whose source port, not their destination port, is in a list."""
    port = _ordinary_port(policy)
    for listed in _free(policy.outbound_port_exclusion_list):
        yield ProbeFlow(_from_pod(scene, scene.server, port, APP_UIDS[0]), listed)
    for listed in _free(policy.inbound_port_exclusion_list):
        yield ProbeFlow(Flow(Direction.INBOUND, Address(scene.pod, port)), listed)


def _free(ports: Sequence[int]) -> Iterator[int]:
    return islice((port for port in ports if port not in RESERVED_PORTS), _FEW)


def _from_pod(scene: ProbeTargets, address: str, port: int, uid: int) -> Flow:
    interface = scene.interfaces[address == scene.beyond]
    return Flow(Direction.OUTBOUND, Address(address, port), uid=uid, interface=interface)


def outside_addresses(policy: Policy, scene: ProbeTargets) -> list[str]:
    """Return the server, and the outside addresses at the edges of a policy's ranges."""
    ranges = (
        *policy.outbound_ip_range_exclusion_list,
        *policy.outbound_ip_range_inclusion_list,
    )
    edges = addresses_at(ranges, scene.family)
    others = (scene.server, *edges, _OTHER_ADDRESSES[scene.family])
    named = dict.fromkeys(address for address in others if address != scene.silent)
    return [each for each in named if each == scene.server or _is_answered(each, scene)]


def _is_answered(address: str, scene: ProbeTargets) -> bool:
    ranges = scene.answered
    return ranges is None or any(ip_address(address) in each for each in ranges)


def _beyond(scene: ProbeTargets) -> tuple[str, ...]:
    return () if scene.beyond is None else (scene.beyond,)


def _ordinary_port(policy: Policy) -> int:
    """Return a port that is in no list, and whose neighbours are in none."""
    listed = {*policy.outbound_port_exclusion_list, *policy.inbound_port_exclusion_list}
    taken = listed | {port + step for port in listed for step in (-1, 1)}
    return next(port for port in chain(_ORDINARY_PORTS, range(40000, 65536)) if port not in taken)


def _crossed(
    addresses: Sequence[str], ports: Sequence[int], uids: Sequence[int]
) -> list[tuple[str, int, int]]:
    """Return every combination, or a fixed sample if there are many."""
    total = len(addresses) * len(ports) * len(uids)
    if total <= _CROSSED:
        return list(product(addresses, ports, uids))
    chosen = random.Random(0).sample(range(total), _CROSSED)  # noqa: S311 - no secret
    return [
        (
            addresses[number // (len(ports) * len(uids))],
            ports[number // len(uids) % len(ports)],
            uids[number % len(uids)],
        )
        for number in chosen
    ]

"""Set up links, addresses and routes of the outside world and the pods.

Each pod has a separate veth pair with a link-local gateway, so no two pods share a subnet. The
world accepts every address that no pod has, so that real addresses such as 1.1.1.1, 2.2.2.0/24
and 10.244.0.0/16 can be dialled: these namespaces have no other connection.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from pytest_fsmredir.backends.netns.namespace import Namespace, write_settings
from pytest_fsmredir.backends.netns.netlink import Netlink, NetlinkRequest
from pytest_fsmredir.backends.netns.readiness import Readiness
from pytest_fsmredir.backends.netns.routing import (
    LOCAL,
    add_address,
    add_blackhole,
    add_local_route,
    add_neighbour,
    add_route,
    add_route_via,
    add_rule,
    add_veth,
    delete_neighbour,
    delete_rule,
    set_up,
)
from pytest_fsmredir.model.reserved import GATEWAY
from pytest_fsmredir.traffic.tap import ETH_P_ALL

SERVER = {4: "198.51.100.10", 6: "2001:db8:5::10"}
CLIENT = {4: "203.0.113.20", 6: "2001:db8:c::20"}
SILENT = {4: "203.0.113.99", 6: "2001:db8:c::99"}
NODE = {4: "192.0.2.1", 6: "2001:db8:a::1"}
SECOND_INTERFACE = "net1"
BEHIND_SECOND_INTERFACE = {4: "198.19.0.0/16", 6: "2001:db8:ffff::/48"}

_SO_RCVBUFFORCE = 33  # linux/socket.h
_TAP_BUFFER = 64 * 1024 * 1024  # a limit, not an allocation: bulk transfers pass the taps, too

_LOOPBACK = 1  # its number in every namespace (LOOPBACK_IFINDEX, linux/net.h)
_OWN_TABLE, _LAST = 100, 40000  # of routes; priority of the rule that is asked last
_EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}

# Duplicate address detection and reverse path filters delay or drop the first packets of a new
# link; the kernel reads the values when a link is created. By default the kernel suppresses the
# seventh ICMP error in a row.
_QUIET = {
    # Both limits are of the types that it names (icmpv4_mask_allow, linux/net/ipv4/icmp.c).
    "ipv4/icmp_ratemask": "0",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
}
_QUIET_V6 = {
    "ipv6/icmp/ratelimit": "0",
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/default/router_solicitations": "0",
}
# A new namespace inherits the machine's IPv4 forwarding setting (devinet_init_net,
# linux/net/ipv4/devinet.c). A pod starts with it off, so that checks notice who turns it on.
_POD = _QUIET | {"ipv4/ip_forward": "0"}
_POD_V6 = _QUIET_V6 | {"ipv6/conf/all/forwarding": "0"}
_FORWARD = {"ipv4/ip_forward": "1"}
_FORWARD_V6 = {"ipv6/conf/all/forwarding": "1"}
_FOREIGN_BIND = _FORWARD | {"ipv4/ip_nonlocal_bind": "1"}
_FOREIGN_BIND_V6 = _FORWARD_V6 | {"ipv6/ip_nonlocal_bind": "1"}


@dataclass(frozen=True, slots=True)
class VethLink:
    """One veth pair between a pod and the world.

    Attributes:
        interface: Its name in the pod.
        outside: Its name in the world.
        addresses: The pod's addresses on it, primary first within each family.
        number: Makes its hardware addresses unique.
    """

    interface: str
    outside: str
    addresses: tuple[str, ...]
    number: int

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions of its addresses."""
        return tuple(sorted({family_of(address) for address in self.addresses}))

    def of(self, family: int) -> VethLink:
        """Return the link with only its addresses of one IP version."""
        own = tuple(each for each in self.addresses if family_of(each) == family)
        return replace(self, addresses=own)

    @property
    def pod_mac(self) -> str:
        """Hardware address of the pod's end."""
        return f"02:00:01:00:{self.number >> 8:02x}:{self.number & 255:02x}"

    @property
    def gateway_mac(self) -> str:
        """Hardware address of the world's end."""
        return f"02:00:02:00:{self.number >> 8:02x}:{self.number & 255:02x}"


def family_of(address: str) -> int:
    """Return the IP version of an address, 4 or 6."""
    return 6 if ":" in address else 4


def link_of(number: int, interface: str, families: tuple[int, ...], kind: int) -> VethLink:
    """Return link ``number`` with its fixed addresses.

    Args:
        number: 1-65535.
        interface: Its name in the pod.
        families: The IP versions of its addresses.
        kind: Selects the address block: 0 for primary links, others for further ones.
    """
    hosts = {
        4: f"10.{77 + kind}.{number >> 8}.{number & 255}",
        6: f"fd77:{kind + 1}::{number:x}",
    }
    outside = f"pod{number}" if kind == 0 else f"pod{number}x{kind}"
    return VethLink(interface, outside, tuple(hosts[family] for family in families), number + kind)


def wire_world(world: Namespace, families: tuple[int, ...]) -> None:
    """Configure a namespace as the world outside all pods."""
    world.sysctl(_QUIET | _FOREIGN_BIND | (_QUIET_V6 | _FOREIGN_BIND_V6 if 6 in families else {}))
    lo = world.netlink.index("lo")
    world.netlink.ask(set_up(lo))
    for family in families:
        world.netlink.ask(
            *(add_address(host[family], lo) for host in (SERVER, CLIENT, NODE)),
            add_blackhole(SILENT[family]),
            *_anywhere(family, lo),
        )


def wire_pod(pod: Namespace, world: Namespace, links: tuple[VethLink, ...]) -> None:
    """Create the links of a pod; its default routes use the first one."""
    settings = _POD | (_POD_V6 if 6 in links[0].families else {})
    addresses = [a for link in links for a in link.addresses if family_of(a) == 6]

    def inside() -> None:
        with closing(Netlink()) as netlink, closing(Readiness()) as readiness:
            # This sleeps until the kernel's lock of all links is free. A write to ip_forward does
            # not: it is tried again at once, without end (restart_syscall), if the lock is taken.
            netlink.ask(set_up(_LOOPBACK))
            write_settings(settings)
            for link in links:
                _wire_inside(link, netlink, world, with_default=link is links[0])
                world.netlink.ask(*_outside(link, world.netlink))
            readiness.wait([link.interface for link in links], addresses)

    pod.run(inside)


def wire_nested(nested: Namespace, pod: Namespace, world: Namespace, primary: VethLink) -> VethLink:
    """Connect a namespace to a pod that forwards for it, and return its link to the pod."""
    link = link_of(primary.number, "eth0", primary.families, kind=3)
    wire_pod(nested, pod, (link,))
    # REDIRECT of a packet needs an address on the incoming interface.
    bridge = link_of(primary.number, link.outside, primary.families, kind=4)
    with closing(pod.run(Readiness)) as readiness:
        index = pod.netlink.index(link.outside)
        pod.netlink.ask(*(add_address(host, index) for host in bridge.addresses))
        readiness.wait([], [host for host in bridge.addresses if family_of(host) == 6])
    pod.sysctl(_FORWARD | (_FORWARD_V6 if 6 in primary.families else {}))
    behind = replace(primary, addresses=link.addresses)
    world.netlink.ask(*_outside(behind, world.netlink))
    return link


def forget_gateway(pod: Namespace, link: VethLink, family: int) -> None:
    """Delete the gateway's neighbour entry, so that the pod has to resolve it."""
    index = pod.netlink.index(link.interface)
    pod.netlink.ask(delete_neighbour(GATEWAY[family], index))


def open_tap(world: Namespace, link: VethLink) -> socket.socket:
    """Return a packet socket that receives the packets on a pod's link."""

    def bound() -> socket.socket:
        # Without a protocol it receives no packets of other links before it is bound.
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
        with suppress(PermissionError):  # root of a user namespace is limited to net.core.rmem_max
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _TAP_BUFFER)
        sock.bind((link.outside, ETH_P_ALL))
        return sock

    return world.run(bound)


def _anywhere(family: int, lo: int) -> Iterator[NetlinkRequest]:
    """Yield the requests that make the outside accept any address that no pod has."""
    if family == 6:
        yield add_local_route(_EVERYTHING[6], lo, _OWN_TABLE)
        yield add_rule(6, _LAST, _OWN_TABLE)
        return
    # IPv4 sends from an address only if the table "local" contains it (__ip_dev_find in
    # net/ipv4/devinet.c), so the rule for that table comes after the routes to the pods.
    yield add_local_route(_EVERYTHING[4], lo, LOCAL)
    yield add_rule(4, _LAST, LOCAL)
    yield delete_rule(4, 0)


def _wire_inside(link: VethLink, netlink: Netlink, world: Namespace, *, with_default: bool) -> None:
    """Create a link, and configure the pod's end of it."""
    netlink.ask(
        add_veth(link.interface, link.pod_mac, link.outside, link.gateway_mac, world.descriptor)
    )
    index = netlink.index(link.interface)
    routes = _EVERYTHING if with_default else BEHIND_SECOND_INTERFACE
    netlink.ask(
        *(add_address(address, index) for address in link.addresses),
        set_up(index),
        # A new veth pair may drop neighbour solicitations for about a second.
        *(add_neighbour(GATEWAY[family], link.gateway_mac, index) for family in link.families),
        *(add_route_via(routes[family], GATEWAY[family], index) for family in link.families),
    )


def _outside(link: VethLink, netlink: Netlink) -> Iterator[NetlinkRequest]:
    """Yield the requests that configure the world's end of a link."""
    index = netlink.index(link.outside)
    yield set_up(index)
    if 6 in link.families:
        yield add_address(GATEWAY[6], index, prefix=64)
    for address in link.addresses:
        yield add_neighbour(address, link.pod_mac, index)
        yield add_route(address, index)

"""Links, addresses and routes: the world outside, and the pods in it.

Each pod hangs on its own veth pair behind a link-local gateway, so no two pods share a subnet. The
world accepts every address that is nobody else's, so that the seed's own literals (1.1.1.1,
2.2.2.0/24, 10.244.0.0/16) can really be dialled: these namespaces lead nowhere else.
"""

from __future__ import annotations

import os
import socket
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from pytest_fsmredir import procs
from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.backends.netns.programs import find
from pytest_fsmredir.backends.netns.readiness import Readiness
from pytest_fsmredir.traffic.tap import ETH_P_ALL

SERVER = {4: "198.51.100.10", 6: "2001:db8:5::10"}
CLIENT = {4: "203.0.113.20", 6: "2001:db8:c::20"}
SILENT = {4: "203.0.113.99", 6: "2001:db8:c::99"}
NODE = {4: "192.0.2.1", 6: "2001:db8:a::1"}
GATEWAY = {4: "169.254.1.1", 6: "fe80::1"}
BEHIND_SECOND_INTERFACE = {4: "198.19.0.0/16", 6: "2001:db8:ffff::/48"}

_ANYWHERE = {
    # IPv4 sends from an address only if the table "local" has it (__ip_dev_find in
    # net/ipv4/devinet.c), so that table comes after the routes to the pods.
    4: (
        "route add local default dev lo table local",
        "rule add pref 40000 lookup local",
        "rule del pref 0",
    ),
    6: ("route add local default dev lo table 100", "rule add pref 40000 lookup 100"),
}
_SO_RCVBUFFORCE = 33  # linux/socket.h
_TAP_BUFFER = 64 * 1024 * 1024  # a limit, not an allocation: bulk transfers pass the taps, too

_HOST_PREFIX = {4: 32, 6: 128}
_EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}

# Duplicate address detection and reverse path filters delay or drop the first packets of a fresh
# link; the values are read when a link is made. The seventh ICMP error in a row would be kept back.
_QUIET = {
    "ipv4/icmp_ratelimit": "0",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
}
_QUIET_V6 = {
    "ipv6/icmp/ratelimit": "0",
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/default/router_solicitations": "0",
}
_FORWARD = {"ipv4/ip_forward": "1"}
_FORWARD_V6 = {"ipv6/conf/all/forwarding": "1"}
_FOREIGN_BIND = _FORWARD | {"ipv4/ip_nonlocal_bind": "1"}
_FOREIGN_BIND_V6 = _FORWARD_V6 | {"ipv6/ip_nonlocal_bind": "1"}


@dataclass(frozen=True, slots=True)
class Link:
    """One veth pair between a pod and the world.

    Attributes:
        interface: Its name in the pod.
        outside: Its name in the world.
        addresses: The pod's addresses on it, primary first within each family.
        number: Distinguishes its hardware addresses from other links'.
    """

    interface: str
    outside: str
    addresses: tuple[str, ...]
    number: int

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions it has addresses of."""
        return tuple(sorted({family_of(address) for address in self.addresses}))

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


def link_of(number: int, interface: str, families: tuple[int, ...], kind: int) -> Link:
    """Return link ``number`` with its fixed addresses.

    Args:
        number: 1-65535.
        interface: Its name in the pod.
        families: The IP versions it gets addresses of.
        kind: Separates address blocks: 0 for primary links, others for further ones.
    """
    hosts = {
        4: f"10.{77 + kind}.{number >> 8}.{number & 255}",
        6: f"fd77:{kind + 1}::{number:x}",
    }
    outside = f"pod{number}" if kind == 0 else f"pod{number}x{kind}"
    return Link(interface, outside, tuple(hosts[family] for family in families), number + kind)


def wire_world(world: Namespace, families: tuple[int, ...]) -> None:
    """Make a namespace the world outside all pods."""
    world.sysctl(_QUIET | _FOREIGN_BIND | (_QUIET_V6 | _FOREIGN_BIND_V6 if 6 in families else {}))
    for family in families:
        lines = [
            "link set lo up",
            f"addr add {SERVER[family]}/{_HOST_PREFIX[family]} dev lo",
            f"addr add {CLIENT[family]}/{_HOST_PREFIX[family]} dev lo",
            f"addr add {NODE[family]}/{_HOST_PREFIX[family]} dev lo",
            f"route add blackhole {SILENT[family]}",
            *_ANYWHERE[family],
        ]
        _ip(world, lines, f"-{family}")  # a rule takes its family from nowhere else


def wire_pod(pod: Namespace, world: Namespace, links: tuple[Link, ...]) -> None:
    """Give a pod its links; the first one carries its default routes."""
    pod.sysctl(_QUIET | (_QUIET_V6 if 6 in links[0].families else {}))
    inside, outside = ["link set lo up"], []
    for link in links:
        inside += _inside(link, world, with_default=link is links[0])
        outside += _outside(link)
    addresses = [a for link in links for a in link.addresses if family_of(a) == 6]
    with closing(pod.run(Readiness)) as readiness:
        _ip(pod, inside)
        _ip(world, outside)
        readiness.wait([link.interface for link in links], addresses)


def wire_nested(nested: Namespace, pod: Namespace, world: Namespace, primary: Link) -> Link:
    """Put a namespace behind a pod that forwards for it, and return its link to the pod."""
    link = link_of(primary.number, "eth0", primary.families, kind=3)
    wire_pod(nested, pod, (link,))
    # A REDIRECT of what enters by an interface needs an address on it.
    bridge = link_of(primary.number, link.outside, primary.families, kind=4)
    with closing(pod.run(Readiness)) as readiness:
        _ip(pod, [_address(host, link.outside) for host in bridge.addresses])
        readiness.wait([], [host for host in bridge.addresses if family_of(host) == 6])
    pod.sysctl(_FORWARD | (_FORWARD_V6 if 6 in primary.families else {}))
    _ip(world, _outside(replace(primary, addresses=link.addresses)))
    return link


def forget_gateway(pod: Namespace, link: Link, family: int) -> None:
    """Have a pod ask for its gateway's hardware address instead of knowing it."""
    _ip(pod, [f"neigh del {GATEWAY[family]} dev {link.interface}"])


def open_tap(world: Namespace, link: Link) -> socket.socket:
    """Return a packet socket that sees what passes a pod's link."""

    def bound() -> socket.socket:
        # With no protocol at first it hears no other link, and has no bind to one to wait for.
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
        with suppress(PermissionError):  # root of a user namespace keeps to net.core.rmem_max
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _TAP_BUFFER)
        sock.bind((link.outside, ETH_P_ALL))
        return sock

    return world.run(bound)


def _inside(link: Link, world: Namespace, *, with_default: bool) -> list[str]:
    name = link.interface
    lines = [
        f"link add {name} address {link.pod_mac} type veth peer name {link.outside}"
        f" address {link.gateway_mac} netns /proc/{os.getpid()}/fd/{world.descriptor}",
    ]
    for address in link.addresses:
        lines.append(_address(address, name))
    lines.append(f"link set {name} up")
    for family in link.families:
        via = f"via {GATEWAY[family]} dev {name} onlink"
        target = _EVERYTHING[family] if with_default else BEHIND_SECOND_INTERFACE[family]
        # A fresh veth pair may drop neighbour solicitations for about a second.
        lines += [
            f"neigh add {GATEWAY[family]} lladdr {link.gateway_mac} dev {name} nud permanent",
            f"route add {target} {via}",
        ]
    return lines


def _address(address: str, interface: str) -> str:
    nodad = " nodad" if family_of(address) == 6 else ""
    return f"addr add {address}/{_HOST_PREFIX[family_of(address)]} dev {interface}{nodad}"


def _outside(link: Link) -> list[str]:
    lines = [f"link set {link.outside} up"]
    if 6 in link.families:
        lines.append(f"addr replace {GATEWAY[6]}/64 dev {link.outside} nodad")
    for address in link.addresses:
        lines += [
            f"neigh add {address} lladdr {link.pod_mac} dev {link.outside} nud permanent",
            f"route add {address} dev {link.outside}",
        ]
    return lines


def _ip(namespace: Namespace, lines: list[str], *options: str) -> None:
    argv = [find("ip", "install it: apt-get install iproute2"), *options, "-batch", "-"]
    namespace.run(lambda: procs.run(argv, stdin="\n".join(lines) + "\n"))

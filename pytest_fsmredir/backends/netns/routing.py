"""Netlink requests for links, addresses, routes, neighbours and routing rules.

Each function does the same as the ip(8) command in its request's text.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_network
from typing import Final

from pytest_fsmredir.backends.netns.netlink import IFLA_IFNAME, LINK, RTM_NEWLINK, NetlinkRequest
from pytest_fsmredir.traffic.netlink import CREATE, EXCLUSIVE, REPLACE, attribute, number
from pytest_fsmredir.traffic.sockets import address_family

MAIN: Final = 254  # linux/rtnetlink.h
LOCAL: Final = 255

_NEW = CREATE | EXCLUSIVE
_RTM_NEWADDR, _RTM_NEWROUTE, _RTM_NEWNEIGH, _RTM_DELNEIGH = 20, 24, 28, 29
_RTM_NEWRULE, _RTM_DELRULE = 32, 33

_IFF_UP = 1
_IFLA_ADDRESS, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 1, 18, 28  # linux/if_link.h
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1

_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix, flags, scope, index
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFA_F_NODAD = 2

_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_RTPROT_BOOT = 3
_UNIVERSE, _ON_LINK, _HOST = 0, 253, 254  # scopes
_UNICAST, _LOCAL_ROUTE, _BLACKHOLE = 1, 2, 6
_RTNH_F_ONLINK = 4

_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # struct ndmsg: family, index, state, flags, type
_NUD_PERMANENT = 0x80
_NDA_DST, _NDA_LLADDR = 1, 2

_RULE = struct.Struct("=BBBBBxxBI")  # struct fib_rule_hdr
_FRA_PRIORITY = 6
_FR_ACT_TO_TBL = 1


def add_veth(name: str, mac: str, peer: str, peer_mac: str, peer_namespace: int) -> NetlinkRequest:
    """Create a veth pair whose peer is in the namespace of a descriptor."""
    other = (
        LINK.pack(0, 0, 0, 0, 0)
        + attribute(IFLA_IFNAME, peer.encode() + b"\0")
        + attribute(_IFLA_ADDRESS, _mac(peer_mac))
        + number(_IFLA_NET_NS_FD, peer_namespace)
    )
    kind = attribute(_IFLA_INFO_KIND, b"veth")
    data = attribute(_IFLA_INFO_DATA, attribute(_VETH_INFO_PEER, other))
    body = (
        LINK.pack(0, 0, 0, 0, 0)
        + attribute(IFLA_IFNAME, name.encode() + b"\0")
        + attribute(_IFLA_ADDRESS, _mac(mac))
        + attribute(_IFLA_LINKINFO, kind + data)
    )
    return NetlinkRequest(f"add link {name} with peer {peer}", RTM_NEWLINK, _NEW, body)


def set_up(index: int) -> NetlinkRequest:
    """Bring an interface up."""
    body = LINK.pack(0, 0, index, _IFF_UP, _IFF_UP)
    return NetlinkRequest(f"set link {index} up", RTM_NEWLINK, 0, body)


def add_address(host: str, index: int, *, prefix: int | None = None) -> NetlinkRequest:
    """Add an address to an interface, for IPv6 without duplicate address detection.

    Args:
        host: The address.
        index: The interface.
        prefix: Prefix length; by default the full length. If it is given, the address may already
            exist.
    """
    family, raw = _packed(host)
    flags = _IFA_F_NODAD if family == socket.AF_INET6 else 0
    bits = 8 * len(raw) if prefix is None else prefix
    body = _ADDRESS.pack(family, bits, flags, _UNIVERSE, index)
    body += attribute(_IFA_LOCAL, raw) + attribute(_IFA_ADDRESS, raw)
    how = _NEW if prefix is None else CREATE | REPLACE
    return NetlinkRequest(f"add address {host}/{bits} to link {index}", _RTM_NEWADDR, how, body)


def add_route(target: str, index: int) -> NetlinkRequest:
    """Route a target directly to a link."""
    return _route(target, f"dev {index}", _UNICAST, _ON_LINK, index=index)


def add_route_via(target: str, gateway: str, index: int) -> NetlinkRequest:
    """Route a target to a gateway, which need not be in a network of the link."""
    what = f"via {gateway} dev {index} onlink"
    return _route(target, what, _UNICAST, _UNIVERSE, index=index, gateway=gateway)


def add_local_route(target: str, index: int, table: int) -> NetlinkRequest:
    """Deliver packets to a target locally."""
    return _route(target, f"local table {table}", _LOCAL_ROUTE, _HOST, index=index, table=table)


def add_blackhole(target: str) -> NetlinkRequest:
    """Discard packets to a target."""
    return _route(target, "blackhole", _BLACKHOLE, _UNIVERSE)


def add_neighbour(host: str, mac: str, index: int) -> NetlinkRequest:
    """Add a permanent neighbour entry with a host's link address."""
    family, raw = _packed(host)
    body = _NEIGHBOUR.pack(family, index, _NUD_PERMANENT, 0, 0)
    body += attribute(_NDA_DST, raw) + attribute(_NDA_LLADDR, _mac(mac))
    return NetlinkRequest(
        f"add neighbour {host} at {mac} on link {index}", _RTM_NEWNEIGH, _NEW, body
    )


def delete_neighbour(host: str, index: int) -> NetlinkRequest:
    """Delete a host's neighbour entry."""
    family, raw = _packed(host)
    body = _NEIGHBOUR.pack(family, index, 0, 0, 0) + attribute(_NDA_DST, raw)
    return NetlinkRequest(f"delete neighbour {host} on link {index}", _RTM_DELNEIGH, 0, body)


def add_rule(version: int, priority: int, table: int) -> NetlinkRequest:
    """Add a routing rule that looks up a table; rules with a lower number come first."""
    body = _RULE.pack(address_family(version), 0, 0, 0, table, _FR_ACT_TO_TBL, 0)
    body += number(_FRA_PRIORITY, priority)
    return NetlinkRequest(f"add rule pref {priority} lookup {table}", _RTM_NEWRULE, _NEW, body)


def delete_rule(version: int, priority: int) -> NetlinkRequest:
    """Delete the routing rule of a priority."""
    body = _RULE.pack(address_family(version), 0, 0, 0, 0, 0, 0) + number(_FRA_PRIORITY, priority)
    return NetlinkRequest(f"delete rule pref {priority}", _RTM_DELRULE, 0, body)


def _route(
    target: str,
    what: str,
    kind: int,
    scope: int,
    *,
    index: int = 0,
    gateway: str = "",
    table: int = MAIN,
) -> NetlinkRequest:
    network = ip_network(target)
    family, raw = _packed(str(network.network_address))
    flags = _RTNH_F_ONLINK if gateway else 0
    body = _ROUTE.pack(family, network.prefixlen, 0, 0, table, _RTPROT_BOOT, scope, kind, flags)
    if network.prefixlen:
        body += attribute(_RTA_DST, raw)
    if gateway:
        body += attribute(_RTA_GATEWAY, _packed(gateway)[1])
    if index:
        body += number(_RTA_OIF, index)
    return NetlinkRequest(f"add route {target} {what}", _RTM_NEWROUTE, _NEW, body)


def _packed(host: str) -> tuple[int, bytes]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return family, socket.inet_pton(family, host)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))

"""Wait until new links and addresses carry packets.

The kernel finishes two steps in workers, after the request has returned. The end of a veth pair
that is brought up first gets its transmit queue (net/core/link_watch.c). An IPv6 address gets its
local route, without which packets to it are dropped (addrconf_dad_work in net/ipv6/addrconf.c). A
packet that is lost before is sent again only after a second. The kernel announces both steps on
netlink sockets.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator

from pytest_fsmredir.backends.netns.netlink import IFLA_IFNAME, LINK, RTM_NEWLINK
from pytest_fsmredir.errors import DeadlineError
from pytest_fsmredir.traffic.netlink import attributes, messages

_RTMGRP_LINK, _RTMGRP_IPV6_ROUTE = 0x1, 0x400  # linux/rtnetlink.h
_RTM_NEWROUTE = 24
_IFLA_OPERSTATE = 16  # linux/if_link.h
_RTA_DST, _RTN_LOCAL = 1, 2
_IF_OPER_UP = 6  # linux/if.h; set together with the transmit queue
_ROUTE = struct.Struct("=7xBI")  # struct rtmsg: type, flags


class Readiness:
    """Receives the announcements of its network namespace; create it before the requests."""

    def __init__(self) -> None:
        self._sock = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._sock.bind((0, _RTMGRP_LINK | _RTMGRP_IPV6_ROUTE))
        self._poll = select.poll()  # select(2) does not support descriptors above 1023
        self._poll.register(self._sock, select.POLLIN)

    def wait(self, links: Iterable[str], addresses: Iterable[str], within_s: float = 30.0) -> None:
        """Wait until these links carry packets and these IPv6 addresses receive them.

        Raises:
            DeadlineError: Some were not ready in time; the message names them.
        """
        missing = {*links, *addresses}
        deadline = time.monotonic() + within_s
        while missing:
            left = deadline - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000):
                raise DeadlineError(f"not ready after {within_s} s: {', '.join(sorted(missing))}")
            missing.difference_update(_ready(self._sock.recv(65536)))

    def close(self) -> None:
        """Stop listening."""
        self._sock.close()


def _ready(data: bytes) -> Iterator[str]:
    """Yield the names and addresses that a netlink datagram announces as ready."""
    for kind, _, body in messages(data):
        if kind == RTM_NEWLINK:
            found = attributes(body, LINK.size, IFLA_IFNAME, _IFLA_OPERSTATE)
            if found.get(_IFLA_OPERSTATE, b"\0")[0] == _IF_OPER_UP:
                yield found[IFLA_IFNAME].rstrip(b"\0").decode()
        elif kind == _RTM_NEWROUTE and _ROUTE.unpack_from(body)[0] == _RTN_LOCAL:
            destination = attributes(body, _ROUTE.size, _RTA_DST).get(_RTA_DST, b"")
            if len(destination) == 16:
                yield socket.inet_ntop(socket.AF_INET6, destination)

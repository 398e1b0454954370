"""Find links, addresses and routes that a pod has lost.

An init command may remove them. The harness then fails, but this is a fault of the implementation
and not of the harness.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from collections.abc import Iterator, Sequence

from pytest_fsmredir.backends.netns.wiring import SERVER, VethLink, family_of
from pytest_fsmredir.traffic.sockets import address_family

_SIOCGIFFLAGS = 0x8913  # linux/sockios.h
_IFF_UP = 0x1
_REQUEST = "16sH22x"  # struct ifreq: a name, and flags in a union of 24 bytes (linux/if.h)
_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL}


def losses(links: Sequence[VethLink]) -> Iterator[str]:
    """Yield what the pod of the calling thread has lost, one phrase for each item.

    Args:
        links: The links that the pod was created with, the primary one first.
    """
    if not _is_up("lo"):
        yield "the link lo is down"
    whole = True
    for link in links:
        if not _is_up(link.interface):
            yield f"the link {link.interface} is down or gone"
            whole = False
        for address in link.addresses:
            if not _can_bind(address):
                yield f"{link.interface} has lost its address {address}"
                whole = False
    if whole:
        for family in links[0].families:
            if not _has_route(SERVER[family]):
                yield f"the pod has lost its IPv{family} route to other hosts"


def _is_up(interface: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack(_REQUEST, interface.encode(), 0)
        try:
            answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, request)
        except OSError:
            return False
    return bool(struct.unpack(_REQUEST, answer)[1] & _IFF_UP)


def _can_bind(address: str) -> bool:
    try:
        with socket.socket(address_family(family_of(address)), socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True


def _has_route(destination: str) -> bool:
    try:
        with socket.socket(address_family(family_of(destination)), socket.SOCK_DGRAM) as sock:
            sock.connect((destination, 9))
    except OSError as error:
        return error.errno not in _NO_ROUTE
    return True

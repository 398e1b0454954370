"""Print the kernel's nf_tables tables of this network namespace, one a line: ``FAMILY NAME``.

This runs as a script in pods without the program ``nft``. It uses the standard library only.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Iterator

_NETFILTER = 12  # linux/netlink.h
_GET_TABLE, _NEW_TABLE = (10 << 8) | 1, 10 << 8  # linux/netfilter/nf_tables.h
_DUMP, _DONE, _ERROR = 0x301, 3, 2
_HEADER = struct.Struct("=IHHII")
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}


def tables() -> Iterator[tuple[str, str]]:
    """Yield (family, name) of each table; none if the kernel has no nf_tables.

    Raises:
        OSError: The kernel rejects the request, for example without CAP_NET_ADMIN.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as sock:
        sock.settimeout(2.0)
        sock.send(_HEADER.pack(_HEADER.size + 4, _GET_TABLE, _DUMP, 1, 0) + bytes(4))
        while True:
            for kind, body in _messages(sock.recv(1 << 16)):
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    code = -struct.unpack_from("=i", body)[0]
                    if code == errno.EINVAL:  # no such subsystem (nfnetlink_rcv_msg in Linux)
                        return
                    raise OSError(code, "the kernel refuses to list the tables of nft")
                if kind == _NEW_TABLE:
                    yield _FAMILIES.get(body[0], str(body[0])), _name(body[4:])


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def _name(attributes: bytes) -> str:
    while len(attributes) >= 4:
        length, kind = struct.unpack_from("=HH", attributes)
        if kind & 0x3FFF == 1:
            return attributes[4 : length - 1].decode(errors="replace")
        attributes = attributes[(length + 3) & ~3 :]
    return ""


if __name__ == "__main__":
    sys.stdout.writelines(f"{family} {name}\n" for family, name in tables())

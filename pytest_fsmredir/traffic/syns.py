"""Forge SYNs that differ from those of a Linux client in one header field."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Unpack

from pytest_fsmredir.model.flow import Address
from pytest_fsmredir.traffic.forge import CWR, ECE, PSH, SYN, URG, IpFields, tcp
from pytest_fsmredir.traffic.packet import Packet

Make = Callable[[Address, Address], Packet]
"""Builds a SYN from its source and destination."""

HOP_LIMITS = (1, 2, 8, 32, 63, 65, 127, 128, 129, 254, 255)
SERVICES = (*range(0, 256, 4), 1, 2, 3)
"""Every DSCP (RFC 2474), then every ECN field (RFC 3168)."""
WINDOWS = (0, 1, 512, 1024, 5840, 8192, 14600, 16384, 29200, 32768, 65535)
SEGMENT_SIZES = (1, 88, 216, 536, 1220, 1360, 1400, 1440, 8960, 65535)
NUMBERS = (0, 1 << 31, (1 << 32) - 1)

# TCP options (RFC 9293, RFC 7323, RFC 2018); one-byte no-operations pad them.
_MSS, _SACK, _SCALE = bytes([2, 4, 5, 180]), bytes([4, 2]), bytes([1, 3, 3, 7])
_TIMESTAMPS, _NOP = bytes([8, 10, 0, 0, 0, 1, 0, 0, 0, 0]), bytes([1])
LINUX = _MSS + _SACK + _TIMESTAMPS + _SCALE
_OPTIONS = {
    "without options": b"",
    "with a segment size alone": _MSS,
    "without timestamps": _MSS + _SACK + 2 * _NOP + _SCALE,
    "without selective acknowledgements": _MSS + _TIMESTAMPS + _SCALE + 2 * _NOP,
    "without window scaling": _MSS + _SACK + _TIMESTAMPS,
    "with a fast open request": LINUX + bytes([34, 2]) + 2 * _NOP,  # RFC 7413
    "with a multipath request": LINUX + bytes([30, 4, 1, 0]),  # RFC 8684, version 1
    "with an experimental option": LINUX + bytes([253, 4, 0xF9, 0x89]),  # RFC 6994
    "with 40 bytes of options": LINUX + 20 * _NOP,
    **{f"with segments of {size}": struct.pack("!BBH", 2, 4, size) for size in SEGMENT_SIZES},
}


def unlike(
    *,
    flags: int = SYN,
    seq: int = 1000,
    payload: bytes = b"",
    window: int = 64240,
    urgent: int = 0,
    reserved: int = 0,
    options: bytes = LINUX,
    **fields: Unpack[IpFields],
) -> Make:
    """Return a function that builds a Linux SYN with the given fields changed."""
    header: IpFields = {"whole": True, **fields}

    def make(source: Address, destination: Address) -> Packet:
        return tcp(
            source,
            destination,
            flags,
            seq=seq,
            payload=payload,
            window=window,
            urgent=urgent,
            reserved=reserved,
            options=options,
            **header,
        )

    return make


_COMMON: dict[str, Make] = {
    "like that of Linux": unlike(),
    "with ECN": unlike(flags=SYN | ECE | CWR),
    "with accurate ECN": unlike(flags=SYN | ECE | CWR, reserved=1),  # RFC 9768
    "with ECE alone": unlike(flags=SYN | ECE),
    "with CWR alone": unlike(flags=SYN | CWR),
    "with 1 byte of data": unlike(payload=b"1"),
    "with 1000 bytes of data": unlike(payload=bytes(1000)),
    **{f"with {hops} hops left": unlike(hops=hops) for hops in HOP_LIMITS},
    **{f"with the service class {byte:#04x}": unlike(service=byte) for byte in SERVICES},
    **{f"with a window of {window}": unlike(window=window) for window in WINDOWS},
    **{f"with the sequence number {seq}": unlike(seq=seq) for seq in NUMBERS},
    **{name: unlike(options=options) for name, options in _OPTIONS.items()},
}
_OF_FAMILY: dict[int, dict[str, Make]] = {
    4: {
        "that may be fragmented": unlike(whole=False),
        "with an identification": unlike(identification=0x1234),
    },
    6: {"with a flow label": unlike(label=0x12345)},
}
UNUSUAL: dict[str, Make] = {
    "with PSH": unlike(flags=SYN | PSH),
    "with URG": unlike(flags=SYN | URG, urgent=1),
    **{f"with the reserved bits {bits:#x}": unlike(reserved=bits) for bits in (1, 2, 4, 8)},
}
"""SYNs that are valid, but that common clients do not send."""


def with_ip_options(family: int) -> dict[str, Make]:
    """Return a SYN with options in the IP header; IPv6 has extension headers instead."""
    no_operation = unlike(ip_options=bytes([1, 1, 1, 1]))
    return {"with options in the IP header": no_operation} if family == 4 else {}


def variations(family: int) -> dict[str, Make]:
    """Return SYNs that clients of an IP version may send, by the name of the difference."""
    return _COMMON | _OF_FAMILY[family]

"""Names of numbers in iptables and nft, and their values in the model."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Final

from pytest_fsmredir.rules.bdd import Intervals

PROTOCOLS: Final[Mapping[str, int]] = {
    "hopopt": 0, "ip": 0, "icmp": 1, "igmp": 2, "ggp": 3, "ipencap": 4, "st": 5, "tcp": 6,
    "egp": 8, "igp": 9, "pup": 12, "udp": 17, "hmp": 20, "xns-idp": 22, "rdp": 27, "iso-tp4": 29,
    "dccp": 33, "xtp": 36, "ddp": 37, "idpr-cmtp": 38, "ipv6": 41, "ipv6-route": 43,
    "ipv6-frag": 44, "idrp": 45, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "skip": 57,
    "icmp6": 58, "icmpv6": 58, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "rspf": 73,
    "vmtp": 81, "eigrp": 88, "ospf": 89, "ax.25": 93, "ipip": 94, "etherip": 97, "encap": 98,
    "pim": 103, "comp": 108, "ipcomp": 108, "vrrp": 112, "l2tp": 115, "isis": 124, "sctp": 132,
    "fc": 133, "mh": 135, "mobility-header": 135, "udplite": 136, "mpls-in-ip": 137, "manet": 138,
    "hip": 139, "shim6": 140, "wesp": 141, "rohc": 142, "ethernet": 143,
}  # fmt: skip
"""Names of /etc/protocols, which iptables and nft print, and some that they accept."""

INVALID, ESTABLISHED, RELATED, NEW, UNTRACKED = 1, 2, 4, 8, 64
STATES: Final[Mapping[str, int]] = {
    "invalid": INVALID, "established": ESTABLISHED, "related": RELATED, "new": NEW,
    "untracked": UNTRACKED,
}  # fmt: skip
"""Connection states, one bit each (linux/netfilter/xt_conntrack.h)."""

TCP_FLAGS: Final[Mapping[str, int]] = {
    "fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ece": 64, "ecn": 64, "cwr": 128,
    "none": 0, "all": 63,
}  # fmt: skip
"""In iptables ``ALL`` means the six original flags."""

LINK_TYPES: Final[Mapping[str, int]] = {
    "host": 0, "unicast": 0, "broadcast": 1, "multicast": 2, "other": 3, "otherhost": 3,
    "outgoing": 4, "loopback": 5,
}  # fmt: skip

ICMP_TYPES: Final[Mapping[str, int]] = {
    "echo-reply": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5,
    "echo-request": 8, "router-advertisement": 9, "router-solicitation": 10, "time-exceeded": 11,
    "parameter-problem": 12, "timestamp-request": 13, "timestamp-reply": 14, "info-request": 15,
    "info-reply": 16, "address-mask-request": 17, "address-mask-reply": 18,
}  # fmt: skip
ICMPV6_TYPES: Final[Mapping[str, int]] = {
    "destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4,
    "echo-request": 128, "echo-reply": 129, "mld-listener-query": 130, "mld-listener-report": 131,
    "mld-listener-done": 132, "mld-listener-reduction": 132, "nd-router-solicit": 133,
    "router-solicitation": 133, "nd-router-advert": 134, "router-advertisement": 134,
    "nd-neighbor-solicit": 135, "neighbour-solicitation": 135, "neighbor-solicitation": 135,
    "nd-neighbor-advert": 136, "neighbour-advertisement": 136, "neighbor-advertisement": 136,
    "nd-redirect": 137, "router-renumbering": 138, "ind-neighbor-solicit": 141,
    "ind-neighbor-advert": 142, "mld2-listener-report": 143,
}  # fmt: skip

ICMP_CODES: Final[Mapping[str, int]] = {
    "net-unreachable": 0, "host-unreachable": 1, "prot-unreachable": 2, "port-unreachable": 3,
    "frag-needed": 4, "net-prohibited": 9, "host-prohibited": 10, "admin-prohibited": 13,
}  # fmt: skip
ICMPV6_CODES: Final[Mapping[str, int]] = {
    "no-route": 0, "admin-prohibited": 1, "addr-unreachable": 3, "port-unreachable": 4,
    "policy-fail": 5, "reject-route": 6,
}  # fmt: skip
"""nft prints these names for codes of every ICMP type (src/datatype.c, src/proto.c)."""

DSCP: Final[Mapping[str, int]] = {
    **{f"cs{i}": 8 * i for i in range(8)},
    **{f"af{i}{j}": 8 * i + 2 * j for i in range(1, 5) for j in range(1, 4)},
    "be": 0, "df": 0, "ef": 46, "va": 44, "lephb": 1, "voice-admit": 44,
}  # fmt: skip
ECN: Final[Mapping[str, int]] = {"not-ect": 0, "ect1": 1, "ect0": 2, "ce": 3}


def named(text: str, names: Mapping[str, int]) -> int:
    """Return the number that a decimal, octal or hexadecimal text or a name stands for.

    Raises:
        ValueError: It is neither a number nor a known name.
    """
    found = names.get(text.lower())
    if found is not None:
        return found
    try:
        return integer(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a number nor a known name") from None


def integer(text: str) -> int:
    """Parse a number like C's ``strtoul`` with base 0; 010 is 8.

    Raises:
        ValueError: It is not a number.
    """
    if not text.isascii() or len(text) > 20:
        raise ValueError(f"{text[:30]!r} is not a number")
    if text.isdigit() and len(text) > 1 and text[0] == "0":
        return int(text, 8)
    if text.isdigit() or text[:2].lower() == "0x":
        return int(text, 0)
    raise ValueError(f"{text!r} is not a number")


def span(text: str, separator: str, most: int) -> tuple[int, int]:
    """Return the ends of a range such as ``80:90``, ``:90``, ``80:`` or ``80``.

    Raises:
        ValueError: An end is not a number up to ``most``.
    """
    low, found, high = text.partition(separator)
    first = integer(low) if low or not found else 0
    last = (integer(high) if high else most) if found else first
    if not 0 <= first <= last <= most:
        raise ValueError(f"{text!r} is not a range of numbers up to {most}")
    return first, last


def address(text: str) -> int:
    """Return an IP address as a number.

    Raises:
        ValueError: It is not an address.
    """
    return int(ip_address(text))


def network(text: str, family: int) -> tuple[Intervals, int | None]:
    """Return the addresses of ``ADDRESS[/PREFIX-OR-MASK]`` as intervals, and a mask or None.

    The mask is returned only if it has holes, which iptables allows.

    Raises:
        ValueError: It is not a network of that family.
    """
    host, _, mask = text.partition("/")
    base = ip_address(host)
    if base.version != family:
        raise ValueError(f"{text!r} is not an IPv{family} network")
    if mask and not mask.isdigit():
        bits = int(ip_address(mask))
        if not _is_prefix(bits, 32 if family == 4 else 128):
            return ((int(base) & bits, int(base) & bits),), bits
    block = ip_network(text, strict=False)
    return ((int(block.network_address), int(block.broadcast_address)),), None


def _is_prefix(mask: int, width: int) -> bool:
    rest = ~mask & ((1 << width) - 1)
    return rest & (rest + 1) == 0

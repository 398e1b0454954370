"""Faults in reading list items: items that are accepted, refused or changed by mistake."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network

from pytest_fsmredir.errors import AnnotationError
from pytest_fsmredir.model.configuration import (
    IP_RANGE_LISTS,
    PORT_LISTS,
    Configuration,
    parse_interface,
    parse_ip_range,
    parse_port,
)
from pytest_fsmredir.model.policy import ListName, Network
from tests.mutants.mutant import Mutant
from tests.mutants.reader import Ports, Ranges, Reader, or_none, raw


def _number(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(f"{text!r} is not a number")
    return int(text)


def _modulo(text: str) -> Sequence[int]:
    """Read a number as C does: truncate it to 16 bits."""
    return [port] if (port := _number(text) % 65536) else []


def _positive(text: str) -> Sequence[int]:
    """Read as FSM's webhook does, and drop the numbers that iptables would refuse."""
    number = _number(text)
    if number <= 0:
        raise ValueError(f"Invalid port value {text!r}")
    return [number] if number <= 65535 else []


def _clamped(text: str) -> Sequence[int]:
    return [min(max(_number(text), 1), 65535)]


def _leading_number(text: str) -> Sequence[int]:
    """Read the digits at the start of the item, as C's atoi does."""
    digits = re.match(r"[0-9]+", text)
    return [parse_port(digits[0])] if digits else []


def _spans(text: str) -> Sequence[int]:
    """Read ``80-90`` and ``80:90`` as a range of ports."""
    low, _, high = text.replace(":", "-").partition("-")
    return range(parse_port(low), parse_port(high or low) + 1)


def _span_by_its_ends(text: str) -> Sequence[int]:
    """Read ``80-90`` as its two ends."""
    return [parse_port(part) for part in text.replace(":", "-").split("-")]


def _octal(text: str) -> Sequence[int]:
    """Read a number as C's strtol does with base 0: a leading zero makes it octal."""
    port = parse_port(text)
    return [int(text, 8)] if re.fullmatch(r"0[0-7]+", text) else [port]


def _zero_is_all(text: str) -> Sequence[int]:
    """Read port 0 as "any port"."""
    return range(1, 65536, 4369) if text == "0" else [parse_port(text)]


def _skipping(text: str) -> Callable[[str], Sequence[int]]:
    """Skip one item, and read the others strictly."""
    return lambda item: [] if item == text else [parse_port(item)]


def _below_the_top(text: str) -> Sequence[int]:
    if (port := parse_port(text)) == 65535:
        raise ValueError(f"{text!r} is not a port from 1 to 65534")
    return [port]


def _above_the_bottom(text: str) -> Sequence[int]:
    if (port := parse_port(text)) == 1:
        raise ValueError(f"{text!r} is not a port from 2 to 65535")
    return [port]


def _bare_address(text: str) -> Sequence[Network]:
    """Read an address without a prefix length as that one address."""
    return [parse_ip_range(text)] if "/" in text else [ip_network(ip_address(text))]


def _bare_network(text: str) -> Sequence[Network]:
    """Read an address without a prefix length as its network of 256 addresses."""
    if "/" in text:
        return [parse_ip_range(text)]
    bits = ip_address(text).max_prefixlen - 8
    return [ip_network(f"{text}/{bits}", strict=False)]


def _empty_is_all(text: str) -> Sequence[Network]:
    """Read an empty item as a rule without -d."""
    return [parse_ip_range(text)] if text else [ip_network("0.0.0.0/0"), ip_network("::/0")]


def _without_sign(text: str) -> Sequence[Network]:
    """Read ``!10.0.0.0/8`` as ``10.0.0.0/8``."""
    return [parse_ip_range(text.lstrip("!"))]


def _lower_case(text: str) -> Sequence[Network]:
    """Drop ranges with upper-case hexadecimal digits."""
    network = parse_ip_range(text)
    return [network] if text == text.lower() else []


def _strict_network(text: str) -> Sequence[Network]:
    parse_ip_range(text)
    return [ip_network(text)]


def _host_part(text: str) -> Sequence[Network]:
    """Read a range with host bits as that one address."""
    network = parse_ip_range(text)
    address = ip_address(text.partition("/")[0])
    return [network] if network[0] == address else [ip_network(address)]


def _ipv4_only(text: str) -> Sequence[Network]:
    network = parse_ip_range(text)
    return [network] if network.version == 4 else []


def _ipv4_or_refused(text: str) -> Sequence[Network]:
    network = parse_ip_range(text)
    if network.version == 6:
        raise ValueError(f"{text!r}: host/network not found")
    return [network]


def _padded(text: str) -> str:
    """Read the short form of RFC 1918: ``192.168/16`` is ``192.168.0.0/16``."""
    address, slash, prefix = text.partition("/")
    missing = 3 - address.count(".")
    return address + ".0" * missing + slash + prefix if slash and ":" not in text else text


def _short_form(text: str) -> Sequence[Network]:
    return [parse_ip_range(_padded(text))]


def _short_form_by_inet_aton(text: str) -> Sequence[Network]:
    """Read ``192.168/16`` as inet_aton(3) does: the last number fills the remaining bytes."""
    address, slash, prefix = text.partition("/")
    if slash and re.fullmatch(r"[0-9]+(\.[0-9]+){0,2}", address):
        *first, last = address.split(".")
        address = ".".join([*first, *["0"] * (3 - len(first)), last])
    return [parse_ip_range(f"{address}{slash}{prefix}")]


def _mask_dropped(text: str) -> Sequence[Network]:
    """Read ``10.0.0.0/255.0.0.0`` as a single address."""
    return [parse_ip_range(re.sub(r"/[0-9]+\.[0-9.]+$", "/32", text))]


def _octal_numbers(text: str) -> Sequence[Network]:
    """Read a number with a leading zero as inet_aton(3) and iptables do: ``010.0.0.0/8``."""
    address, slash, prefix = text.partition("/")
    if slash and re.fullmatch(r"[0-9]+(\.[0-9]+){3}", address):
        numbers = (int(n, 8 if n[0] == "0" else 10) for n in address.split("."))
        address = ".".join(map(str, numbers))
    return [parse_ip_range(f"{address}{slash}{prefix}")]


def _of_mesh_unchecked(
    names: Sequence[ListName], parse: Callable[[str], object]
) -> Callable[[Configuration], dict[ListName, tuple[str, ...]]]:
    """Skip malformed items in lists of the MeshConfig, which no webhook validates."""

    def lists(configuration: Configuration) -> dict[ListName, tuple[str, ...]]:
        found = configuration.effective()
        for name in names:
            of_mesh = set(map(str, configuration.traffic.get(name.mesh_config_key, ())))
            found[name] = tuple(
                item for item in found[name] if item not in of_mesh or or_none(parse)(item)
            )
        return found

    return lists


def _without_blank(name: ListName) -> Callable[[Configuration], dict[ListName, tuple[str, ...]]]:
    """Drop the items of one annotation that have a blank before or after them."""

    def lists(configuration: Configuration) -> dict[ListName, tuple[str, ...]]:
        found = raw(lambda text: text.split(","))(configuration)
        return {
            listed: tuple(
                item.strip() for item in items if listed is not name or item == item.strip()
            )
            for listed, items in found.items()
        }

    return lists


def _refusing_doubles(configuration: Configuration) -> dict[ListName, tuple[str, ...]]:
    lists = raw(lambda text: [item.strip() for item in text.split(",")])(configuration)
    for name, listed in lists.items():
        if len(set(listed)) != len(listed):
            raise AnnotationError(f"{name} names an item twice")
    return lists


def _cancelling_duplicates(
    *names: ListName,
) -> Callable[[Configuration], dict[ListName, tuple[str, ...]]]:
    """Drop items that both scopes name, as a symmetric difference does."""

    def lists(configuration: Configuration) -> dict[ListName, tuple[str, ...]]:
        found = raw(lambda text: [item.strip() for item in text.split(",")])(configuration)
        return {
            name: tuple(x for x in items if name not in names or items.count(x) == 1)
            for name, items in found.items()
        }

    return lists


def _last_decides(configuration: Configuration) -> dict[ListName, tuple[str, ...]]:
    """Skip malformed items if another item follows: only the last one is checked."""
    lists = configuration.effective()
    for name in (*PORT_LISTS, *IP_RANGE_LISTS):
        parse: Callable[[str], object] = parse_port if name in PORT_LISTS else parse_ip_range
        *before, last = lists[name] or ("",)
        kept = [item for item in before if or_none(parse)(item)]
        lists[name] = (*kept, last) if lists[name] else ()
    return lists


def _ports(name: str, what: str, source: str, ports: Ports, argument: str = "") -> Mutant:
    return Mutant(name=name, what=what, source=source, read=Reader(ports=ports), argument=argument)


def _ranges(name: str, what: str, source: str, ranges: Ranges) -> Mutant:
    return Mutant(name=name, what=what, source=source, read=Reader(ranges=ranges))


MUTANTS = (
    Mutant(
        name="interface-name-cut",
        what="a name of an interface that is too long is cut to 15 bytes",
        source="catalogue MULTI-005",
        read=Reader(interface=lambda text: parse_interface(text[:15])),
    ),
    _ports("bad-port-skipped", "a malformed port is skipped", "B14, F02", or_none(parse_port)),
    _ports("large-port-skipped", "port 70000 is accepted and forgotten", "F02", _positive),
    _ports("large-port-wraps", "port 70000 is taken as 4464", "F02: 16 bits", _modulo),
    _ports("port-clamped", "a port out of range is moved into it", "F02", _clamped),
    _ports(
        "port-by-leading-digits", "'80-90' and '80x' are read as 80", "F02: atoi", _leading_number
    ),
    _ports(
        "port-span-expanded",
        "'80-90' is read as eleven ports",
        "B03: proxy-init PR 7",
        _spans,
        "SPEC-13.8: its plain meaning is honoured",
    ),
    _ports("port-span-by-its-ends", "'80-90' is taken as 80 and 90", "F02", _span_by_its_ends),
    _ports("port-with-zero-is-octal", "'0443' is taken as 291", "F02: strtol", _octal),
    _ports("port-0-skipped", "port 0 is accepted and forgotten", "F02", _skipping("0")),
    _ports(
        "empty-item-skipped",
        "an empty item is accepted",
        "F02",
        _skipping(""),
        "SPEC-13.8: '80,,90' has a plain meaning, which is honoured",
    ),
    _ports("port-0-is-any", "port 0 is taken as a wildcard", "F02", _zero_is_all),
    _ports("port-65535-refused", "port 65535 is refused", "off by one", _below_the_top),
    _ports("port-1-refused", "port 1 is refused", "off by one", _above_the_bottom),
    Mutant(
        name="bad-item-skipped-unless-last",
        what="a malformed item is skipped if another item follows",
        source="B14: a loop that keeps the last status only",
        read=Reader(lists=_last_decides),
    ),
    _ranges(
        "bad-range-skipped", "a malformed range is skipped", "B14, F03", or_none(parse_ip_range)
    ),
    Mutant(
        name="bare-address-accepted",
        what="an address without a prefix is accepted",
        source="F03",
        read=Reader(ranges=_bare_address),
        argument="SPEC-13.8: it is read as exactly what it names",
    ),
    _ranges(
        "bare-address-is-a-network",
        "an address without a prefix length is read as 256 addresses",
        "F03",
        _bare_network,
    ),
    Mutant(
        name="short-range-accepted",
        what="a range in the short form of RFC 1918 is accepted",
        source="iptables reads 1.2.3/24 as 1.2.3.0/24",
        read=Reader(ranges=_short_form),
        argument="SPEC-13.8: it is read as exactly what it names",
    ),
    _ranges(
        "short-range-by-inet-aton",
        "'1.2.3/24' is read as 1.2.0.3/24",
        "inet_aton(3)",
        _short_form_by_inet_aton,
    ),
    _ranges(
        "range-with-mask-is-an-address",
        "'1.2.3.0/255.255.255.0' is read as 1.2.3.0/32",
        "a mask that is not a number",
        _mask_dropped,
    ),
    _ranges(
        "range-with-zero-is-octal",
        "'1.2.030.0/24' is read as 1.2.24.0/24",
        "inet_aton(3), and iptables -d",
        _octal_numbers,
    ),
    Mutant(
        name="bad-port-of-mesh-skipped",
        what="a malformed port of the MeshConfig is skipped",
        source="FSM validates no list of the MeshConfig",
        read=Reader(lists=_of_mesh_unchecked(PORT_LISTS, parse_port)),
    ),
    Mutant(
        name="bad-range-of-mesh-skipped",
        what="a malformed range of the MeshConfig is skipped",
        source="FSM validates no list of the MeshConfig",
        read=Reader(lists=_of_mesh_unchecked(IP_RANGE_LISTS, parse_ip_range)),
    ),
    _ranges("empty-range-is-everything", "an empty item is every address", "F03", _empty_is_all),
    _ranges("negated-range-taken", "'!10.0.0.0/8' is taken as 10.0.0.0/8", "F03", _without_sign),
    _ranges(
        "upper-case-range-skipped",
        "an IPv6 range with upper-case digits is dropped",
        "RFC 5952 writes them in lower case",
        _lower_case,
    ),
    _ranges("host-bits-refused", "a range with host bits is refused", "F12", _strict_network),
    _ranges("host-bits-are-an-address", "a range with host bits is one address", "F12", _host_part),
    _ranges("ipv6-range-skipped", "an IPv6 range is accepted and forgotten", "F03", _ipv4_only),
    _ranges(
        "ipv6-range-refused",
        "an IPv6 range is refused although IPv6 is claimed",
        "F03",
        _ipv4_or_refused,
    ),
    Mutant(
        name="blanks-not-trimmed",
        what="a blank before an item makes it malformed",
        source="S-SET: catalogue CFG-005",
        read=Reader(lists=raw(lambda text: text.split(","))),
    ),
    Mutant(
        name="blank-ends-list",
        what="an annotation ends at the first blank",
        source="F12: an unquoted shell word",
        read=Reader(
            lists=raw(lambda text: text.split()[0].rstrip(",").split(",") if text.split() else [""])
        ),
    ),
    Mutant(
        name="split-at-comma-and-blank-only",
        what="items are split at ', ' only",
        source="S-SET: catalogue CFG-005",
        read=Reader(lists=raw(lambda text: text.split(", "))),
    ),
    Mutant(
        name="doubles-refused",
        what="an item that is named twice is refused",
        source="catalogue CFG-004; nft refuses a duplicate element of a set",
        read=Reader(lists=_refusing_doubles),
    ),
    Mutant(
        name="doubles-cancel",
        what="an item that both scopes name is lost",
        source="catalogue CFG-004",
        read=Reader(lists=_cancelling_duplicates(*ListName)),
    ),
    Mutant(
        name="included-doubles-cancel",
        what="a range that both scopes include is lost",
        source="catalogue CFG-004",
        read=Reader(lists=_cancelling_duplicates(ListName.OUTBOUND_IP_RANGE_INCLUSION)),
    ),
    Mutant(
        name="included-range-after-blank-lost",
        what="an included range next to a blank is lost",
        source="S-SET: catalogue CFG-005",
        read=Reader(lists=_without_blank(ListName.OUTBOUND_IP_RANGE_INCLUSION)),
    ),
)

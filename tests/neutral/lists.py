"""Read the contract's lists as an init command does. Standard library only."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

_INTERFACE = re.compile(r"[A-Za-z0-9_.@-]{1,15}")


@dataclass(frozen=True)
class Lists:
    """The lists of one pod; ranges and addresses as text.

    Attributes:
        families: The IP versions that the pod has addresses of.
        excluded: Outbound ranges that bypass the sidecar.
        included: Outbound ranges to capture; empty for all.
        outbound: Outbound ports that bypass the sidecar.
        inbound: Inbound ports that bypass the sidecar.
        interfaces: Interfaces that bypass the sidecar.
    """

    families: tuple[int, ...]
    excluded: tuple[str, ...]
    included: tuple[str, ...]
    outbound: tuple[int, ...]
    inbound: tuple[int, ...]
    interfaces: tuple[str, ...]

    def of(self, family: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the excluded and the included ranges of one family."""
        return _of(self.excluded, family), _of(self.included, family)


def read() -> Lists:
    """Return the lists of the environment; end the process if one has a malformed item."""
    try:
        return Lists(
            families=tuple(sorted({ip_address(a).version for a in _items("POD_IPS")})),
            excluded=tuple(map(_range, _items("FSM_OUTBOUND_IP_RANGE_EXCLUSION_LIST"))),
            included=tuple(map(_range, _items("FSM_OUTBOUND_IP_RANGE_INCLUSION_LIST"))),
            outbound=tuple(map(_port, _items("FSM_OUTBOUND_PORT_EXCLUSION_LIST"))),
            inbound=tuple(map(_open_port, _items("FSM_INBOUND_PORT_EXCLUSION_LIST"))),
            interfaces=tuple(map(_interface, _items("FSM_NETWORK_INTERFACE_EXCLUSION_LIST"))),
        )
    except ValueError as why:
        sys.exit(f"refused: {why}")


def _items(variable: str) -> list[str]:
    text = os.environ.get(variable, "").strip()
    return [item.strip() for item in text.split(",")] if text else []


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def _open_port(text: str) -> int:
    port = _port(text)
    if port in (15000, 15001, 15003):
        raise ValueError(f"port {port} is the sidecar's own")
    return port


def _range(text: str) -> str:
    _, slash, prefix = text.partition("/")
    if not slash or not prefix.isdecimal():
        raise ValueError(f"{text!r} is not an address with a prefix length")
    return str(ip_network(text, strict=False))


def _interface(text: str) -> str:
    if not _INTERFACE.fullmatch(text):
        raise ValueError(f"{text!r} is not a valid interface name for a rule")
    return text


def _of(ranges: Iterable[str], family: int) -> tuple[str, ...]:
    return tuple(r for r in ranges if ip_network(r).version == family)

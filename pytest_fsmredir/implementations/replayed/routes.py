"""Turn listings of ``ip rule`` and ``ip route`` into commands that rebuild them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from ipaddress import ip_address, ip_network
from typing import Final

from pytest_fsmredir.errors import CaptureError
from pytest_fsmredir.model.listings import ROUTE_KINDS, word_after
from pytest_fsmredir.model.reserved import GATEWAY

_BY_KERNEL: Final = frozenset({"anycast", "multicast"})
_WITHOUT_DEVICE: Final = frozenset({"blackhole", "prohibit", "throw", "unreachable"})
_KEPT: Final = ("src", "table", "metric")
_PRIORITY = re.compile(r"(\d+):\s+(.*)")


def commands(
    listings: Mapping[str, str], family: int, devices: Collection[str], own: Collection[str]
) -> Iterator[str]:
    """Yield the lines for ``ip -batch`` that make the routes and routing rules of a pod.

    A route to other hosts gets our gateway in place of the captured one.

    Args:
        listings: The listings by name.
        family: IP version.
        devices: The interfaces of the pod, without ``lo``.
        own: The addresses of the pod.

    Raises:
        CaptureError: A line is malformed; the message names it.
    """
    if f"route{family}" in listings:
        yield "route flush table main"
        for number, line in enumerate(listings[f"route{family}"].splitlines(), 1):
            if line.strip():
                where = f"listings.route{family}, line {number}: {line.strip()!r}"
                yield from _route(line.split(), family, devices, own, where)
    if f"rule{family}" in listings:
        yield from _rules(listings[f"rule{family}"], family)


def _route(
    words: list[str], family: int, devices: Collection[str], own: Collection[str], where: str
) -> Iterator[str]:
    kind = words.pop(0) if words and words[0] in ROUTE_KINDS else "unicast"
    if not words or kind in _BY_KERNEL:
        return
    target = _target(words[0], family, where)
    device = word_after(words, "dev")
    kept = [text for name in _KEPT for text in _pair(words, name)]
    if kind in _WITHOUT_DEVICE:
        yield " ".join(["route replace", kind, target, *kept])
    elif kind != "unicast":
        if not _is_made(target, own) and device in ("lo", *devices):
            yield " ".join(["route replace", kind, target, "dev", device, *kept])
    elif not device:
        raise CaptureError(f"{where}: the route names no interface: 'dev' is missing")
    elif device in devices:
        on_link = family == 6 and target.startswith("fe80")
        hop = [] if on_link else ["via", GATEWAY[family]]
        flag = [] if on_link else ["onlink"]
        yield " ".join(["route replace", target, *hop, "dev", device, *flag, *kept])


def _target(text: str, family: int, where: str) -> str:
    if text == "default":
        return text
    try:
        network = ip_network(text, strict=False)
    except ValueError as why:
        raise CaptureError(f"{where}: {why}") from None
    if network.version != family:
        raise CaptureError(f"{where}: this is not a route of IPv{family}")
    return str(network)


def _is_made(target: str, own: Collection[str]) -> bool:
    """Whether the kernel makes the local route of an address by itself."""
    host = target.partition("/")[0]
    return host in own or (host != "default" and _is_special(host))


def _is_special(host: str) -> bool:
    address = ip_address(host)
    return address.is_loopback or address.is_link_local


def _rules(listing: str, family: int) -> Iterator[str]:
    del family  # both versions have the same syntax
    local = False
    yield "rule flush"
    for line in filter(str.strip, listing.splitlines()):
        found = _PRIORITY.fullmatch(line.strip())
        if found is None:
            raise CaptureError(f"listings: {line.strip()!r} is not a line of ip rule")
        words = [word for word in found[2].split() if not word.startswith("[")]
        if found[1] == "0" and words == ["from", "all", "lookup", "local"]:
            local = True
            continue
        yield " ".join(["rule add", *words, "priority", found[1]])
    if not local:
        yield "rule del priority 0"


def _pair(words: list[str], name: str) -> list[str]:
    value = word_after(words, name)
    return [name, value] if value else []

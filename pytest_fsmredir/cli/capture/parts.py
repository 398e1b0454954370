"""Choose what a file of a captured pod holds: no secret, no environment, no name of a host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pytest_fsmredir.model.capture import READ_BY_A_MESH, CapturedInterface
from pytest_fsmredir.model.listings import KEPT, nft_alone, nft_text, without_counters


def annotations_of(pod: Mapping[str, Any]) -> dict[str, str]:
    """Return the annotations of a Pod that a mesh reads."""
    given = pod.get("metadata", {}).get("annotations") or {}
    return {name: str(value) for name, value in given.items() if name in READ_BY_A_MESH}


def users_of(pod: Mapping[str, Any]) -> dict[str, int]:
    """Return the user ids that a Pod's specification gives its containers."""
    spec = pod.get("spec") or {}
    common = (spec.get("securityContext") or {}).get("runAsUser")
    found = {}
    for container in spec.get("containers") or ():
        own = (container.get("securityContext") or {}).get("runAsUser", common)
        if isinstance(own, int):
            found[str(container["name"])] = own
    return found


def name_of(pod: Mapping[str, Any]) -> str:
    """Return the name of a Pod, as ``NAMESPACE/NAME``; a stand-in if it has none."""
    metadata = pod.get("metadata", {})
    return f"{metadata.get('namespace', 'default')}/{metadata.get('name', 'pod')}"


def kept_listings(listings: Mapping[str, str]) -> dict[str, str]:
    """Return the listings that a file holds: without comments and counters, and no table twice.

    Raises:
        CaptureError: The listing of nft is malformed.
    """
    found = {name: _plain(name, listings.get(name, "")) for name in KEPT if name != "nft"}
    found["nft"] = nft_text(nft_alone(listings))
    return {name: text for name, text in found.items() if text.strip()}


def _plain(name: str, text: str) -> str:
    return without_counters(text) if name.startswith("iptables") else text


def interfaces_at(addresses: Iterable[str], name: str = "eth0") -> tuple[CapturedInterface, ...]:
    """Return one interface with some addresses; those without a prefix length get the longest."""
    full = tuple(a if "/" in a else f"{a}/{128 if ':' in a else 32}" for a in addresses)
    return (CapturedInterface(name, full),)

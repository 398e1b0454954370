"""Choose the programs that load the saved rules of a pod."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.listings import nft_alone, without_counters

RESTORE: Final = {
    "iptables4 nft": ("iptables-nft-restore",),
    "iptables6 nft": ("ip6tables-nft-restore",),
    "iptables4 legacy": ("iptables-legacy-restore", "--wait=5"),
    "iptables6 legacy": ("ip6tables-legacy-restore", "--wait=5"),
    "iptables4": ("iptables-restore", "--wait=5"),
    "iptables6": ("ip6tables-restore", "--wait=5"),
}
"""The program that loads each listing of iptables; the last two are of the machine's variant."""

_RULE = re.compile(r"-A ")
_EFFECT = re.compile(r"-A |:\S+ (-|DROP)")


def has_effect(listing: str) -> bool:
    """Whether a listing of iptables has a rule, a chain of its own or a policy that drops."""
    return any(map(_EFFECT.match, without_counters(listing).splitlines()))


def native(listings: Mapping[str, str]) -> str:
    """Return the input of ``nft -j -f`` for the tables that only nft lists; empty if none.

    Raises:
        CaptureError: The listing of nft is malformed.
    """
    made = [{"add": each} for each in nft_alone(listings)]
    return json.dumps({"nftables": made}) if made else ""


def variant_of(listings: Mapping[str, str]) -> IptablesVariant | None:
    """Return the variant of most rules; None if the listings do not tell."""
    rules = {kind: _count(listings, f" {kind}" if kind else "") for kind in ("nft", "legacy", "")}
    most = max(rules, key=lambda kind: rules[kind])
    if rules[most] == 0:
        return IptablesVariant.NATIVE if native(listings) else None
    return {"nft": IptablesVariant.NFT, "legacy": IptablesVariant.LEGACY}.get(most)


def _count(listings: Mapping[str, str], suffix: str) -> int:
    texts = [listings.get(f"iptables{family}{suffix}", "") for family in (4, 6)]
    lines = [line for text in texts for line in without_counters(text).splitlines()]
    return sum(_RULE.match(line) is not None for line in lines)

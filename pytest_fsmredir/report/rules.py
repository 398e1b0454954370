"""Report the use of the rules: hit, never hit, unreachable, redundant, and validated conditions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pytest_fsmredir.model.outcomes import Row, Variant
from pytest_fsmredir.model.rule_use import NamedRule, RuleUse

_NAMED_AT_MOST = 3


def uses(rows: Iterable[Row]) -> dict[Variant, RuleUse]:
    """Return the use of the rules of each variant whose rules were read, in order.

    A rule that packets of both IP versions pass is idle or redundant only if it is so in each of
    them that the run judged.
    """
    found: dict[Variant, list[RuleUse]] = {}
    for row in rows:
        if row.rules:
            found.setdefault(row.variant, []).extend(row.rules)
    joined = {variant: RuleUse.joined(found[variant]) for variant in sorted(found)}
    return {
        variant: use.judged_with(
            [other for at, other in joined.items() if at != variant and _alike(at, variant)]
        )
        for variant, use in joined.items()
    }


def _alike(one: Variant, other: Variant) -> bool:
    """Whether two points of the matrix differ in the IP version only."""
    return replace(one, family=other.family) == other


def rule_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield one line for each variant whose rules were read."""
    for variant, use in uses(rows).items():
        version = f"IPv{variant.family}"
        parts = [f"{len(use.hit)} of {use.rules} hit"]
        if use.missed:
            parts.append(f"{len(use.missed)} not hit ({_places(use.missed)})")
        if use.idle:
            verb = "acts" if len(use.idle) == 1 else "act"
            parts.append(f"{len(use.idle)} never {verb} ({_places(use.idle, version)})")
        if use.redundant:
            parts.append(f"{len(use.redundant)} redundant ({_places(use.redundant, version)})")
        if use.unknown:
            parts.append(f"which never act or are redundant is unknown: {use.unknown}")
        if use.unshown:
            parts.append(f"{use.shown} of {use.conditions} conditions validated")
        name = f"{variant.where} {variant.iptables} {version}"
        yield f"{name}: {'; '.join(parts)}"


def rules_document(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return the use of the rules as plain values, for the report."""
    return [
        {
            **variant_document(variant),
            "total": use.rules,
            "hit": len(use.hit),
            "matched": [_plain(rule) for rule in use.hit],
            "notHit": [_plain(rule) for rule in use.missed],
            "unreachable": [{**_plain(rule), "why": rule.why} for rule in use.idle],
            "redundant": [_plain(rule) for rule in use.redundant],
            "conditions": use.conditions,
            "validated": use.shown,
            "notValidated": list(use.unshown),
            **({"unknown": use.unknown} if use.unknown else {}),
        }
        for variant, use in uses(rows).items()
    ]


def variant_document(variant: Variant) -> dict[str, str]:
    """Return the point of the matrix as plain values."""
    return {
        "backend": variant.backend,
        **({"node": variant.node} if variant.node else {}),
        "variant": f"{variant.iptables}/v{variant.family}",
    }


def _places(rules: Sequence[NamedRule], version: str = "") -> str:
    """Name some rules.

    Args:
        rules: The rules.
        version: The IP version to which a statement about shared rules is limited; empty if there
            is no limit.
    """
    named = []
    for rule in rules[:_NAMED_AT_MOST]:
        place = f"{rule.place} in {version}" if rule.shared and version else rule.place
        named.append(f"{place}: {rule.why}" if rule.why else place)
    more = len(rules) - len(named)
    return ", ".join([*named, f"and {more} more"] if more else named)


def _plain(rule: NamedRule) -> dict[str, Any]:
    return {"chain": rule.chain, "number": rule.number, "rule": rule.text}

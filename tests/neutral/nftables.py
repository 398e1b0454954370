"""Native nftables: one table for both families, lists as sets, replaced in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from tests.neutral import lists
from tests.neutral.lists import Lists
from tests.neutral.tables import run

TABLE = "inet meshredirect"


def _set(name: str, kind: str, members: Sequence[object]) -> str:
    elements = f" elements = {{ {', '.join(map(str, members))} }};" if members else ""
    return f"set {name} {{ type {kind}; flags interval; auto-merge;{elements} }}"


def _family(wanted: Lists, family: int) -> tuple[list[str], list[str]]:
    """Return the sets of one family, and the rules that use them."""
    excluded, included = wanted.of(family)
    kind, word = ("ipv4_addr", "ip") if family == 4 else ("ipv6_addr", "ip6")
    sets = [_set(f"no{family}", kind, excluded), _set(f"yes{family}", kind, included)]
    rules = [f"{word} daddr @no{family} return"]
    if wanted.included:
        rules.append(f"{word} daddr @yes{family} meta l4proto tcp redirect to :15001")
    return sets, rules


def _interfaces(keyword: str, wanted: Lists) -> list[str]:
    names = ", ".join(f'"{name}"' for name in wanted.interfaces)
    return [f"{keyword} {{ {names} }} return"] if names else []


def ruleset(wanted: Lists) -> str:
    """Return the input of one transaction."""
    by_family = [_family(wanted, family) for family in wanted.families]
    sets = [one for family in by_family for one in family[0]]
    ranges = [rule for family in by_family for rule in family[1]]
    reserved = (15010, "15901-15904")
    lines = [
        f"table {TABLE} {{}}",
        f"delete table {TABLE}",
        f"table {TABLE} {{",
        *sets,
        _set("portsout", "inet_service", wanted.outbound),
        _set("portsin", "inet_service", (*reserved, *wanted.inbound)),
        "chain leaving { type nat hook output priority -95;",
        "meta l4proto != tcp return",
        'oif "lo" jump inside',
        'oif "lo" return',
        "meta skuid 1500 return",
        *_interfaces("oifname", wanted),
        "tcp dport @portsout return",
        *ranges,
        *([] if wanted.included else ["meta l4proto tcp redirect to :15001"]),
        "}",
        "chain inside {",
        "ip daddr 127.0.0.0/8 return",
        "ip6 daddr ::1 return",
        "meta skuid 1500 meta l4proto tcp redirect to :15003",
        "}",
        "chain entering { type nat hook prerouting priority -95;",
        "meta l4proto != tcp return",
        *_interfaces("iifname", wanted),
        "tcp dport @portsin return",
        "meta l4proto tcp redirect to :15003",
        "}",
        "chain stray { type filter hook input priority -5;",
        "meta l4proto tcp ct state invalid drop",
        "}",
        "}",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Program this network namespace."""
    run(["nft", "-f", "-"], ruleset(lists.read()))


if __name__ == "__main__":
    main()

"""Read the rules in force in a pod, with one command that runs there."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pytest_fsmredir.rules import nft_tables
from pytest_fsmredir.rules.chains import reject_cycles
from pytest_fsmredir.rules.errors import RulesError
from pytest_fsmredir.rules.lexer import lines_of
from pytest_fsmredir.rules.reading import Sorter
from pytest_fsmredir.rules.ruleset import RuleSet

_MARK: Final = "#fsmredir"
_SECTIONS: Final[Mapping[str, str]] = {
    "ipset": "ipset save",
    "iptables4 nft": "iptables-nft-save -c",
    "iptables6 nft": "ip6tables-nft-save -c",
    "iptables4 legacy": "iptables-legacy-save -c",
    "iptables6 legacy": "ip6tables-legacy-save -c",
    "legacy4": "lines_of /proc/net/ip_tables_names",
    "legacy6": "lines_of /proc/net/ip6_tables_names",
    "rule4": "ip -4 rule show",
    "rule6": "ip -6 rule show",
    "route4": "ip -4 route show table all",
    "route6": "ip -6 route show table all",
    "settings": "grep -H . /proc/sys/net/ipv4/conf/*/route_localnet"
    " /proc/sys/net/ipv4/conf/*/rp_filter",
    "links": "ip link show",
    "transforms": "ip xfrm policy",
    "neighbours": "ip neigh show nud permanent",
    "queues": "tc qdisc show",
    "nft": "nft -j list ruleset",
}
"""Listings by name, and the commands that print them."""

_FUNCTIONS: Final = r"""
lines_of() { while IFS= read -r line; do printf '%s\n' "$line"; done <"$1"; }
some_in() { [ -e "$1" ] && { [ ! -r "$1" ] || read -r line <"$1"; }; }
"""
"""Functions of the shell, which cost less than programs: print a file; ask whether one has a line,
or may have one."""

_ONLY_IF: Final = {
    "iptables4 legacy": "some_in /proc/net/ip_tables_names",
    "iptables6 legacy": "some_in /proc/net/ip6_tables_names",
}
"""When a listing can have any content: the kernel names the legacy tables in a file."""

PLAIN: Final = {
    "iptables4": "iptables-save -c",
    "iptables6": "ip6tables-save -c",
}
"""Commands that list the rules if no program has the name of its variant."""

_PLAIN_QUEUES: Final = frozenset({"noqueue", "noop", "pfifo_fast", "fq_codel", "fq", "mq"})
"""Queueing disciplines that the kernel sets by itself, without filters (tc(8))."""

_SHORT_LIVED: Final = re.compile(r" hoplimit ([1-9]|[1-5][0-9]|6[0-3])\b")
"""A route that lets packets live shorter than Linux does by itself (64 hops, ip-sysctl.rst)."""

_MISSING: Final = 127
_VERSIONS: Final = {"ip": (4,), "ip6": (6,), "inet": (4, 6), "bridge": (4, 6), "netdev": (4, 6)}


def command(
    python: str = sys.executable, more: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """Return the command to run in the pod; it prints every available listing.

    Args:
        python: The program that names the tables of nft if the program ``nft`` fails.
        more: Further listings by name, and the commands that print them; :func:`read` does not
            know them.
    """
    tables = Path(nft_tables.__file__).read_text(encoding="utf-8")
    lines = [
        _FUNCTIONS,
        # List each variant with its own programs, or with the plain ones if there are no others.
        "command -v iptables-nft-save >/dev/null || command -v iptables-legacy-save >/dev/null ||"
        " plain=1",
        *(_printing(name, words) for name, words in {**more, **_SECTIONS}.items()),
        "nft=$status",
        'if [ -n "$plain" ]; then :',
        *(_printing(name, words) for name, words in PLAIN.items()),
        "fi",
        'if [ "$nft" != 0 ]; then :',
        _printing("tables", f"{shlex.quote(python)} -I -S -c {shlex.quote(tables)}"),
        "fi",
        "exit 0",
    ]
    return ["/bin/sh", "-c", "\n".join(lines)]


def recounting(printed: str) -> list[str]:
    """Return the command that prints again the listings that contain rules, with their counters.

    Args:
        printed: What the command of :func:`command` printed.
    """
    known = {**_SECTIONS, **PLAIN}
    lines = [
        _printing(name, known[name])
        for name, text in sections(printed).items()
        if name in known and ("-A " in text or '{"rule"' in text)
    ]
    return ["/bin/sh", "-c", "\n".join([_FUNCTIONS, *lines, "exit 0"])]


def _printing(name: str, words: str) -> str:
    program, only_if = words.split()[0], _ONLY_IF.get(name)
    words = f"{words} 2>/dev/null; status=$?"
    if only_if:
        words = f"status=0; if {only_if}; then {words}; fi"
    return (
        f"printf '\\n{_MARK} {name}\\n'; status={_MISSING};"
        f" if command -v {program} >/dev/null; then {words}; fi;"
        f" printf '\\n{_MARK} status %s\\n' $status"
    )


def read(printed: str) -> RuleSet:
    """Return the rules in the output of the command.

    The remarks of the result name the listings that failed.

    Args:
        printed: What the command printed.

    Raises:
        RulesError: A listing cannot be read.
    """
    sections, statuses = _divided(printed)
    sorter = Sorter(4)
    for name, text in sections.items():
        _sort(sorter, name, text)
    found = sorter.rules()
    for family in (4, 6):
        if not _lists_iptables(sections, statuses, family):
            found.unread[family] = [f"the rules of iptables for IPv{family} were not listed"]
            found.remarks += found.unread[family]
    found.remarks += [*_unread(statuses), *_outside_the_model(sections)]
    if statuses.get("nft", _MISSING) != 0:
        tables = sections.get("tables", "") if statuses.get("tables") == 0 else None
        _note_unlisted(tables, statuses, found)
    reject_cycles(found)
    return found


def require_read(rules: RuleSet, family: int) -> None:
    """Require that no rule of an IP version can be missing: nothing is blamed on a part of them.

    Raises:
        RulesError: A program that lists rules is missing or failed.
    """
    if why := rules.unread.get(family):
        raise RulesError("; ".join(why))


def sections(printed: str) -> dict[str, str]:
    """Return the output of each program that the command started, by name."""
    return _divided(printed)[0]


def _divided(printed: str) -> tuple[dict[str, str], dict[str, int]]:
    sections: dict[str, str] = {}
    statuses: dict[str, int] = {}
    parts = re.split(rf"^{_MARK} (.*)$", printed, flags=re.MULTILINE)
    name = ""
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        if heading.startswith("status "):
            statuses[name] = int(heading.split()[1])
        else:
            name = heading
            sections[name] = text.strip("\n")
    return sections, statuses


def _sort(sorter: Sorter, name: str, text: str) -> None:
    kind = name.rstrip("46").split()[0].rstrip("46")
    family = 6 if "6" in name else 4
    if kind == "nft":
        sorter.add_json(text)
        return
    for number, line in enumerate(lines_of(text), 1):
        if not line.strip():
            continue
        match kind:
            case "iptables":
                sorter.add_rule(number, line, family, name)
            case "rule":
                sorter.add_policy(number, line, family)
            case "route":
                sorter.add_route(number, line, family)
            case "legacy" | "tables":  # names of tables, whose rules no program lists
                return
            case "transforms" | "neighbours" | "queues" | "links":
                return
            case "settings":
                path, _, value = line.partition(":")
                sorter.settings[path.removeprefix("/proc/sys/").replace("/", ".")] = value
            case _:
                sorter.take(number, line)


def _note_unlisted(tables: str | None, statuses: Mapping[str, int], found: RuleSet) -> None:
    """Note the tables that no listing shows."""
    if tables is None:
        remark = "tables of nft were not listed: nft is missing in the pod, or it failed"
        found.remarks.append(remark)
        for family in (4, 6):
            # Legacy programs succeed without any right, and list nothing of nft.
            names = (f"iptables{family} nft", f"iptables{family}")
            if not any(statuses.get(name) == 0 for name in names):
                found.unread.setdefault(family, []).append(remark)
        return
    shown = {
        f"{'ip' if chain.families == (4,) else 'ip6'} {chain.table}"
        for chain in found.chains.values()
        if "nft" in chain.origin
    }
    for name in sorted(set(tables.split("\n")) - shown - {""}):
        remark = f"the table {name} of nft was not listed: nft is missing"
        found.remarks.append(remark)
        for family in _VERSIONS.get(name.split()[0], ()):
            found.unread.setdefault(family, []).append(remark)


def _outside_the_model(sections: Mapping[str, str]) -> list[str]:
    """Return remarks about what can stop a packet and is not a rule or a route."""
    remarks = [
        f"a policy of ip xfrm is not modelled: {line.strip()}"
        for line in sections.get("transforms", "").splitlines()[:1]
    ]
    routes = f"{sections.get('route4', '')} {sections.get('route6', '')}".split()
    gateways = {address for via, address in pairwise(routes) if via == "via"}
    # A wrong entry of a gateway stops every flow, which packets show.
    remarks += [
        f"a permanent neighbour is not modelled: {line.strip()}"
        for line in sections.get("neighbours", "").splitlines()
        if line.split()[:1] and line.split()[0] not in gateways
    ][:1]
    remarks += [
        f"an eBPF program at an interface is not modelled: {line.strip()}"
        for line in sections.get("links", "").splitlines()
        if re.search(r"\bprog/xdp\b|\bxdp", line)
    ]
    remarks += [
        f"a route that changes its packets is not modelled: {line.strip()}"
        for name in ("route4", "route6")
        for line in sections.get(name, "").splitlines()
        if " encap " in line or _SHORT_LIVED.search(line)
    ]
    for line in sections.get("queues", "").splitlines():
        kind = line.split()[1:2]
        if kind and kind[0] not in _PLAIN_QUEUES:
            remarks.append(f"a queue of tc is not modelled: {line.strip()}")
    return remarks


def _lists_iptables(sections: Mapping[str, str], statuses: Mapping[str, int], family: int) -> bool:
    """Whether a program listed the rules of iptables for an IP version.

    Without a program of iptables: nft lists all tables but legacy ones, which the kernel names in a
    file that is missing where it has none.
    """
    legacy = f"legacy{family}"
    natively = statuses.get("nft") == 0 and legacy in sections and not sections[legacy].strip()
    return natively or any(
        f"iptables{family}" in name and status == 0 for name, status in statuses.items()
    )


def _unread(statuses: Mapping[str, int]) -> list[str]:
    remarks = [
        f"'{_SECTIONS[name]}' failed in the pod"
        for name in ("rule4", "route4")
        if statuses.get(name) != 0
    ]
    for name in ("links", "transforms", "neighbours", "queues", "settings"):
        if statuses.get(name, 0) != 0:
            remarks.append(f"'{_SECTIONS[name]}' failed in the pod")
    return remarks


__all__ = ["RulesError", "command", "read", "recounting", "require_read"]

"""The commands of ``repro.sh`` that load the rules of a pod: listings, sets and routing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pytest_fsmredir.rules.why.blame import Place
from pytest_fsmredir.rules.why.case import Case
from pytest_fsmredir.rules.why.pathline import shown

_BUILT_IN: Final = re.compile(
    r"^:(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) ACCEPT .*\n", re.MULTILINE
)
_COUNTERS: Final = re.compile(r"^\[\d+:\d+\] ", re.MULTILINE)
_CHAIN_COUNTERS: Final = re.compile(r"^(:\S+ \S+) \[\d+:\d+\]$", re.MULTILINE)
_GENERATED: Final = re.compile(r"^#.*(?:\n|$)", re.MULTILINE)
_TABLES: Final = re.compile(r" table (?!(?:local|main|default)\b)\S+")
_POLICY: Final = re.compile(r"(\d+):\s+(.*)")
_USUAL: Final = frozenset({"0", "32766", "32767"})
"""Priorities of the routing rules that every namespace has (ip-rule(8))."""

Blocks = dict[str, str]
"""Each command that loads rules, and its input."""


def blocks(listings: Mapping[str, str], family: int) -> Blocks:
    """Return each command that loads rules, and its input."""
    return dict(_blocks(listings, family))


def _blocks(listings: Mapping[str, str], family: int) -> Iterator[tuple[str, str]]:
    program = "iptables" if family == 4 else "ip6tables"
    texts = {v: _plain(listings.get(f"iptables{family} {v}", "")) for v in ("nft", "legacy")}
    loaded = {variant: text for variant, text in texts.items() if "\n-A " in f"\n{text}"}
    if any("--match-set" in text for text in loaded.values()):
        yield "ipset restore", listings.get("ipset", "").strip()
    for variant, text in loaded.items():
        yield f"{program}-{variant}-restore", text
    if native := listings.get("native", "").strip():
        yield "nft -f -", native


def _plain(text: str) -> str:
    """Return a listing without counters, comments, and built-in chains of the usual policy."""
    bare = _COUNTERS.sub("", _CHAIN_COUNTERS.sub(r"\1 [0:0]", text))
    return _BUILT_IN.sub("", _GENERATED.sub("", bare)).strip()


def routing(listings: Mapping[str, str], family: int) -> list[str]:
    """Return the commands that add the pod's routing rules, and the routes in tables of its own."""
    program = f"ip -{family}"
    routes = [
        f"{program} route add {line.strip()}"
        for line in listings.get(f"route{family}", "").splitlines()
        if _TABLES.search(line) and " via " not in line  # the script has no gateway
    ]
    rules = [
        f"{program} rule add {found[2].strip()} priority {found[1]}"
        for line in listings.get(f"rule{family}", "").splitlines()
        if (found := _POLICY.match(line.strip())) and found[1] not in _USUAL
    ]
    return [*routes, *rules]


def without_idle(given: Blocks, case: Case, places: Iterable[Place]) -> tuple[Blocks, int]:
    """Leave out rules that do not match the flow and are not near; return their number.

    Rules behind the one that decides stay, because the flow meets them once the bug is gone.
    """
    named = {place.key for place in places}
    rules = [asked.rule for asked in shown(case, named)]
    for chain, rule in case.every():
        if Place(chain, rule.number).key in named or not case.failing(rule):
            rules.append(rule)
    kept = {_COUNTERS.sub("", rule.text) for rule in rules}
    found: Blocks = {}
    left_out = 0
    for command, text in given.items():
        lines = text.splitlines()
        if "-restore" not in command:
            found[command] = text
            continue
        own = [line for line in lines if line.startswith("-A ")]
        needed = [line for line in own if line in kept]
        left_out += len(own) - len(needed)
        found[command] = "\n".join(_used(lines, needed))
    return found, left_out


def _used(lines: Iterable[str], rules: list[str]) -> Iterator[str]:
    """Yield the lines of a listing that some of its rules need."""
    chains = {word for rule in rules for word in rule.split()}
    for line in lines:
        if line.startswith("-A "):
            needed = line in rules
        elif line.startswith(":"):
            needed = not line.endswith(" - [0:0]") or line[1:].split()[0] in chains
        else:
            needed = True
        if needed:
            yield line

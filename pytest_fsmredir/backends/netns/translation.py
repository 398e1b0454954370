"""Translate the checks' foreign rules from iptables to nft, for a machine without iptables.

It supports only the options that the checks use. ``iptables-translate`` supports all of them, but
is part of iptables. As a program it takes an IP version, and either the arguments of an iptables
command that appends a rule or, on standard input, the input of iptables-restore.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence

_HOOKS = {
    # (table, chain): type, hook and priority of the base chain, as in iptables
    ("raw", "PREROUTING"): "filter hook prerouting priority -300",
    ("raw", "OUTPUT"): "filter hook output priority -300",
    ("mangle", "PREROUTING"): "filter hook prerouting priority -150",
    ("mangle", "INPUT"): "filter hook input priority -150",
    ("mangle", "FORWARD"): "filter hook forward priority -150",
    ("mangle", "OUTPUT"): "route hook output priority -150",
    ("mangle", "POSTROUTING"): "filter hook postrouting priority -150",
    ("nat", "PREROUTING"): "nat hook prerouting priority -100",
    ("nat", "INPUT"): "nat hook input priority 100",
    ("nat", "OUTPUT"): "nat hook output priority -100",
    ("nat", "POSTROUTING"): "nat hook postrouting priority 100",
    ("filter", "INPUT"): "filter hook input priority 0",
    ("filter", "FORWARD"): "filter hook forward priority 0",
    ("filter", "OUTPUT"): "filter hook output priority 0",
}
_MATCHES = {
    "-p": "meta l4proto {not_}{value}",
    "-s": "{ip} saddr {not_}{value}",
    "-d": "{ip} daddr {not_}{value}",
    "--dport": "th dport {not_}{value}",
    "--sport": "th sport {not_}{value}",
    "--uid-owner": "meta skuid {not_}{value}",
    "--gid-owner": "meta skgid {not_}{value}",
    "--mark": "meta mark {not_}{value}",
    "--ctstate": "ct state {not_}{value}",
}
_TARGETS = {
    "ACCEPT": "accept",
    "DROP": "drop",
    "RETURN": "return",
    "REJECT": "reject",
    "REJECT --reject-with tcp-reset": "reject with tcp reset",
    "MASQUERADE": "masquerade",
    "CT --notrack": "notrack",
}
_TARGETS_WITH_A_VALUE = {
    "MARK --set-mark": "meta mark set {value}",
    "REDIRECT --to-ports": "redirect to :{value}",
    "DNAT --to-destination": "dnat to {value}",
    "SNAT --to-source": "snat to {value}",
}


class UnknownWordError(ValueError):
    """A rule contains an unsupported word."""


def translated(text: str, family: int) -> str:
    """Return input of ``nft -f`` that adds rules as ``iptables-restore --noflush`` would.

    Args:
        text: Input of iptables-restore.
        family: IP version.

    Raises:
        UnknownWordError: A rule contains an unsupported word.
    """
    ip, table, lines = {4: "ip", 6: "ip6"}[family], "", []
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
            lines.append(f"add table {ip} others_{table}")
        elif line.startswith(":"):
            lines += _chain(ip, table, *line[1:].split()[:2])
        elif line.startswith("-A "):
            chain, *words = shlex.split(line)[1:]
            lines += _chain(ip, table, chain)
            lines.append(f"add rule {ip} others_{table} {chain} {' '.join(_rule(words, ip))}")
        elif line.strip() and line != "COMMIT":
            raise UnknownWordError(line)
    return "\n".join([*lines, ""])


def _chain(ip: str, table: str, chain: str, policy: str = "-") -> list[str]:
    hook = _HOOKS.get((table, chain), "")
    decided = f" policy {policy.lower()};" if policy != "-" else ""
    base = f" {{ type {hook};{decided} }}" if hook else ""
    return [f"add chain {ip} others_{table} {chain}{base}"]


def _rule(words: list[str], ip: str) -> Iterator[str]:
    rest = list(words)
    while rest:
        word = rest.pop(0)
        inverted = word == "!"
        word = rest.pop(0) if inverted else word
        if word == "-m":
            rest.pop(0)
        elif word == "--syn":
            yield "tcp flags & (fin|syn|rst|ack) == syn"
        elif word == "-j":
            yield _target(rest)
            return
        elif word in _MATCHES:
            not_ = "!= " if inverted else ""
            yield _MATCHES[word].format(not_=not_, ip=ip, value=rest.pop(0).lower())
        else:
            raise UnknownWordError(word)


def _target(words: list[str]) -> str:
    whole = " ".join(words)
    if whole in _TARGETS:
        return _TARGETS[whole]
    name, _, value = whole.rpartition(" ")
    if name in _TARGETS_WITH_A_VALUE:
        return _TARGETS_WITH_A_VALUE[name].format(value=value)
    if len(words) == 1 and words[0] not in ("LOG", "MARK", "CT"):
        return f"jump {whole}"
    raise UnknownWordError(whole)


def main(argv: Sequence[str]) -> int:
    """Print the nft rules for the arguments or standard input."""
    family, *words = argv
    appended = words[:1] == ["-t"]
    text = f"*{words[1]}\n{shlex.join(words[2:])}\n" if appended else sys.stdin.read()
    try:
        sys.stdout.write(translated(text, int(family)))
    except UnknownWordError as why:
        sys.stderr.write(f"this rule cannot be translated to nft: {why}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

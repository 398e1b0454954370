"""Convert iptables targets (the words after ``-j``) to actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pytest_fsmredir.rules.forms import (
    Accept,
    Action,
    Alter,
    Copy,
    Destination,
    Drop,
    Field,
    Opaque,
    Redirect,
    Reject,
    Return,
    Source,
    Tproxy,
    Untrack,
    Write,
)
from pytest_fsmredir.rules.vocabulary import DSCP, address, integer, named

_ALL = 2**32 - 1
LISTENED: Final = ("0.0.0.0", "127.0.0.1", "::", "::1")  # noqa: S104
"""Addresses that lead TPROXY to a listener on every address."""

Options = Mapping[str, str]
"""Values of a target's options by name; the empty string if an option has no value."""

Read = Callable[[Options], tuple[Action, ...]]

SILENT: Final = frozenset(
    {
        "AUDIT", "CHECKSUM", "CLASSIFY", "CONNSECMARK", "IDLETIMER", "LED", "LOG", "NFLOG",
        "RATEEST", "SECMARK", "SET", "TRACE", "ULOG",
    }
)  # fmt: skip
"""Targets that do not change the packet. A set that a target fills counts as varying."""


def options_of(words: Sequence[str]) -> dict[str, str]:
    """Return the options in a target's words."""
    found: dict[str, str] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name = word
            found[name] = ""
        elif name:
            found[name] = f"{found[name]} {word}".strip()
    return found


def actions_of(target: str, options: Options) -> tuple[Action, ...]:
    """Return the actions of a target that is not a chain.

    Raises:
        ValueError: A value is malformed.
    """
    if target == "SET" and any(option.startswith("--map-") for option in options):
        return (Opaque("-j SET with the marks of a set"),)
    if target in SILENT:
        return ()
    read = _TARGETS.get(target)
    return (Opaque(f"-j {target}"),) if read is None else read(options)


def _masked(text: str) -> tuple[int, int]:
    value, slash, mask = text.partition("/")
    return integer(value), integer(mask) if slash else _ALL


def _marking(name: Field) -> Read:
    def read(options: Options) -> tuple[Action, ...]:
        for option, text in options.items():
            match option:
                case "--set-xmark":
                    value, mask = _masked(text)
                    return (Write(name, value, mask),)
                case "--set-mark":  # clears the value's bits as well (iptables-extensions(8))
                    value, mask = _masked(text)
                    return (Write(name, value, mask | value),)
                case "--and-mark":
                    return (Write(name, 0, ~integer(text) & _ALL),)
                case "--or-mark":
                    return (Write(name, integer(text), integer(text)),)
                case "--xor-mark":
                    return (Write(name, integer(text), 0),)
                case "--save-mark" | "--restore-mark":
                    return _copying(option == "--save-mark", options)
        return (Opaque(f"a mark by {' '.join(options)}"),)

    return read


def _copying(save: bool, options: Options) -> tuple[Action, ...]:
    names = ("--nfmask", "--ctmask", "--mask")
    masks = {integer(options[name]) for name in names if name in options} or {_ALL}
    if len(masks) > 1:
        return (Opaque("CONNMARK with two masks"),)
    ends = (Field.MARK, Field.CONNECTION_MARK)
    source, target = ends if save else ends[::-1]
    return (Copy(source, target, masks.pop()),)


def _redirect(options: Options) -> tuple[Action, ...]:
    text = options.get("--to-ports", options.get("--to-port", ""))
    if "-" in text:
        return (Opaque(f"REDIRECT to one of the ports {text}"),)
    return (Redirect(integer(text) if text else None),)


def _destination(options: Options) -> tuple[Action, ...]:
    text = options.get("--to-destination", "")
    host, port = split_target(text)
    if "-" in host or "-" in port or "/" in port:
        return (Opaque(f"DNAT to one of {text}"),)
    return (Destination(address(host) if host else None, integer(port) if port else None),)


def split_target(text: str) -> tuple[str, str]:
    """Return the host and the port of ``HOST``, ``:PORT``, ``HOST:PORT`` or ``[HOST]:PORT``."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":")
    if text.count(":") > 1:
        return text, ""
    host, _, port = text.partition(":")
    return host, port


def _tproxy(options: Options) -> tuple[Action, ...]:
    port = integer(options.get("--on-port", "0"))
    if options.get("--on-ip", LISTENED[0]) not in LISTENED:
        return (Opaque(f"TPROXY to {options['--on-ip']}"),)
    writes: tuple[Action, ...] = ()
    if "--tproxy-mark" in options:
        value, mask = _masked(options["--tproxy-mark"])
        writes = (Write(Field.MARK, value, mask),)
    return (*writes, Tproxy(port or None, ends=True))


def _ttl(options: Options) -> tuple[Action, ...]:
    for option, text in options.items():
        if option in {"--ttl-set", "--hl-set"}:
            return (Write(Field.TTL, integer(text), 0xFF),)
    return (Alter("the TTL"),)


def _tos(options: Options) -> tuple[Action, ...]:
    value, mask = _masked(options.get("--set-tos", "0"))
    return (Write(Field.TOS, value & 0xFF, mask & 0xFF),)


def _dscp(options: Options) -> tuple[Action, ...]:
    text = options.get("--set-dscp", options.get("--set-dscp-class", "0"))
    return (Write(Field.TOS, named(text, DSCP) << 2, 0xFC),)


def _tracking(options: Options) -> tuple[Action, ...]:
    if "--notrack" in options:
        return (Untrack(),)
    # A zone of one direction alone hides the answers, or finds those of another connection.
    zones = any(option.startswith("--zone") for option in options)
    return (Opaque(f"CT {' '.join(options)}"),) if zones else ()


def _fixed(*actions: Action) -> Read:
    return lambda _options: actions


_TARGETS: Final[Mapping[str, Read]] = {
    "ACCEPT": _fixed(Accept()),
    "DROP": _fixed(Drop()),
    "REJECT": lambda options: (Reject(options.get("--reject-with", "")),),
    "RETURN": _fixed(Return()),
    "MARK": _marking(Field.MARK),
    "CONNMARK": _marking(Field.CONNECTION_MARK),
    "REDIRECT": _redirect,
    "DNAT": _destination,
    "SNAT": lambda options: (Source(f"SNAT to {options.get('--to-source', '')}"),),
    "MASQUERADE": _fixed(Source("MASQUERADE")),
    "TPROXY": _tproxy,
    "TTL": _ttl,
    "HL": _ttl,
    "TOS": _tos,
    "DSCP": _dscp,
    "ECN": _fixed(Alter("the ECN bits")),
    "TCPMSS": _fixed(Alter("the maximum segment size")),
    "TCPOPTSTRIP": _fixed(Alter("the TCP options")),
    "CT": _tracking,
    "NOTRACK": _fixed(Untrack()),
}

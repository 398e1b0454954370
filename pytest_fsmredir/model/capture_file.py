"""Read and write the file of a captured pod: plain YAML with a version."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import yaml

from pytest_fsmredir.errors import CaptureError, ConfigurationError
from pytest_fsmredir.model.capture import Capture, CapturedInterface, CapturedListener
from pytest_fsmredir.model.configuration import parse_interface
from pytest_fsmredir.model.listings import KEPT

VERSION: Final = 1
TAKEN_FROM: Final = ("pod", "node", "files")
_LONGEST: Final = 64 * 1024 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*/[a-z0-9][a-z0-9.-]*")
_SETTING = re.compile(r"net(\.[A-Za-z0-9_@/-]+){2,8}")
_HIGHEST_UID = 2**32 - 2
_CUT_OFF = "its last key leftOut, so it may be cut off"
_OF_IPTABLES = re.compile(r"\*\S+|:\S+ \S+.*|(\[\d+:\d+\] )?-\S+ .*|COMMIT|#.*|")

T = TypeVar("T")


def looks_like_capture(file: Path) -> bool:
    """Whether a file begins like the file of a captured pod."""
    try:
        with file.open("rb") as opened:
            head = opened.read(4096)
    except OSError:
        return False
    return re.search(rb"^fsmredir-capture:", head, re.MULTILINE) is not None


def read_capture(file: Path) -> Capture:
    """Return the captured pod in a file.

    Raises:
        CaptureError: It cannot be read; the message names the file, the line and the key.
    """
    try:
        if file.is_file() and file.stat().st_size > _LONGEST:
            raise CaptureError(f"{file}: the file is longer than {_LONGEST} bytes")
        text = file.read_text(encoding="utf-8")
    except OSError as why:
        raise CaptureError(f"{file}: {why.strerror}") from None
    except UnicodeDecodeError:
        raise CaptureError(f"{file}: it is not UTF-8 text: capture the pod again") from None
    try:
        return parse_capture(text)
    except CaptureError as why:
        raise CaptureError(f"{file}: {why}") from None


def parse_capture(text: str) -> Capture:
    """Return the captured pod in a text.

    Raises:
        CaptureError: It is malformed; the message names the line and the key.
    """
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as why:
        mark = getattr(why, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        what = getattr(why, "problem", None) or str(why)
        raise CaptureError(f"{where}it is not YAML: {what}") from None
    if root is None:
        raise CaptureError("it is empty: give a file that the command capture wrote")
    return _capture(root)


def capture_text(capture: Capture) -> str:
    """Return the text of the file of a captured pod."""
    document: dict[str, Any] = {
        "fsmredir-capture": VERSION,
        "pod": capture.pod,
        "takenFrom": capture.taken_from,
        "redacted": capture.redacted,
        "interfaces": [
            {"name": each.name, "addresses": list(each.addresses)} for each in capture.interfaces
        ],
        "users": dict(capture.users),
        "listeners": [
            {"address": each.address, "port": each.port, "uid": each.uid}
            for each in capture.listeners
        ],
        "annotations": dict(capture.annotations),
        "meshConfig": {name: list(values) for name, values in capture.traffic.items()},
        "settings": dict(capture.settings),
        "listings": {name: _Block(_plain(text)) for name, text in capture.listings.items()},
        "leftOut": list(capture.left_out),
    }
    return yaml.dump(document, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=100)


class _Block(str):
    """A text of several lines."""

    __slots__ = ()


class _Writer(yaml.SafeDumper):
    """Writes texts of several lines as they are."""


def _represent_block(writer: yaml.SafeDumper, text: _Block) -> yaml.ScalarNode:
    return writer.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")


_Writer.add_representer(_Block, _represent_block)


def _plain(text: str) -> str:
    """Return a listing without tabs and trailing blanks, which YAML would have to escape."""
    lines = [line.expandtabs(1).rstrip() for line in text.strip("\n").split("\n")]
    return "\n".join([*lines, ""])


def _capture(root: yaml.Node) -> Capture:
    if not isinstance(root, yaml.MappingNode):
        _fail(root, "", "this is not a captured pod: give a file that the command capture wrote")
    known: dict[str, Callable[[yaml.Node, str], Any]] = {
        "fsmredir-capture": _version,
        "pod": _pod,
        "takenFrom": _taken_from,
        "redacted": _flag,
        "interfaces": _list_of(_interface),
        "users": _mapping_of(_uid),
        "listeners": _list_of(_listener),
        "annotations": _mapping_of(_text),
        "meshConfig": _mapping_of(_list_of(_scalar)),
        "settings": _settings,
        "listings": _listings,
        "leftOut": _list_of(_text),
    }
    found = _fields(root, "", known, required=("fsmredir-capture", "pod", "interfaces"))
    interfaces: tuple[CapturedInterface, ...] = found["interfaces"]
    if not interfaces or not interfaces[0].addresses:
        _fail(root, "interfaces", "the pod has no address: name its primary interface first")
    _require_different(root, interfaces)
    capture = Capture(
        pod=found["pod"],
        taken_from=found.get("takenFrom", "files"),
        redacted=found.get("redacted", False),
        interfaces=interfaces,
        users=found.get("users", {}),
        listeners=found.get("listeners", ()),
        annotations=found.get("annotations", {}),
        traffic=found.get("meshConfig", {}),
        settings=found.get("settings", {}),
        listings=found.get("listings", {}),
        left_out=found.get("leftOut", (_CUT_OFF,)),
    )
    try:
        capture.configuration.policy()
    except ConfigurationError as why:
        raise CaptureError(f"{why}; correct the list, or take it out of the file") from None
    return capture


def _fields(
    node: yaml.Node,
    path: str,
    known: Mapping[str, Callable[[yaml.Node, str], Any]],
    required: Sequence[str],
) -> dict[str, Any]:
    """Return the values of a mapping whose keys are known."""
    found: dict[str, Any] = {}
    for key, value in _pairs(node, path).items():
        if key not in known:
            _fail(value, path, f"there is no key {key!r}; known: {', '.join(known)}")
        found[key] = known[key](value, f"{path}.{key}" if path else key)
    for key in required:
        if key not in found:
            _fail(node, path, f"the key {key!r} is missing")
    return found


def _pairs(node: yaml.Node, path: str) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        _fail(node, path, "this is not a mapping: write one 'key: value' a line")
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = _text(key, path)
        if name in found:
            _fail(key, path, f"the key {name!r} is given twice: keep one")
        found[name] = value
    return found


def _list_of(read: Callable[[yaml.Node, str], T]) -> Callable[[yaml.Node, str], tuple[T, ...]]:
    def reading(node: yaml.Node, path: str) -> tuple[T, ...]:
        if not isinstance(node, yaml.SequenceNode):
            _fail(node, path, "this is not a list: put its items in brackets")
        return tuple(read(item, f"{path}[{number}]") for number, item in enumerate(node.value))

    return reading


def _mapping_of(read: Callable[[yaml.Node, str], T]) -> Callable[[yaml.Node, str], dict[str, T]]:
    def reading(node: yaml.Node, path: str) -> dict[str, T]:
        return {key: read(value, f"{path}.{key}") for key, value in _pairs(node, path).items()}

    return reading


def _version(node: yaml.Node, path: str) -> int:
    number = _number(node, path, 10**6)
    if number != VERSION:
        _fail(
            node, path, f"{number} is not a known version (known: {VERSION}): upgrade this package"
        )
    return number


def _pod(node: yaml.Node, path: str) -> str:
    text = _text(node, path)
    if not _NAME.fullmatch(text):
        _fail(node, path, f"{text!r} is not NAMESPACE/NAME")
    return text


def _taken_from(node: yaml.Node, path: str) -> str:
    text = _text(node, path)
    if text not in TAKEN_FROM:
        _fail(node, path, f"{text!r} is not one of {', '.join(TAKEN_FROM)}")
    return text


def _interface(node: yaml.Node, path: str) -> CapturedInterface:
    found = _fields(
        node,
        path,
        {"name": _interface_name, "addresses": _list_of(_address)},
        required=("name", "addresses"),
    )
    return CapturedInterface(found["name"], found["addresses"])


def _interface_name(node: yaml.Node, path: str) -> str:
    text = _text(node, path)
    if text == "lo":
        _fail(node, path, "'lo' is always there: leave it out")
    try:
        return parse_interface(text)
    except ValueError as why:
        _fail(node, path, f"{text!r} {why}")


def _address(node: yaml.Node, path: str) -> str:
    text = _text(node, path)
    if "/" in text and "%" not in text:
        with suppress(ValueError):
            found = ip_interface(text)
            if found.ip.is_loopback or found.ip.is_multicast or found.ip.is_unspecified:
                _fail(node, path, f"{text!r} is no address of a pod: leave it out")
            return str(found)
    _fail(node, path, f"{text!r} is not an address with a prefix length, such as 10.1.2.3/24")


def _require_different(root: yaml.Node, interfaces: Sequence[CapturedInterface]) -> None:
    """Require that no name and no address belongs to two interfaces."""
    names = [each.name for each in interfaces]
    hosts = [host for each in interfaces for host in each.hosts]
    for kind, every in (("interface", names), ("address", hosts)):
        if twice := [each for each in every if every.count(each) > 1]:
            _fail(root, "interfaces", f"the {kind} {twice[0]!r} is there twice: keep one")


def _listings(node: yaml.Node, path: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in _pairs(node, path).items():
        if name not in KEPT:
            _fail(value, path, f"there is no listing {name!r}; known: {', '.join(KEPT)}")
        found[name] = _text(value, f"{path}.{name}")
        if name.startswith("iptables"):
            _require_whole(value, f"{path}.{name}", found[name])
    return found


def _require_whole(node: yaml.Node, path: str, listing: str) -> None:
    """Require that each line is one of ``iptables-save``, and that no table is cut off."""
    table = ""
    for number, line in enumerate(map(str.strip, listing.splitlines()), 1):
        where = f"{path}, line {number} of the listing"
        if not _OF_IPTABLES.fullmatch(line):
            _fail(node, where, f"{line!r} is not a line of iptables-save")
        if line.startswith("*"):
            table = line
        elif line == "COMMIT":
            table = ""
        elif not table and line and not line.startswith("#"):
            _fail(node, where, f"{line!r} is in no table: the line *TABLE before it is missing")
    if table:
        _fail(node, path, f"the table {table[1:]} does not end with COMMIT: the file is cut off")


def _listener(node: yaml.Node, path: str) -> CapturedListener:
    found = _fields(
        node, path, {"address": _host, "port": _port, "uid": _uid}, ("address", "port", "uid")
    )
    return CapturedListener(found["address"], found["port"], found["uid"])


def _host(node: yaml.Node, path: str) -> str:
    text = _text(node, path)
    try:
        return str(ip_address(text))
    except ValueError:
        _fail(node, path, f"{text!r} is not an IP address")


def _settings(node: yaml.Node, path: str) -> dict[str, str]:
    found = _mapping_of(_text)(node, path)
    for (name, value), (key, _) in zip(found.items(), node.value, strict=True):
        if not _SETTING.fullmatch(name) or ".." in name:
            _fail(key, path, f"{name!r} is not a kernel setting such as net.ipv4.ip_forward")
        if not re.fullmatch(r"[0-9 -]{1,64}", value):
            _fail(key, f"{path}.{name}", f"{value!r} is not a number")
    return found


def _port(node: yaml.Node, path: str) -> int:
    return _number(node, path, 65535)


def _uid(node: yaml.Node, path: str) -> int:
    return _number(node, path, _HIGHEST_UID)


def _flag(node: yaml.Node, path: str) -> bool:
    text = _text(node, path)
    if text not in ("true", "false"):
        _fail(node, path, f"{text!r} is neither true nor false")
    return text == "true"


def _number(node: yaml.Node, path: str, highest: int) -> int:
    text = _text(node, path)
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > highest:
        _fail(node, path, f"{text!r} is not a whole number from 0 to {highest}")
    return int(text)


def _scalar(node: yaml.Node, path: str) -> object:
    text = _text(node, path)
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else text


def _text(node: yaml.Node, path: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
        _fail(node, path, "this is not a text")
    return str(node.value)


def _fail(node: yaml.Node, path: str, why: str) -> NoReturn:
    where = f"{path}: " if path else ""
    raise CaptureError(f"line {node.start_mark.line + 1}: {where}{why}")

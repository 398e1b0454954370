"""Show the recorded flows of a check as a table, alike flows in one line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from pytest_fsmredir.model.flow import Protocol
from pytest_fsmredir.suite.recording import RecordedFlow, Recording

_SHOWN = 8  # ports, users or hosts in one line


class _Line(NamedTuple):
    """Flows that differ in their ports, users or hosts only."""

    source: str
    uids: tuple[int | None, ...]
    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    protocol: Protocol
    expected: str
    conditions: tuple[str, ...]


def table(recording: Recording) -> str:
    """Return the pods, the flows with their expected fates, and what the recording lacks."""
    named = [f"{name:<10} {lists}" for name, lists in pods(recording)]
    rows = flows(recording)
    width = max((len(flow) for flow, _ in rows), default=0)
    shown = [f"{flow:<{width}}  {fate}" for flow, fate in rows]
    return "\n".join([*named, "", *shown, *others(recording)])


def pods(recording: Recording) -> list[tuple[str, str]]:
    """Return each pod and its lists."""
    return [(name, lists or "no lists") for name, lists in recording.pods.items()]


def flows(recording: Recording) -> list[tuple[str, str]]:
    """Return each flow and its expected fate."""
    lines = _merged([_line(flow) for flow in recording.flows])
    return [(_flow(line), _fate(line)) for line in lines]


def others(recording: Recording) -> list[str]:
    """Return what a check requires that is not about one flow, and what the recording lacks."""
    found = recording.others[:_SHOWN]
    if (more := len(recording.others) - _SHOWN) > 0:
        found.append(f"... and {more} more of this kind")
    return [*found, f"not shown: {recording.missing}"] if recording.missing else found


def _line(flow: RecordedFlow) -> _Line:
    return _Line(
        flow.source, (flow.uid,), (flow.host,), (flow.port,), flow.protocol, flow.expected,
        flow.conditions,
    )  # fmt: skip


def _merged(lines: list[_Line]) -> list[_Line]:
    """Merge lines that differ in ports only, then in users only, then in hosts only."""
    for name in ("ports", "uids", "hosts"):
        merged: dict[_Line, _Line] = {}
        for line in lines:
            key = _with(line, name, ())
            have = merged.get(key, key)
            both = dict.fromkeys((*getattr(have, name), *getattr(line, name)))
            merged[key] = _with(line, name, tuple(both))
        lines = list(merged.values())
    return lines


def _with(line: _Line, name: str, values: tuple[Any, ...]) -> _Line:
    return _Line(**{**line._asdict(), name: values})


def _flow(line: _Line) -> str:
    users = [uid for uid in line.uids if uid is not None]
    who = f" uid {_listed(users)}" if users else ""
    where = _listed(line.hosts)
    port = f":{_listed(line.ports)}" if any(line.ports) else ""
    return f"{line.source}{who} -> {where}{port} {line.protocol.value.upper()}"


def _fate(line: _Line) -> str:
    when = f" [{', '.join(line.conditions)}]" if line.conditions else ""
    return line.expected + when


def _listed(values: Iterable[object]) -> str:
    items = [str(value) for value in values]
    if len(items) <= _SHOWN:
        return ",".join(items)
    return f"{','.join(items[:_SHOWN])},... ({len(items)})"

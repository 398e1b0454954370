"""Print the table of judged flows: one line for all flows with the same fate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytest_fsmredir.model.flow import Claim
from pytest_fsmredir.probing.aim import ProbeFlow
from pytest_fsmredir.text import counted, printable

_PORTS = 8  # per line
_AS_EXPECTED = "the same"


def table(judged: Iterable[tuple[ProbeFlow, Claim]]) -> list[str]:
    """Return lines with flows, their expected and actual fates; flows that differ are last."""
    ports: dict[tuple[str, str, str, str], set[int]] = {}
    for probe, claim in judged:
        fate = (claim.expected, _AS_EXPECTED if claim else seen(claim))
        key = (_sender(probe), _receiver(probe), *fate)
        ports.setdefault(key, set()).add(probe.flow.destination.port)
    senders: dict[tuple[str, str, str], list[str]] = {}
    for (sender, receiver, wanted, what), numbers in ports.items():
        target = f"to {receiver} port {_listed(sorted(numbers))}"
        senders.setdefault((target, wanted, what), []).append(sender)
    lines = [
        (f"{' or '.join(names)} {target}", wanted, what)
        for (target, wanted, what), names in sorted(senders.items(), key=_differing)
    ]
    return list(_aligned([("flow", "expected", "seen"), *lines]))


def conclusion(judged: Sequence[tuple[ProbeFlow, Claim]]) -> str:
    """Return a line with the number of flows that differ."""
    differing = sum(not claim for _, claim in judged)
    if differing:
        return f"{differing} of {counted(len(judged), 'flow')} differ"
    return f"{counted(len(judged), 'flow')} judged: as documented"


def left_out(reason: str, probes: Sequence[ProbeFlow]) -> str:
    """Return a line about flows that were not sent."""
    return f"left out: {counted(len(probes), 'flow')} {reason}"


def undialled(addresses: Sequence[str]) -> str:
    """Return a line about addresses to which no flow was sent."""
    return f"left out: flows to addresses outside the cluster: {', '.join(addresses)}"


def seen(claim: Claim) -> str:
    """Return the fate of a flow, without the ports that differ from flow to flow."""
    fate = claim.fate
    hops = ", then ".join(each.by.value for each in fate.path)
    if not hops:
        return printable(fate.lost or "nothing")
    return f"accepted by {hops}" + (f"; then {fate.lost}" if fate.lost else "")


def _sender(probe: ProbeFlow) -> str:
    who = "client" if probe.flow.uid is None else f"uid {probe.flow.uid}"
    return who if probe.source_port is None else f"{who} from port {probe.source_port}"


def _receiver(probe: ProbeFlow) -> str:
    return f"{probe.flow.destination.host} {probe.flow.protocol.value}"


def _differing(row: tuple[tuple[str, str, str], list[str]]) -> bool:
    return row[0][2] != _AS_EXPECTED


def _listed(ports: Sequence[int]) -> str:
    each = [str(port) for port in ports]
    more = f" and {len(each) - _PORTS} more" if len(each) > _PORTS else ""
    return ",".join(each[:_PORTS]) + more


def _aligned(rows: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for first, second, third in rows:
        yield f"{first:<{widths[0]}}  {second:<{widths[1]}}  {third}"

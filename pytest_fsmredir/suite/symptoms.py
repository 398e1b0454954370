"""Describe the kind of flow that failed, and how. Failures with one symptom share one message.

A symptom does not contain addresses, port numbers or the check, so that one fault of an
implementation yields the same symptom in many checks. It only groups messages; no verdict rests
on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from pytest_fsmredir.backends.places import APP_UID, SIDECAR_PORTS
from pytest_fsmredir.backends.protocols import JudgedMesh
from pytest_fsmredir.errors import ConfigurationError
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Acceptor, Direction, Fate, Flow, Protocol, Route
from pytest_fsmredir.model.policy import ListName, Policy
from pytest_fsmredir.model.reserved import SIDECAR_UID
from pytest_fsmredir.text import without_numbers

Symptom = tuple[str, ...]
"""Protocol, sender and expected fate; then the differences from a plain flow."""

PLAIN_PORT = 8080
"""The destination port of the checks of plain traffic."""

_LISTENERS = {
    Direction.OUTBOUND: Acceptor.SIDECAR_OUTBOUND,
    Direction.INBOUND: Acceptor.SIDECAR_INBOUND,
}
_CAPTURED = {
    Acceptor.SIDECAR_OUTBOUND: Route.SIDECAR_OUTBOUND.value,
    Acceptor.SIDECAR_INBOUND: Route.SIDECAR_INBOUND.value,
}
_DIRECT = Route.DIRECT.value
_LOST = ("refused", "not accepted", "an error at once")
"""The words of claims that no listener accepts a flow; see :class:`Fate`."""


def symptom_of(fate: Fate, expected: str, mesh: JudgedMesh) -> Symptom:
    """Return the symptom of a flow with the wrong fate.

    Args:
        fate: The actual fate.
        expected: The expected fate, in the words of the claim.
        mesh: The mesh of the check. The lists of its pods explain why a flow must bypass the
            sidecar.
    """
    flow = fate.flow
    protocol = flow.protocol.upper()
    if fate.loops:  # the fault is the capture of the sidecar's own connection
        return (f"{protocol} of the sidecar: expected {_DIRECT}",)
    wanted = _wanted(flow, expected)
    who = f"{protocol} {_sender(flow, wanted)}"
    if wanted == _CAPTURED[_LISTENERS[flow.direction]] or fate.accepted_by is Acceptor.ORIGIN:
        lists: set[ListName] = set()  # a list does not explain why a flow was not captured
    else:
        lists = _lists_that_bypass(flow, mesh.configurations)
    if lists:
        return (f"{who}: expected {_DIRECT} because of a list", *sorted(lists))
    traits = sorted(_traits(fate, expected, wanted, mesh.server.address))
    return (f"{who}: expected {wanted}", *traits)


def _wanted(flow: Flow, expected: str) -> str:
    """Return the route in a claim, or else the claim without its numbers.

    A leak makes many claims false: captured, captured on its way to an address, forwarded once,
    never at a port that is not captured, or not accepted at all.
    """
    alternatives = expected.split(" or ")
    if _DIRECT in alternatives or expected.startswith(f"accepted by {Acceptor.ORIGIN.value}"):
        return _DIRECT
    for listener, captured in _CAPTURED.items():
        if expected.startswith((captured, f"accepted by {listener.value}")):
            return captured
    elsewhere = ("captured, or", "never at", *_LOST)
    if flow.protocol is Protocol.TCP and expected.startswith(elsewhere):
        return _CAPTURED[_LISTENERS[flow.direction]]
    return without_numbers(expected)


def _sender(flow: Flow, wanted: str) -> str:
    if flow.uid == SIDECAR_UID:
        return "of the sidecar"
    arriving = wanted == _CAPTURED[Acceptor.SIDECAR_INBOUND]
    if flow.direction is Direction.INBOUND or arriving:  # at this pod, or at another pod
        return "from outside"
    return "of the application"


def _traits(fate: Fate, expected: str, wanted: str, server: str) -> Iterator[str]:
    """Yield how a flow differs from a plain flow, and its fate from the usual wrong fate."""
    flow = fate.flow
    if flow.uid not in (None, APP_UID, SIDECAR_UID):
        yield "another user"
    if flow.protocol is not Protocol.ICMP and flow.destination.port != PLAIN_PORT:
        yield "a reserved port" if flow.destination.port in SIDECAR_PORTS else "another port"
    if flow.interface != "eth0":
        yield "another interface"
    if flow.direction is Direction.OUTBOUND and flow.destination.host != server:
        yield "another address"
    if expected.startswith(_LOST):
        yield "not to be accepted"
    if wanted == _DIRECT:
        if not fate.path:
            yield "not answered"
    elif fate.accepted_by is not None and _CAPTURED.get(fate.accepted_by) == wanted:
        yield "captured, but not as expected"


def _lists_that_bypass(flow: Flow, configurations: Iterable[Configuration]) -> set[ListName]:
    """Return the lists that make a flow bypass the sidecar, in any pod of the check."""
    found: set[ListName] = set()
    if flow.protocol is not Protocol.TCP or flow.uid == SIDECAR_UID:
        return found
    for configuration in configurations:
        try:
            found.update(_bypassing_lists(flow, configuration.policy()))
        except ConfigurationError:
            continue  # an implementation is expected to refuse it
    return found


def _bypassing_lists(flow: Flow, policy: Policy) -> Iterator[ListName]:
    port = flow.destination.port
    if flow.interface in policy.network_interface_exclusion_list:
        yield ListName.NETWORK_INTERFACE_EXCLUSION
    if flow.direction is Direction.INBOUND:
        if port in policy.inbound_port_exclusion_list:
            yield ListName.INBOUND_PORT_EXCLUSION
        return
    address = ip_address(flow.destination.host)
    included = policy.outbound_ip_range_inclusion_list
    if port in policy.outbound_port_exclusion_list:
        yield ListName.OUTBOUND_PORT_EXCLUSION
    if any(address in network for network in policy.outbound_ip_range_exclusion_list):
        yield ListName.OUTBOUND_IP_RANGE_EXCLUSION
    if included and not any(address in network for network in included):
        yield ListName.OUTBOUND_IP_RANGE_INCLUSION

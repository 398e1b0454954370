"""What the file of a captured pod tells about its sidecar, which a replay does not rebuild."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from pytest_fsmredir.model.capture import Capture
from pytest_fsmredir.model.reserved import INBOUND_PORT, OUTBOUND_PORT, SIDECAR_UID

_NAME = "sidecar"
"""The name of the container that the mesh injects."""


def remarks_on(capture: Capture) -> Iterator[str]:
    """Yield what differs between the sidecar of a captured pod and the one of its replay.

    A replay has a sidecar of user 1500 that listens on every port of a sidecar. So it shows what
    the rules do, not what the captured sidecar does with the connections.
    """
    yield from _user(capture)
    if capture.taken_from == "files" and not capture.listeners:
        yield "the file has no listeners: whether the sidecar listened is not known"
        return
    for port in (OUTBOUND_PORT, INBOUND_PORT):
        yield from _listener(capture, port)
    others = {each.port for each in capture.listeners} - {OUTBOUND_PORT, INBOUND_PORT}
    if others:
        yield (
            f"the pod's listeners on port {_some(others)} were not used: programs of the suite"
            " listen where a flow arrives"
        )


def users_to_send_as(capture: Capture, highest: int) -> tuple[int, ...]:
    """Return the users of the application's containers, in order.

    Args:
        capture: The captured pod.
        highest: The highest user id that can own flows here.
    """
    users = dict.fromkeys(capture.users.values())
    return tuple(uid for uid in users if uid != SIDECAR_UID and uid <= highest)


def _user(capture: Capture) -> Iterator[str]:
    uid = capture.users.get(_NAME, SIDECAR_UID)
    if uid != SIDECAR_UID:
        yield (
            f"the container {_NAME} runs as user {uid}, not as {SIDECAR_UID}: rules for user"
            f" {SIDECAR_UID} do not exempt its connections; the replay sends as user {SIDECAR_UID}"
        )


def _listener(capture: Capture, port: int) -> Iterator[str]:
    found = [each for each in capture.listeners if each.port == port]
    if not found:
        yield (
            f"no program of the pod listened on port {port}: connections that the rules redirect"
            " there were refused; the replay has a sidecar there"
        )
        return
    owners = sorted({each.uid for each in found})
    if owners != [SIDECAR_UID]:
        yield (
            f"the listener on port {port} belonged to user {_some(owners)}, not to the sidecar's"
            f" user {SIDECAR_UID}"
        )
    if port == INBOUND_PORT and all(ip_address(each.address).is_loopback for each in found):
        yield (
            f"the sidecar listened on port {port} of loopback alone: connections from outside that"
            " the rules redirect there were refused"
        )


def _some(numbers: set[int] | list[int]) -> str:
    shown = [str(each) for each in sorted(numbers)]
    return ", ".join([*shown[:6], *(["..."] if len(shown) > 6 else [])])

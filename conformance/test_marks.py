"""Marks and priorities, which an application with the privilege gives to its own packets."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable
from functools import partial

from pytest_fsmredir import MUST, SHOULD, ForeignPrograms, Mesh, Need, Pod, Profile, check

# Each bit by itself, all of them, the numbers that FSM uses, and marks of Istio, Istio's ambient
# mode, Kubernetes, Cilium, Calico, Tailscale and the documents of TPROXY.
MARKS = (
    *(1 << bit for bit in range(32)), 0xFFFFFFFF, 1500, 15001, 15003, 1337, 1338, 0x111, 133, 100,
    0xA00, 0xC00, 0xE00, 0xC0000, 0x1A0000, 0xFFFF0000, 0xDEADBEEF,
)  # fmt: skip
PRIORITIES = (1, 2, 4, 6, 7, 8, 15, 0x10001, 0xFFFFFFFF)


def unsigned(option: int, value: int, sock: socket.socket) -> None:
    """Set an option of the socket to a number of 32 bits."""
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("I", value))


def marked(mark: int) -> Callable[[socket.socket], None]:
    """Return what marks the packets of a socket."""
    return partial(unsigned, socket.SO_MARK, mark)


def delivered_inside(pod: Pod, programs: ForeignPrograms, remote: str) -> set[int]:
    """Return the marks with which the routes keep a remote address in the pod, as for TPROXY."""
    questions = "".join(f"route get {remote} from {pod.address} mark {mark}\n" for mark in MARKS)
    done = programs.run(pod, ["ip", "-oneline", "-force", "-batch", "-"], questions)
    failed = {int(number) for number in re.findall(r"-:([0-9]+)", done.stderr)}
    answered = [mark for number, mark in enumerate(MARKS, 1) if number not in failed]
    routes = zip(answered, done.stdout.splitlines(), strict=True)
    return {mark for mark, route in routes if route.startswith("local ")}


@check(
    "UID-013",
    requirement="A connection of the application MUST NOT be direct for a mark of its packets.",
    spec="SPEC-4.8",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.KERNEL_SETTINGS},
)
def test_mark_does_not_exempt_an_application(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080, uid=1500).direct
    for mark in MARKS:
        assert pod.connect(mesh.server, 8080, prepare=marked(mark)).never_direct


@check(
    "UID-014",
    requirement="A connection of the application MUST NOT be direct for a priority of its packets.",
    spec="SPEC-4.8",
    level=MUST,
    profile=Profile.CORE,
    needs={Need.KERNEL_SETTINGS},
)
def test_priority_does_not_exempt_an_application(mesh: Mesh) -> None:
    pod = mesh.pod()

    for priority in PRIORITIES:
        urgent = partial(unsigned, socket.SO_PRIORITY, priority)
        assert pod.connect(mesh.server, 8080, prepare=urgent).captured_outbound
        assert pod.connect(mesh.server, 8080, prepare=urgent, uid=1500).direct


@check(
    "PROTO-022",
    requirement="A mark SHOULD NOT lose a datagram or a connection, unless the pod's routes deliver"
    " that mark inside the pod.",
    spec="SPEC-5.6",
    level=SHOULD,
    profile=Profile.CORE,
    needs={Need.KERNEL_SETTINGS},
)
def test_mark_does_not_lose_traffic(mesh: Mesh, programs: ForeignPrograms) -> None:
    pod = mesh.pod()
    kept = delivered_inside(pod, programs, mesh.server.address)

    assert pod.datagram(mesh.server, 8080).direct
    for mark in sorted({*MARKS} - kept):
        assert pod.connect(mesh.server, 8080, prepare=marked(mark)).captured_outbound
        assert pod.datagram(mesh.server, 8080, prepare=marked(mark)).direct

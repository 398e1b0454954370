"""``flow FILE``: send one flow in a rebuilt pod; print what is expected, what was seen, and why.

Exit status: 0 as expected, 1 the flow differs, 2 not sent (the reason is on standard error).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from ipaddress import ip_address
from pathlib import Path

from pytest_fsmredir.backends.netns import preflight, privileges
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.backends.netns.pods import NetnsPod
from pytest_fsmredir.errors import FsmRedirError, SettingsError
from pytest_fsmredir.model.claims import Unmet
from pytest_fsmredir.model.flow import Claim, Fate
from pytest_fsmredir.model.oracle import expected
from pytest_fsmredir.probing.judge import claim
from pytest_fsmredir.rules.iptables_targets import split_target
from pytest_fsmredir.rules.why.explain import explain
from pytest_fsmredir.rules.why.pathline import path_line
from pytest_fsmredir.rules.why.sending import sendings
from pytest_fsmredir.suite.backends import rebuilding
from pytest_fsmredir.suite.explaining import scene_of
from pytest_fsmredir.text import printable

_TIMEOUT_S = 5.0  # as --fsm-timeout
_HIGHEST_UID = 2**31 - 1


def main(argv: Sequence[str]) -> int:
    """Send a flow, and return the exit status."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as end:  # argparse has printed the reason already
        return int(end.code or 0)
    try:
        with ExitStack() as undo:
            return _sent(arguments, undo)
    except FsmRedirError as why:
        sys.stderr.write(f"not sent: {printable(str(why))}\n")
    except Unmet as unmet:
        sys.stdout.write(f"{printable(repr(unmet.claim))}\n")
        return 1
    return 2


def _sent(arguments: argparse.Namespace, undo: ExitStack) -> int:
    capture, make = rebuilding(arguments.file, _TIMEOUT_S)
    host, port = _target(arguments, capture.addresses)
    family = 6 if ":" in host else 4
    if family not in capture.families:
        raise SettingsError(f"the pod has no IPv{family} address, so it cannot send to {host}")
    privileges.acquire("auto", ("python", "-m", "pytest_fsmredir", "flow"))
    backend = undo.enter_context(closing(make(preflight.default_iptables("auto"))))
    mesh = backend.mesh(family, backend.iptables, exhaustive=False)
    undo.enter_context(closing(mesh))
    pod = mesh.pod(annotations=capture.annotations, mesh_config=capture.traffic)
    fate = _fate(arguments, mesh, pod, host, port)
    judged = claim(expected(capture.configuration.policy(), fate.flow, pod.addresses), fate)
    for name, text in _lines(judged, mesh, pod):
        sys.stdout.write(f"{name:<12} {printable(text)}\n")
    return 0 if judged.holds else 1


def _target(arguments: argparse.Namespace, own: Sequence[str]) -> tuple[str, int]:
    text = arguments.out or arguments.into
    try:
        host, port = (own[0], text) if text.isdecimal() else split_target(text)
        number = int(port or "")
        if not 0 < number <= 65535:
            raise SettingsError(f"{number} is not a port from 1 to 65535")
        host = str(ip_address(host))
    except ValueError:
        raise SettingsError(
            f"{text!r} is not an address with a port, such as 10.1.2.3:443"
        ) from None
    if arguments.into and host not in own:
        raise SettingsError(f"--in {text}: the pod has the addresses {', '.join(own)}")
    return host, number


def _fate(
    arguments: argparse.Namespace, mesh: NetnsMesh, pod: NetnsPod, host: str, port: int
) -> Fate:
    if arguments.into:
        return mesh.client.connect(host, port)
    if not 0 <= arguments.uid <= min(mesh.highest_id, _HIGHEST_UID):
        raise SettingsError(f"--uid {arguments.uid}: there is no such user here")
    return pod.connect(host, port, uid=arguments.uid)


def _lines(judged: Claim, mesh: NetnsMesh, pod: NetnsPod) -> list[tuple[str, str]]:
    lines = [("flow", judged.flow), ("expected", judged.expected), ("seen", judged.seen)]
    scene = scene_of(pod, mesh)
    if not judged.holds:
        found = explain(judged, scene)
        return [*lines, ("path", found.path), ("why", found.why)]
    first = next(iter(sendings(judged, scene.policy, scene.pod)))
    return [*lines, ("path", path_line(scene.case(first)))]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_fsmredir flow",
        description="Rebuild the pod of a file that the command capture wrote, and send one TCP"
        " connection.",
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--out", metavar="IP:PORT", help="from the pod to this destination")
    way.add_argument("--in", dest="into", metavar="[IP:]PORT", help="from outside to the pod")
    parser.add_argument("--uid", type=int, default=1000, metavar="N", help="default: 1000")
    return parser

"""``flow FILE`` or ``flow NAMESPACE/POD``: send one flow; print what is expected and seen, and why.

A file's pod is rebuilt here; a running pod sends the flow itself.

Exit status: 0 as expected, 1 the flow differs, 2 not sent (the reason is on standard error).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing
from ipaddress import ip_address
from pathlib import Path

from pytest_fsmredir.backends.netns import preflight, privileges
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.backends.netns.pods import NetnsPod
from pytest_fsmredir.backends.places import APP_UID
from pytest_fsmredir.cli.cluster_options import TIMEOUT_S, add_cluster_options
from pytest_fsmredir.errors import FsmRedirError, PreflightError, SettingsError
from pytest_fsmredir.model.captured_sidecar import remarks_on, users_to_send_as
from pytest_fsmredir.model.claims import Unmet
from pytest_fsmredir.model.flow import Address, Claim, Fate
from pytest_fsmredir.model.oracle import expected
from pytest_fsmredir.probing.judge import claim
from pytest_fsmredir.rules.iptables_targets import split_target
from pytest_fsmredir.rules.why.explain import explain
from pytest_fsmredir.rules.why.pathline import path_line
from pytest_fsmredir.rules.why.scene import Scene
from pytest_fsmredir.rules.why.sending import sendings
from pytest_fsmredir.suite.backends import rebuilding
from pytest_fsmredir.suite.explaining import scene_of
from pytest_fsmredir.text import printable

_HIGHEST_UID = 2**31 - 1
_FILES = (".yaml", ".yml", ".json")
_OF_CLUSTERS = ("kubeconfig", "context", "kind_cluster", "pod_image")
_OF_NODES = ("annotations", "mesh_config")

Judged = tuple[Claim, Iterator[tuple[str, str]]]
"""A judged flow, and what to print about it."""


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
    if (arguments.pod is None) == (arguments.from_node is None):
        raise SettingsError("give a FILE, NAMESPACE/POD, or --from-node PID: one of them")
    if arguments.from_node is not None:
        judged, lines = _from_node(arguments)
    elif _is_live(arguments.pod):
        judged, lines = _sent_now(arguments, undo)
    else:
        judged, lines = _rebuilt(arguments, undo)
    for name, text in lines:
        sys.stdout.write(f"{name:<12} {printable(text)}\n")
    return 0 if judged.holds else 1


def _is_live(pod: str) -> bool:
    """Whether a pod of a cluster is named, and not a file."""
    path = Path(pod)
    return not path.is_file() and pod.count("/") == 1 and path.suffix not in _FILES


def _sent_now(arguments: argparse.Namespace, undo: ExitStack) -> Judged:
    try:
        from pytest_fsmredir.cli.live_flow import sent_now
    except ImportError as error:
        raise PreflightError(
            f"{error.name} is missing; install it: pip install 'pytest-fsmredir[kind]'"
        ) from None
    _reject(arguments, _OF_NODES, "with NAMESPACE/POD")
    return sent_now(arguments, undo, _target_of_running(arguments), _explained)


def _from_node(arguments: argparse.Namespace) -> Judged:
    from pytest_fsmredir.cli.node_flow import sent_from_node

    _reject(arguments, _OF_CLUSTERS, "with --from-node")
    return sent_from_node(arguments, _target_of_running(arguments), _explained)


def _target_of_running(arguments: argparse.Namespace) -> Callable[[Sequence[str]], Address]:
    """Return the function that chooses the destination, given the addresses of a running pod.

    Raises:
        SettingsError: The flow is not one that the pod can send.
    """
    if arguments.into:
        raise SettingsError(
            "--in takes a client outside, and with a running pod nothing else is touched: give a"
            " FILE, or judge the pod: python -m pytest_fsmredir pod NAMESPACE/POD"
        )
    arguments.uid = APP_UID if arguments.uid is None else arguments.uid
    if not 0 <= arguments.uid <= _HIGHEST_UID:
        raise SettingsError(f"--uid {arguments.uid}: there is no such user")
    return lambda own: _sendable(arguments, own, {Address(host, 0).family for host in own})


def _reject(arguments: argparse.Namespace, names: Sequence[str], where: str) -> None:
    """Require that every option has an effect."""
    for name in names:
        if getattr(arguments, name):
            raise SettingsError(f"--{name.replace('_', '-')} has no effect {where}")


def _rebuilt(arguments: argparse.Namespace, undo: ExitStack) -> Judged:
    _reject(arguments, (*_OF_CLUSTERS, *_OF_NODES), "with a FILE")
    capture, make = rebuilding(Path(arguments.pod), TIMEOUT_S)
    host, port = _sendable(arguments, capture.addresses, capture.families)
    family = Address(host, port).family
    privileges.acquire("auto", ("python", "-m", "pytest_fsmredir", "flow"))
    backend = undo.enter_context(closing(make(preflight.default_iptables("auto"))))
    mesh = backend.mesh(family, backend.iptables, exhaustive=False)
    undo.enter_context(closing(mesh))
    pod = mesh.pod(annotations=capture.annotations, mesh_config=capture.traffic)
    for remark in remarks_on(capture):
        sys.stderr.write(f"note: {printable(remark)}\n")
    if arguments.uid is None:
        arguments.uid = next(iter(users_to_send_as(capture, mesh.highest_id)), APP_UID)
    fate = _fate(arguments, mesh, pod, host, port)
    judged = claim(expected(capture.configuration.policy(), fate.flow, pod.addresses), fate)
    return judged, _lines(judged, mesh, pod)


def _sendable(
    arguments: argparse.Namespace, own: Sequence[str], families: Collection[int]
) -> Address:
    """Return the destination of a flow that the pod can send.

    Args:
        arguments: The options.
        own: The addresses of the pod.
        families: Their IP versions.
    """
    address = Address(*_target(arguments, own))
    if address.family not in families:
        raise SettingsError(
            f"the pod has no IPv{address.family} address, so it cannot send to {address.host}"
        )
    return address


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


def _lines(judged: Claim, mesh: NetnsMesh, pod: NetnsPod) -> Iterator[tuple[str, str]]:
    yield from (("flow", judged.flow), ("expected", judged.expected), ("seen", judged.seen))
    yield from _explained(judged, scene_of(pod, mesh))


def _explained(judged: Claim, scene: Scene) -> Iterator[tuple[str, str]]:
    if not judged.holds:
        found = explain(judged, scene)
        yield from (("path", found.path), ("why", found.why))
        return
    first = next(iter(sendings(judged, scene.policy, scene.pod)))
    yield "path", path_line(scene.case(first))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_fsmredir flow",
        description="Send one TCP connection: from a running pod of a cluster, by an ephemeral"
        " container that ends with the command; or from the pod of a file that the command capture"
        " wrote, which is rebuilt on this machine.",
    )
    parser.add_argument("pod", nargs="?", metavar="FILE or NAMESPACE/POD")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--out", metavar="IP:PORT", help="from the pod to this destination")
    way.add_argument("--in", dest="into", metavar="[IP:]PORT", help="from outside to the pod")
    parser.add_argument(
        "--uid",
        type=int,
        metavar="N",
        help=f"default: the user of the first container in the FILE, else {APP_UID}",
    )
    node = parser.add_argument_group("without access to the cluster")
    node.add_argument(
        "--from-node",
        type=int,
        metavar="PID",
        help="on the node of the pod, as root: send from the network of this process of the pod",
    )
    node.add_argument(
        "--annotations", type=Path, metavar="FILE", help="the Pod, or its annotations alone"
    )
    node.add_argument("--mesh-config", type=Path, metavar="FILE", help="the MeshConfig")
    add_cluster_options(parser.add_argument_group("the cluster of a running pod"))
    return parser

"""``capture``: write what decides where a pod's traffic goes into one file of plain YAML.

Exit status: 0 written, 2 not written (the reason is on standard error).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_fsmredir.cli.capture import reading
from pytest_fsmredir.cli.capture.assembling import Saved, assembled, configuration_in, pod_in
from pytest_fsmredir.cli.capture.node import listed_on_node
from pytest_fsmredir.cli.cluster_options import add_cluster_options
from pytest_fsmredir.errors import FsmRedirError, PreflightError, SettingsError
from pytest_fsmredir.model.capture import Capture
from pytest_fsmredir.model.capture_file import capture_text, parse_capture, read_capture
from pytest_fsmredir.text import counted, printable


def main(argv: Sequence[str]) -> int:
    """Write a file, and return the exit status."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as end:  # argparse has printed the reason already
        return int(end.code or 0)
    try:
        capture = _captured(arguments)
        if arguments.redact:
            capture = _redacted(capture)
        text = capture_text(capture)
        parse_capture(text)  # a file that no replay can read is better found now
        _write(text, arguments.output)
    except FsmRedirError as why:
        sys.stderr.write(f"not captured: {printable(str(why))}\n")
        return 2
    for gap in capture.left_out:
        sys.stderr.write(f"the file lacks: {printable(gap)}\n")
    if arguments.output is not None:
        sys.stderr.write(f"{arguments.output}: {_summary(capture)}\n")
    return 0


def _captured(arguments: argparse.Namespace) -> Capture:
    ways = [
        option
        for option, given in (
            ("NAMESPACE/POD", arguments.pod and not arguments.from_node),
            ("--rules", arguments.rules),
            ("--from-node", arguments.from_node),
            ("--from-file", arguments.from_file),
        )
        if given
    ]
    if len(ways) != 1:
        raise SettingsError(
            "say what to read, in one way: NAMESPACE/POD for a running pod, --from-node PID on its"
            " node, --rules FILE for saved rules, or --from-file FILE for a captured pod"
        )
    _reject_unused(arguments, ways[0])
    if ways == ["--rules"]:
        return assembled(
            Saved(arguments.rules, arguments.annotations, arguments.mesh_config, arguments.address)
        )
    if ways == ["--from-node"]:
        return _on_node(arguments)
    if ways == ["--from-file"]:
        return _in_file(arguments)
    return _running(arguments)


def _reject_unused(arguments: argparse.Namespace, way: str) -> None:
    """Require that every option has an effect.

    Raises:
        SettingsError: One has none.
    """
    unused = {
        "NAMESPACE/POD": ("annotations", "mesh_config", "address"),
        "--from-node": ("address",),
        "--from-file": ("annotations", "mesh_config", "address"),
        "--rules": (),
    }[way]
    for name in unused:
        if getattr(arguments, name):
            option = f"--{name.replace('_', '-')}"
            raise SettingsError(f"{option} has no effect with {way}: leave it out")


def _on_node(arguments: argparse.Namespace) -> Capture:
    pod = pod_in(arguments.annotations)
    known = reading.Known(
        taken_from="node",
        pod=pod,
        configuration=configuration_in(pod, arguments.mesh_config),
        addresses=[str(each["ip"]) for each in (pod.get("status") or {}).get("podIPs") or ()],
    )
    return reading.read(listed_on_node(arguments.from_node, reading.command(sys.executable)), known)


def _in_file(arguments: argparse.Namespace) -> Capture:
    if not arguments.redact:
        raise SettingsError("--from-file without --redact would only copy the file: add --redact")
    return read_capture(arguments.from_file)


def _redacted(capture: Capture) -> Capture:
    """Return a pod with other addresses and names, and say what stays."""
    from pytest_fsmredir.model.redacting.pod import redacted

    found = redacted(capture)
    sys.stderr.write(f"redacted: addresses and prefixes, {found.replaced} in all\n")
    if found.unchanged:
        sys.stderr.write(
            f"not redacted: {', '.join(found.unchanged)}, because ranges end there or begin there\n"
        )
    return found.capture


def _running(arguments: argparse.Namespace) -> Capture:
    try:
        from pytest_fsmredir.cli.capture.running import captured
    except ImportError as error:
        raise PreflightError(
            f"{error.name} is missing; install it: pip install 'pytest-fsmredir[kind]'"
        ) from None
    return captured(arguments)


def _write(text: str, file: Path | None) -> None:
    if file is None:
        sys.stdout.write(text)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as why:
        raise SettingsError(f"-o {file}: {why.strerror}") from None


def _summary(capture: Capture) -> str:
    rules = sum(
        line.startswith("-A")
        for name, text in capture.listings.items()
        if name.startswith("iptables")
        for line in text.splitlines()
    )
    return f"{capture.pod}, {', '.join(capture.addresses)}, {counted(rules, 'rule')} of iptables"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_fsmredir capture",
        description="Write the rules of a pod, its addresses, routes, settings and lists into one"
        " file, for pytest --fsm-conformance --fsm-replay FILE. A running pod is read by an"
        " ephemeral container with NET_ADMIN, which ends at once; nothing else in the pod changes."
        " The file never holds secrets, environments or names of hosts.",
    )
    parser.add_argument("pod", nargs="?", metavar="NAMESPACE/POD", help="a running pod")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: print it")
    saved = parser.add_argument_group("without access to the cluster")
    saved.add_argument(
        "--rules",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="saved output of iptables-save, ip6tables-save, nft -j list ruleset, ipset save, ip"
        " rule, ip route show table all and sysctl; can be repeated",
    )
    saved.add_argument(
        "--annotations", type=Path, metavar="FILE", help="the Pod, or its annotations alone"
    )
    saved.add_argument("--mesh-config", type=Path, metavar="FILE", help="the MeshConfig")
    saved.add_argument(
        "--address",
        action="append",
        default=[],
        metavar="IP[/LENGTH]",
        help="an address of the pod; by default those of its routes or of the Pod's status",
    )
    saved.add_argument(
        "--from-node",
        type=int,
        metavar="PID",
        help="on the node of the pod, as root: read the network of this process of the pod",
    )
    saved.add_argument(
        "--from-file", type=Path, metavar="FILE", help="redact a file that this command wrote"
    )
    parser.add_argument(
        "--redact",
        action="store_true",
        help="replace addresses, names and comments; prefixes, ranges and private addresses stay"
        " such, and the pod behaves as before",
    )
    add_cluster_options(parser.add_argument_group("the cluster of a running pod"))
    return parser

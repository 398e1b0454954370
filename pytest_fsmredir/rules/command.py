"""``python -m pytest_fsmredir rules show|path|check|diff``: questions about saved rules.

The command only reads files. It needs no privilege and sends no packet.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path as File
from typing import Any

import yaml

from pytest_fsmredir.errors import FsmRedirError, SettingsError
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Address, Direction, Flow
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.rules import show
from pytest_fsmredir.rules.compare import changes
from pytest_fsmredir.rules.document import Duty, duty_of, signature_of
from pytest_fsmredir.rules.forms import RuleSet
from pytest_fsmredir.rules.hygiene import idle_rules
from pytest_fsmredir.rules.iptables_targets import split_target
from pytest_fsmredir.rules.packet import (
    APPLICATION_UID,
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    Packet,
    text_of,
)
from pytest_fsmredir.rules.passage import Model
from pytest_fsmredir.rules.pod import EXAMPLE_ADDRESSES, Surroundings
from pytest_fsmredir.rules.prove import UNTOUCHED, Proof, Prover
from pytest_fsmredir.rules.reading import read_file
from pytest_fsmredir.rules.space import Space
from pytest_fsmredir.rules.trace import follow
from pytest_fsmredir.rules.vocabulary import PROTOCOLS, integer, named

_REMOTE = {4: "198.51.100.10", 6: "2001:db8:5::10"}


def main(argv: Sequence[str]) -> int:
    """Answer a question; return 0 for "no difference", 1 for differences, 2 for bad input."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except FsmRedirError as why:
        print(f"not done: {why}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_fsmredir rules",
        description="Ask what saved rules do. A file holds listings by iptables-save,"
        " ip6tables-save, nft -j list ruleset, ipset save, ip rule, ip route show table all and"
        " sysctl, one after another.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shown = _command(commands, "show", _show, "print the rules as the model understands them")
    shown.add_argument("file", type=File, metavar="FILE")
    path = _command(commands, "path", _path, "show the path of one packet")
    path.add_argument("file", type=File, metavar="FILE")
    _flow_options(path)
    _policy_options(path)
    check = _command(commands, "check", _check, "compare every flow with the document")
    check.add_argument("file", type=File, metavar="FILE")
    _policy_options(check)
    diff = _command(commands, "diff", _diff, "show the flows whose fate changes")
    diff.add_argument("old", type=File, metavar="OLD")
    diff.add_argument("new", type=File, metavar="NEW")
    for command in (path, check, diff):
        command.add_argument(
            "--address",
            action="append",
            default=[],
            metavar="IP",
            help=f"an address of the pod; {' and '.join(EXAMPLE_ADDRESSES)} by default",
        )
    return parser


Run = Callable[[argparse.Namespace], int]


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, run: Run, words: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=words, description=words)
    parser.set_defaults(run=run)
    parser.add_argument(
        "--family", type=int, choices=(4, 6), help="IP version of rules that do not state one"
    )
    return parser


def _policy_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--annotation",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an annotation of the pod, such as flomesh.io/outbound-port-exclusion-list=6379",
    )
    parser.add_argument(
        "--mesh-config", type=File, metavar="FILE", help="a MeshConfig as YAML or JSON"
    )


def _flow_options(parser: argparse.ArgumentParser) -> None:
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--out", metavar="IP[:PORT]", help="an outgoing packet to this destination")
    way.add_argument("--in", dest="into", metavar="[IP:]PORT", help="from outside to the pod")
    parser.add_argument("--from", dest="source", metavar="IP[:PORT]", help="the source")
    parser.add_argument("--protocol", default="tcp", help="tcp, udp, icmp or a number")
    for name, default in (("uid", APPLICATION_UID), ("gid", 0), ("mark", 0), ("tos", 0)):
        parser.add_argument(f"--{name}", default=str(default), metavar="N")
    parser.add_argument("--ttl", default="64", metavar="N")
    parser.add_argument("--length", default="60", metavar="N")
    parser.add_argument("--interface", metavar="NAME", help="its incoming or outgoing interface")


def _show(arguments: argparse.Namespace) -> int:
    for line in show.rules_lines(read_file(arguments.file, arguments.family)):
        print(line)
    return 0


def _path(arguments: argparse.Namespace) -> int:
    rules = read_file(arguments.file, arguments.family)
    pod = _surroundings(arguments)
    packet = _packet(arguments, pod)
    policy = _policy(arguments)
    names = pod.interfaces(rules, [packet.interface])
    space = Space(packet.family, names, pod.local(packet.family))
    path = follow(Model(rules, space, pod), packet)
    for line in show.path_lines(path):
        print(line)
    duty = _duty(policy, packet, pod)
    if duty is None:
        print("the document leaves it open")
        return 0
    print(f"expected: {duty.route.value} ({duty.sentence}, {duty.level.value})")
    return int(any(end.kind.value != duty.route.value for end in path.ends))


def _check(arguments: argparse.Namespace) -> int:
    rules = read_file(arguments.file, arguments.family)
    policy, pod = _policy(arguments), _surroundings(arguments)
    started = time.perf_counter()
    families = _families(rules)
    proofs = [
        Prover(rules, policy, family, pod).prove(direction)
        for family in families
        for direction in Direction
    ]
    took = time.perf_counter() - started
    status = _report(proofs, rules, families, took)
    for family in families:
        for idle in idle_rules(rules, family, pod):
            print(show.idle_line(idle))
    return status


def _report(proofs: list[Proof], rules: RuleSet, families: tuple[int, ...], took: float) -> int:
    findings = [f for proof in proofs for f in (*proof.findings, *proof.doubts)]
    versions = " and ".join(f"IPv{family}" for family in families)
    if not findings:
        print(f"proved for every address, port and user ({versions}, in {took:.1f} s)")
    else:
        more = "at least " if any(proof.more for proof in proofs) else ""
        plural = "" if len(findings) == 1 else "s"
        print(
            f"{more}{len(findings)} difference{plural} found ({versions}, in {took:.1f} s),"
            " with the simplest flow of each:"
        )
    for number, finding in enumerate(findings, 1):
        for line in show.finding_lines(number, finding):
            print(line)
    for remark in rules.remarks:
        print(f"not understood: {remark}")
    return int(bool(findings) or bool(rules.remarks))


def _diff(arguments: argparse.Namespace) -> int:
    old = read_file(arguments.old, arguments.family)
    new = read_file(arguments.new, arguments.family)
    pod = _surroundings(arguments)
    families = tuple(sorted({*_families(old), *_families(new)}))
    found = [change for family in families for change in changes(old, new, family, pod)]
    for number, change in enumerate(found, 1):
        for line in show.change_lines(number, change):
            print(line)
    versions = " and ".join(f"IPv{family}" for family in families)
    print(f"{len(found)} changes, over every flow of {versions}" if found else "no flow changes")
    return int(bool(found))


def _families(rules: RuleSet) -> tuple[int, ...]:
    found = {f for chain in rules.chains.values() if chain.hook for f in chain.families}
    return tuple(sorted(found)) or (4,)


def _surroundings(arguments: argparse.Namespace) -> Surroundings:
    for text in arguments.address:
        try:
            ip_address(text)
        except ValueError:
            raise SettingsError(f"--address {text!r} is not an IP address") from None
    return Surroundings({"eth0": tuple(arguments.address) or EXAMPLE_ADDRESSES})


def _policy(arguments: argparse.Namespace) -> Policy:
    annotations = {}
    for text in arguments.annotation:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(f"--annotation {text!r} is not NAME=VALUE")
        annotations[name] = value
    pod = {"metadata": {"annotations": annotations}}
    return Configuration.of(pod, _mesh_config(arguments.mesh_config)).policy()


def _mesh_config(file: File | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        document = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as why:
        raise SettingsError(f"--mesh-config {file}: {why}") from None
    if not isinstance(document, dict) or not isinstance(document.get("spec", {}), dict):
        raise SettingsError(f"--mesh-config {file}: it is not a MeshConfig")
    return document


def _packet(arguments: argparse.Namespace, pod: Surroundings) -> Packet:
    outbound = arguments.out is not None
    try:
        host, port = _end(arguments.out if outbound else arguments.into, pod)
        family = ip_address(host).version
        own = [text for text in pod.texts() if ip_address(text).version == family]
        other = own[0] if outbound and own else _REMOTE[family]
        source, source_port = split_target(arguments.source or other)
        return Packet(
            direction=Direction.OUTBOUND if outbound else Direction.INBOUND,
            family=family,
            source=_address(source, family),
            destination=int(ip_address(host)),
            source_port=integer(source_port or "40000"),
            port=port,
            interface=arguments.interface or _interface(host, pod, outbound=outbound),
            protocol=_protocol(arguments.protocol, family),
            **{
                name: integer(getattr(arguments, name))
                for name in ("uid", "gid", "mark", "tos", "ttl", "length")
            },
        )
    except ValueError as why:
        raise SettingsError(f"impossible packet: {why}") from None


def _end(text: str, pod: Surroundings) -> tuple[str, int]:
    if text.isdigit():
        return pod.texts()[0], integer(text)
    host, port = split_target(text)
    return host, integer(port or "0")


def _address(text: str, family: int) -> int:
    found = ip_address(text)
    if found.version != family:
        raise ValueError(f"{text} is not an IPv{family} address as the destination is")
    return int(found)


def _interface(host: str, pod: Surroundings, *, outbound: bool) -> str:
    own = outbound and (host in pod.texts() or ip_address(host).is_loopback)
    return "lo" if own else next(iter(pod.addresses))


def _protocol(text: str, family: int) -> int:
    if text == "icmp":
        return ICMP if family == 4 else ICMPV6
    return named(text, PROTOCOLS)


def _duty(policy: Policy, packet: Packet, pod: Surroundings) -> Duty | None:
    if packet.protocol != TCP:
        return UNTOUCHED.get(packet.protocol, UNTOUCHED[UDP])
    flow = Flow(
        packet.direction,
        Address(text_of(packet.destination, packet.family), packet.port),
        uid=packet.uid if packet.direction is Direction.OUTBOUND else None,
        interface=packet.interface,
    )
    return duty_of(policy, flow, signature_of(policy, flow, packet.family, pod), pod.texts())

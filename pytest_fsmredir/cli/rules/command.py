"""``python -m pytest_fsmredir rules show|path|check|diff``: questions about rules.

The command reads a file, or a running pod through an ephemeral container. It sends no packet.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path as File

from pytest_fsmredir.cli.cluster_options import add_cluster_options
from pytest_fsmredir.cli.rules import options
from pytest_fsmredir.cli.rules.source import families_of, source
from pytest_fsmredir.errors import FsmRedirError
from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.rules import show
from pytest_fsmredir.rules.compare import changes
from pytest_fsmredir.rules.hygiene import AllPackets, idle_rules, never_acting
from pytest_fsmredir.rules.packet import APPLICATION_UID
from pytest_fsmredir.rules.passage import Model
from pytest_fsmredir.rules.pod import EXAMPLE_ADDRESSES
from pytest_fsmredir.rules.prove import Proof, Prover
from pytest_fsmredir.rules.reading import read_file
from pytest_fsmredir.rules.ruleset import RuleSet
from pytest_fsmredir.rules.space import Space
from pytest_fsmredir.rules.trace import follow


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
        description="Ask what the rules in a file or a running pod do. A file holds listings by"
        " iptables-save, ip6tables-save, nft -j list ruleset, ipset save, ip rule, ip route show"
        " table all and sysctl. To read a pod, the command adds an ephemeral container with"
        " NET_ADMIN to it, which ends at once and stays in the pod's list.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shown = _command(commands, "show", _show, "print the rules as the model understands them")
    _source_options(shown)
    shown.set_defaults(annotation=[], mesh_config=None, address=[])
    path = _command(commands, "path", _path, "show the path of one packet")
    _source_options(path)
    _flow_options(path)
    _policy_options(path)
    check = _command(commands, "check", _check, "compare every flow with the document")
    _source_options(check)
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
            help="an address of the pod; by default those of the routes in the file, or else"
            f" {' and '.join(EXAMPLE_ADDRESSES)}",
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


def _source_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=File, nargs="?", metavar="FILE")
    parser.add_argument("--pod", metavar="NAMESPACE/NAME", help="read the rules of a running pod")
    add_cluster_options(parser)


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
    asked = source(arguments)
    if asked.headline:
        print(asked.headline)
    for line in show.rules_lines(asked.rules):
        print(line)
    return 0


def _path(arguments: argparse.Namespace) -> int:
    asked = source(arguments)
    rules, pod = asked.rules, asked.pod
    packet = options.packet(arguments, pod)
    policy = asked.required_policy()
    names = pod.interfaces(rules, [packet.interface])
    space = Space(packet.family, names, pod.local(packet.family))
    path = follow(Model(rules, space, pod), packet)
    for line in show.path_lines(path):
        print(line)
    duty = options.duty(policy, packet, pod)
    if duty is None:
        print("the document leaves it open")
        return 0
    print(f"expected: {duty.route.value} ({duty.sentence}, {duty.level.value})")
    return int(any(end.kind.value != duty.route.value for end in path.ends))


def _check(arguments: argparse.Namespace) -> int:
    asked = source(arguments)
    policy = asked.required_policy()
    if asked.headline:
        print(asked.headline)
    started = time.perf_counter()
    proofs = [
        Prover(asked.rules, policy, family, asked.pod).prove(direction)
        for family in asked.families
        for direction in Direction
    ]
    took = time.perf_counter() - started
    status = _report(proofs, asked.rules, asked.families, took)
    idle = {f: idle_rules(AllPackets.of(asked.rules, f, asked.pod)) for f in asked.families}
    for family, rules in never_acting(idle).items():
        for each in rules:
            print(show.idle_line(each, family))
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
    pod = options.surroundings(arguments, old)
    families = tuple(sorted({*families_of(old), *families_of(new)}))
    found = [change for family in families for change in changes(old, new, family, pod)]
    for number, change in enumerate(found, 1):
        for line in show.change_lines(number, change):
            print(line)
    versions = " and ".join(f"IPv{family}" for family in families)
    print(f"{len(found)} changes, over every flow of {versions}" if found else "no flow changes")
    return int(bool(found))

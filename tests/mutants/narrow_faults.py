"""``python -m tests.mutants.narrow_faults``: an init command with dozens of narrow faults at once.

Each fault is a mutant that affects a few flows only. So the checks of each kind of fault must find
it, whatever the other faults do.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pytest_fsmredir.implementations.base import Completed, IptablesVariant, Refused
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.procs import run_any
from tests.mutants.changes import in_turn
from tests.mutants.collected import by_name
from tests.mutants.loading import Between, Load, UnlessAlone, install
from tests.mutants.mutant import Mutant, MutantImplementation, Read, read

KINDS: Mapping[str, Mapping[str, str]] = {
    "the header of the first packet": {
        "header-outbound-exempt-cwr": "OUT-025",
        "header-outbound-exempt-ttl-128": "OUT-024",
        "header-inbound-exempt-dscp-46": "IN-018",
        "header-inbound-exempt-fast-open": "IN-018",
        "header-ttl-64-sidecar": "OUT-024",
    },
    "who": {
        "nginx-group-exempt": "UID-006",
        "distroless-groups-exempt": "UID-006",
        "mark-exempt-istio": "UID-013",
        "mark-exempt-high-bit": "UID-013",
        "marked-udp-rejected": "PROTO-022",
    },
    "to whom": {
        "outbound-exempts-node-dns": "OUT-004",
        "outbound-exempts-cloud-agent": "OUT-004",
        "outbound-exempts-second-route": "OUT-028",
        "inbound-exempts-link-local": "V6-008",
    },
    "the sidecar's own traffic": {
        "sidecar-spared-on-low-ports": "UID-015",
        "sidecar-spared-except-metadata": "UID-016",
    },
    "loopback": {"loopback-high-ports-refused": "LO-016"},
    "idleness": {
        "idle-open-forgotten-out-v4": "CT-010",
        "idle-half-closed-forgotten-in-v6": "CT-010",
    },
    "list size": {
        "outbound-ports-cut-at-1000": "CFG-026",
        "excluded-ranges-cut-at-512": "OIX-020",
    },
    "repetition": {
        "inbound-ports-two-apart-merged": "CFG-023",
        "outbound-port-of-both-directions-lost": "CFG-004",
    },
    "second run": {
        "second-run-keeps-ipv4-ranges": "INIT-013",
    },
    "reserved ports": {
        "excluded-inbound-ports-open-15000": "RES-013",
        "included-ranges-open-15001": "RES-021",
    },
    "one family": {"ipv4-alone-unprogrammed": "V6-009"},
    "neither TCP nor UDP to a port": {
        "gre-dropped-in": "PROTO-008",
        "icmp-type-13-dropped-out": "PROTO-023",
        "udp-from-68-dropped-out": "PROTO-028",
        "dscp-cleared-dscp-46-out": "PROTO-027",
        "broadcast-dropped-in": "PROTO-029",
    },
    "left behind": {"localhost-routed": "LO-020", "forwarding-on": "INIT-017"},
}
"""For each kind of fault some mutants, each with a check that must find it."""


class Here:
    """The network namespace of this process as a target, by the contract."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        pod = json.loads(Path(environment["FSM_POD"]).read_text())
        mesh = json.loads(Path(environment["FSM_MESH_CONFIG"]).read_text())
        self.name = pod["metadata"]["name"]
        self.addresses = tuple(environment["POD_IPS"].split(","))
        self.configuration = Configuration(
            pod["metadata"].get("annotations", {}), mesh["spec"].get("traffic", {})
        )
        self.iptables = IptablesVariant(environment["FSM_IPTABLES"])

    def run(self, argv: Sequence[str], stdin: str = "") -> Completed:
        """Run a program in this namespace."""
        return Completed(*run_any(argv, stdin=stdin))


def combined(names: Iterable[str]) -> Mutant:
    """Return a mutant that has the faults of several.

    Raises:
        ValueError: More than one changes how the configuration is read or how rules are loaded.
    """
    mutants = [by_name(name) for name in names]

    def policy(policy: Policy) -> Policy:
        for mutant in mutants:
            policy = mutant.policy(policy)
        return policy

    def text(text: str) -> str:
        for mutant in mutants:
            text = mutant.text(text)
        return text

    return Mutant(
        name="narrow-faults",
        what="; ".join(mutant.what for mutant in mutants),
        source="; ".join(mutant.source for mutant in mutants),
        read=_read(mutants),
        policy=policy,
        rules=in_turn(*(mutant.rules for mutant in mutants)),
        text=text,
        load=_load([mutant.load for mutant in mutants]),
        privileged=any(mutant.privileged for mutant in mutants),
    )


def faults(without: str = "") -> list[str]:
    """Return the names of all mutants except those of one kind."""
    return [name for kind, mutants in KINDS.items() if kind != without for name in mutants]


def main(argv: Sequence[str]) -> int:
    """Program this network namespace. Return the exit status: 0 for success, 1 for a refusal."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.narrow_faults")
    parser.add_argument("--without", choices=KINDS, default="", help="leave out a kind of faults")
    mutant = combined(faults(parser.parse_args(argv).without))
    try:
        MutantImplementation(mutant).program(Here(os.environ))
    except Refused as why:
        sys.stderr.write(f"refused: {why}\n")
        return 1
    return 0


def _read(mutants: Iterable[Mutant]) -> Read:
    own = [mutant.read for mutant in mutants if mutant.read is not read]
    if len(own) > 1:
        raise ValueError("more than one of the mutants changes how the configuration is read")
    return own[0] if own else read


def _load(loads: Sequence[Load]) -> Load:
    between = [load for load in loads if isinstance(load, Between)]
    guards = [load for load in loads if isinstance(load, UnlessAlone)]
    own = [load for load in loads if load is not install and load not in (*between, *guards)]
    if len(own) > 1:
        raise ValueError("more than one of the mutants changes how the rules are loaded")
    innermost = own[0] if own else install
    for guard in guards:
        innermost = replace(guard, load=innermost)
    first = tuple(script for load in between for script in load.first)
    then = tuple(script for load in between for script in load.then)
    return Between(first, then, innermost)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

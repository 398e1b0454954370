"""Find out which mutants the self-check sees from inside a pod."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache, partial
from pathlib import Path

from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.sandbox import Sandbox
from pytest_fsmredir.cli.selfcheck.joining import joined
from pytest_fsmredir.errors import ConfigurationError
from pytest_fsmredir.implementations.base import IptablesVariant, Refused
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.reserved import SIDECAR_UID
from tests.mutants.collected import by_name
from tests.mutants.correct import IN, Case
from tests.mutants.judge import FAMILIES
from tests.mutants.loading import install
from tests.mutants.mutant import Mutant, MutantImplementation
from tests.mutants.parallel import spread
from tests.mutants.runner import ORIGINAL
from tests.mutants.unseen import kind_of

USERS = (1000, SIDECAR_UID)
"""The users that the check runs as: an application's, and the sidecar's."""

_OUTBOUND = "flomesh.io/outbound-port-exclusion-list"
_INBOUND = "flomesh.io/inbound-port-exclusion-list"
_EXCLUDED = "flomesh.io/outbound-ip-range-exclusion-list"
_INCLUDED = "flomesh.io/outbound-ip-range-inclusion-list"
_OWN = {4: ("10.77.0.1",), 6: ("fd77:1::1",)}
_PORTS = (1, 3000, 3001, 3002, 3004, *range(6000, 6098, 7), 8443, 15001, 40000, 65535)
_RANGES = (
    "1.1.1.1/32", "2.2.2.2/24", "8.0.0.0/7", "10.96.0.0/16", "100.64.0.0/10",
    "2001:db8:1::/64", "2001:db8:2::1/128", "fd00:99::/32",
)  # fmt: skip

CONFIGURATIONS = (
    Configuration(),
    Configuration(
        {
            _OUTBOUND: ",".join(map(str, _PORTS)),
            _INBOUND: "7070, 3000,9000",
            _EXCLUDED: ",".join(_RANGES),
        },
        {
            "outboundPortExclusionList": [5432, 3000],
            "inboundPortExclusionList": [9090],
            "outboundIPRangeExclusionList": ["172.20.0.0/14", "1.1.1.1/32"],
            "networkInterfaceExclusionList": ["net1"],
        },
    ),
    Configuration(
        {
            _INCLUDED: ",".join((*_RANGES, "192.0.2.0/24", "2001:db8:5::/48")),
            _EXCLUDED: "8.8.8.0/24,2001:db8:1::/96",
            _OUTBOUND: "6379",
        },
        {"outboundIPRangeInclusionList": ["172.20.0.0/14", "11.9.9.9/32"]},
    ),
    Configuration({_OUTBOUND: ",".join(map(str, range(5001, 5017)))}),
    Configuration(
        {},
        {
            "outboundPortExclusionList": list(range(5001, 5151)),
            "outboundIPRangeExclusionList": [f"3.{n}.0.0/16" for n in range(0, 140, 2)],
        },
    ),
    Configuration({_EXCLUDED: "0.0.0.0/0,::/0", _INBOUND: "6379"}),
)
"""Configurations in which most mutants that touch outbound traffic differ from the original."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the self-check says about a mutant.

    Attributes:
        mutant: Its name.
        seen: Whether the check is red in a pod where it is green with the original.
        words: The first line that says what is wrong.
    """

    mutant: str
    seen: bool
    words: str = ""


def look_at(name: str, variant: str, timeout_s: float) -> Sighting:
    """Run the check in pods of a mutant until it is red."""
    mutant = by_name(name)
    different = [each for each in CONFIGURATIONS if _is_worth_a_look(mutant, each)]
    if different and all(_is_inbound_only(mutant, each) for each in different):
        del different[1:]  # the check sends nothing that passes these rules
    for configuration in different:
        for uid, status, printed in _checked(mutant, configuration, variant, timeout_s):
            if status == 1:
                wrong = [line for line in printed.splitlines() if line.startswith("WRONG")]
                return Sighting(name, seen=True, words=f"user {uid}: {wrong[0][9:]}")
    return Sighting(name, seen=False)


def _is_worth_a_look(mutant: Mutant, configuration: Configuration) -> bool:
    return mutant.load is not install or bool(_difference(mutant, configuration))


def _is_inbound_only(mutant: Mutant, configuration: Configuration) -> bool:
    """Whether a mutant differs from the original only in chains for packets from outside."""
    lines = _difference(mutant, configuration)
    chains = {"PREROUTING", "INPUT", "FORWARD", IN}
    return mutant.load is install and all(line.split()[1] in chains for line in lines)


def _difference(mutant: Mutant, configuration: Configuration) -> set[str]:
    """Return the rules that only one of the mutant and the original loads into a pod."""
    mine, original = (_loaded(each, configuration) for each in (mutant, by_name(ORIGINAL)))
    same = SequenceMatcher(a=mine, b=original, autojunk=False).get_matching_blocks()
    kept = [line for block in same for line in mine[block.a : block.a + block.size]]
    both = Counter([*mine, *original])
    both.subtract([*kept, *kept])
    return {line for line, count in both.items() if count}


def _loaded(mutant: Mutant, configuration: Configuration) -> list[str]:
    try:
        policy = mutant.read(configuration, CONFIGURATIONS[1:2])
        plans = [mutant.rules_for(Case(policy, f, _OWN[f])) for f in mutant.families]
    except (ConfigurationError, Refused):
        return []
    lines = [line for plan in plans for line in plan.creation.splitlines()]
    return [line for line in lines if line.startswith(("-A", "-I"))]


def _checked(
    mutant: Mutant, configuration: Configuration, variant: str, timeout_s: float
) -> Iterator[tuple[int, int, str]]:
    """Yield each user, the check's exit status and its output; nothing if the mutant refuses."""
    backend = _backend(timeout_s)
    backend.judge_next(MutantImplementation(mutant), privileged=mutant.privileged)
    site = backend.new_site(configuration, second_interface=True)
    try:
        site.sidecar.stop()
        run = site.init_run(backend.toolbox(IptablesVariant(variant)), backend.confinement)
        try:
            MutantImplementation(mutant).program(run)
        except Refused:
            return
        for uid in USERS:
            status, printed = checked(site, configuration, uid, "--as-sidecar")
            yield uid, status, printed
    finally:
        site.close()


def checked(
    site: Sandbox, configuration: Configuration, uid: int, *options: str
) -> tuple[int, str]:
    """Run the check in a pod as a user, and return its exit status and its output."""
    lists = {name.value: list(items) for name, items in configuration.effective().items()}
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(joined(lists))
        file.flush()
        Path(file.name).chmod(0o644)
        as_user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        argv = [*as_user, _python(), "-I", "-S", file.name, *options]
        done = site.namespace.run_apart(
            lambda: subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        )
    return done.returncode, done.stdout + done.stderr


@cache
def _python() -> str:
    """Return a Python that every user may start."""
    system = Path("/usr/bin/python3")
    return str(system) if system.exists() else sys.executable


@cache
def _backend(timeout_s: float) -> NetnsBackend:
    original = MutantImplementation(by_name(ORIGINAL))
    return NetnsBackend(original, families=FAMILIES, timeout_s=timeout_s)


def print_seen(names: Sequence[str], jobs: int, timeout_s: float) -> int:
    """Run the check on the killable mutants. Print those that it does not see, and why.

    Returns:
        1 if it does not see a mutant and no kind of :mod:`.unseen` says why; else 0.
    """
    killable = [name for name in names if by_name(name).killable]
    seen, unexplained = 0, 0
    work = partial(look_at, variant="nft", timeout_s=timeout_s)
    for found in spread(work, killable, jobs):
        seen += found.seen
        if not found.seen:
            kind = kind_of(found.mutant)
            unexplained += kind is None
            sys.stdout.write(f"not seen: {found.mutant}: {kind.why if kind else 'UNEXPLAINED'}\n")
            sys.stdout.flush()
    sys.stdout.write(
        f"the self-check sees {seen} of {len(killable)} mutants; {unexplained} unexplained\n"
    )
    return int(unexplained > 0)

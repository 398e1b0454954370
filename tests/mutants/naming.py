"""Whether the explanation of a failure names the very rule that a mutant changes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import SequenceMatcher
from typing import NamedTuple

from pytest_fsmredir.backends.base import Pod
from pytest_fsmredir.backends.facets import ForeignPrograms
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.backends.netns.pods import NetnsPod, own_pod
from pytest_fsmredir.backends.netns.programs import no_limit
from pytest_fsmredir.implementations.base import Completed, Implementation, Refused
from pytest_fsmredir.model.checks import Check
from pytest_fsmredir.model.flow import Claim
from pytest_fsmredir.rules import live
from pytest_fsmredir.rules.forms import Chain
from pytest_fsmredir.rules.ruleset import RuleSet
from pytest_fsmredir.rules.why.explain import Explanation
from pytest_fsmredir.suite.explaining import explained, scene_of

Key = tuple[str, str, str]
Spot = tuple[str, str, str, int]


class Foreign(NamedTuple):
    """A program that a check ran in a pod and that is not of the implementation.

    Attributes:
        pod: The name of the pod.
        argv: The program and its arguments.
        stdin: Its input.
    """

    pod: str
    argv: Sequence[str]
    stdin: str


def recording(mesh: NetnsMesh) -> list[Foreign]:
    """Return a list that gets every foreign program that the check runs from now on."""
    found: list[Foreign] = []
    programs = mesh.facet(ForeignPrograms)
    run = programs.run

    def recorded(pod: Pod, argv: Sequence[str], stdin: str = "") -> Completed:
        found.append(Foreign(own_pod(pod).name, argv, stdin))
        return run(pod, argv, stdin)

    programs.run = recorded  # type: ignore[method-assign]
    return found


class Naming(NamedTuple):
    """What the explanation of a failure is worth.

    Attributes:
        names: Whether it names a rule that differs from the correct ones, or the chain in which one
            is missing; None if the rules in the pod are the correct ones.
        why: The explanation.
    """

    names: bool | None
    why: str


def naming(
    check: Check,
    claim: Claim | None,
    mesh: NetnsMesh,
    backend: NetnsBackend,
    original: Implementation,
    foreign: Sequence[Foreign] = (),
    reason: str = "",
) -> Naming:
    """Explain a failure as a run does, and compare the pod with a correct one.

    A check of every flow gives the line of the rule that decided in its reason.

    A pod in which the programming failed has no rules to compare: the failure tells why it failed.

    Args:
        check: The failed check.
        claim: Its false claim about a flow, if there is one.
        mesh: Its mesh, not closed yet.
        backend: The backend of the mesh.
        original: The correct implementation.
        foreign: The foreign programs that the check ran; the correct pod gets their rules, too.
        reason: The reason of the failure.
    """
    given = list(foreign)  # to explain the failure runs further programs
    found = explained(check, claim, mesh) or Explanation("", "no pod had a part in it")
    answers = []
    for pod in mesh.suspects(None if claim is None else claim.fate):
        if not pod.site.programming.accepted:
            continue
        own = [each for each in given if each.pod == pod.name]
        with suppress(Refused):  # no rules are correct for a configuration that has to be refused
            correct = _correct_rules(pod, mesh, backend, original, own)
            answers.append(names_the_change(found, scene_of(pod, mesh).rules, correct, reason))
    visible = [answer for answer in answers if answer is not None]
    return Naming(any(visible) if visible else None, f"{found.why}\n{found.path}")


def names_the_change(
    found: Explanation, actual: RuleSet, correct: RuleSet, reason: str = ""
) -> bool | None:
    """Whether a failure names a rule that differs, or the chain in which one is missing.

    Returns:
        None if the rules do not differ, so that no explanation can name a rule.
    """
    changed, gaps = differences(actual, correct)
    if not changed and not gaps:
        return None
    named = {place.key for place in found.places}
    missing = {spot[:3] for spot in named if spot[3] == 0}
    # A chain that no table has yet has no origin.
    gaps |= {("", table, chain) for _, table, chain in gaps}
    lines = {_lines(actual.chains[spot[:3]])[spot[3] - 1] for spot in changed}
    decided = [line.partition("; decided by ")[2] for line in reason.splitlines()]
    in_reason = any(text.endswith(f" {line}") for text in decided for line in lines)
    return bool(named & changed) or bool(missing & gaps) or in_reason


def differences(actual: RuleSet, correct: RuleSet) -> tuple[set[Spot], set[Key]]:
    """Return the rules that differ, and the chains in which a rule is missing."""
    changed: set[Spot] = set()
    gaps: set[Key] = set()
    for key in actual.chains.keys() | correct.chains.keys():
        old, new = _lines(correct.chains.get(key)), _lines(actual.chains.get(key))
        matcher = SequenceMatcher(a=old, b=new, autojunk=False)
        for kind, a, b, start, end in matcher.get_opcodes():
            if kind != "equal":
                changed |= {(*key, number + 1) for number in range(start, end)}
            if kind == "delete" or (kind == "replace" and b - a > end - start):
                gaps.add(key)
    return changed, gaps


def _correct_rules(
    pod: NetnsPod,
    mesh: NetnsMesh,
    backend: NetnsBackend,
    original: Implementation,
    foreign: Sequence[Foreign],
) -> RuleSet:
    """Return the rules that the correct implementation loads for the pod's configuration."""
    larger = len(pod.interfaces) > 1
    families = {6 if ":" in address else 4 for address in pod.addresses}
    site = backend.new_site(
        pod.configuration, larger, families.pop() if len(families) == 1 else None
    )
    try:
        node = replace(backend.confinement, limit=no_limit)
        others = site.init_run(backend.foreign_toolbox(mesh.iptables), node)
        for each in foreign:
            others.run(each.argv, each.stdin)
        run = site.init_run(backend.toolbox(mesh.iptables), backend.confinement)
        original.program(run)
        return live.read(run.run(live.command()).stdout)
    finally:
        site.close()


def _lines(chain: Chain | None) -> list[str]:
    if chain is None:
        return []
    return [rule.text.partition("] ")[2] or rule.text for rule in chain.rules]

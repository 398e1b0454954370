"""Whether the explanation of a failure names the very rule that a mutant changes."""

from __future__ import annotations

from contextlib import suppress
from difflib import SequenceMatcher
from typing import NamedTuple

from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.backends.netns.pods import NetnsPod
from pytest_fsmredir.implementations.base import Implementation, Refused
from pytest_fsmredir.model.checks import Check
from pytest_fsmredir.model.flow import Claim
from pytest_fsmredir.rules import live
from pytest_fsmredir.rules.forms import Chain
from pytest_fsmredir.rules.ruleset import RuleSet
from pytest_fsmredir.rules.why.explain import Explanation
from pytest_fsmredir.suite.explaining import explained, scene_of

Key = tuple[str, str, str]
Spot = tuple[str, str, str, int]


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
) -> Naming:
    """Explain a failure as a run does, and compare the pod with a correct one.

    Args:
        check: The failed check.
        claim: Its false claim about a flow, if there is one.
        mesh: Its mesh, not closed yet.
        backend: The backend of the mesh.
        original: The correct implementation.
    """
    found = explained(check, claim, mesh) or Explanation("", "no pod had a part in it")
    answers = []
    for pod in mesh.suspects(None if claim is None else claim.fate):
        with suppress(Refused):  # no rules are correct for a configuration that has to be refused
            correct = _correct_rules(pod, mesh, backend, original)
            answers.append(names_the_change(found, scene_of(pod, mesh).rules, correct))
    visible = [answer for answer in answers if answer is not None]
    return Naming(any(visible) if visible else None, f"{found.why}\n{found.path}")


def names_the_change(found: Explanation, actual: RuleSet, correct: RuleSet) -> bool | None:
    """Whether an explanation names a rule that differs, or the chain in which one is missing.

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
    return bool(named & changed) or bool(missing & gaps)


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
    pod: NetnsPod, mesh: NetnsMesh, backend: NetnsBackend, original: Implementation
) -> RuleSet:
    """Return the rules that the correct implementation loads for the pod's configuration."""
    larger = len(pod.interfaces) > 1
    families = {6 if ":" in address else 4 for address in pod.addresses}
    site = backend.new_site(
        pod.configuration, larger, families.pop() if len(families) == 1 else None
    )
    try:
        run = site.init_run(backend.toolbox(mesh.iptables), backend.confinement)
        original.program(run)
        return live.read(run.run(live.command()).stdout)
    finally:
        site.close()


def _lines(chain: Chain | None) -> list[str]:
    if chain is None:
        return []
    return [rule.text.partition("] ")[2] or rule.text for rule in chain.rules]

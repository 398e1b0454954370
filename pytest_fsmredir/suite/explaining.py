"""Explain a failure by the rules in its pod, which are read at the moment of the failure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.backends.protocols import JudgedMesh, Suspect
from pytest_fsmredir.errors import BackendError, ConfigurationError, FsmRedirError, tail
from pytest_fsmredir.model.checks import Check
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Claim
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.rules import live
from pytest_fsmredir.rules.why.explain import Explanation, explain, searched
from pytest_fsmredir.rules.why.scene import Scene, reading


def explained(check: Check, claim: Claim | None, mesh: JudgedMesh) -> Explanation | None:
    """Return why a check failed; None if no pod of the check had a part in it.

    A flow between two pods passes the rules of both. An error of ours never changes the outcome of
    a check: it becomes the explanation.

    Args:
        check: The check.
        claim: The false claim; None if it is not about a flow that the model knows.
        mesh: The mesh of the check, not closed yet.
    """

    def ask(scene: Scene) -> Explanation | None:
        if claim is not None:
            return explain(claim, scene)
        if Need.FOREIGN_RULES in check.needs:
            return None  # a search would blame the rules that the check itself has added
        return searched(scene, mesh.family, spec=check.spec)

    fate = None if claim is None else claim.fate  # a false claim is false as a truth value, too
    answers = [_answer(pod, mesh, ask) for pod in mesh.suspects(fate)]
    found = [answer for answer in answers if answer is not None]
    return next((each for each in found if each.places), next(iter(found), None))


def _answer(
    pod: Suspect, mesh: JudgedMesh, ask: Callable[[Scene], Explanation | None]
) -> Explanation | None:
    try:
        scene = scene_of(pod, mesh)
    except FsmRedirError as error:
        return Explanation("", f"the rules could not be read: {error}")
    try:
        found = ask(scene)
    except FsmRedirError as error:
        return Explanation("", f"the rules do not explain this: {error}")
    return None if found is None else replace(found, printed=scene.printed)


def scene_of(pod: Suspect, mesh: JudgedMesh) -> Scene:
    """Read the rules in a pod.

    Raises:
        FsmRedirError: They cannot be read.
    """
    done = mesh.inspect(pod, reading(mesh.python))
    if done.status != 0:
        raise BackendError(f"exit status {done.status}: {tail(done.stderr)}")
    policy = next(iter(_policies([pod.configuration])), Policy())
    scene = Scene.read(done.stdout, pod.interfaces, policy, _policies(pod.earlier))
    live.require_read(scene.rules, mesh.family)
    return scene


def _policies(configurations: Iterable[Configuration]) -> list[Policy]:
    """Return the policies of the configurations that have one."""
    found = []
    for configuration in configurations:
        try:
            found.append(configuration.policy())
        except ConfigurationError:  # an implementation is expected to refuse it
            continue
    return found

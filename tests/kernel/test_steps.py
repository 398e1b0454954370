"""Runs that pause before each program, so that the caller can send flows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from pytest_fsmredir.backends.facets import Sabotage
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.backends.netns.steps import SHORT_S
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.model.features import ALL_FEATURES
from tests.mutants.judge import new_backend

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]

TIMEOUT_S = 0.7
SLOWLY = """\
iptables -t nat -A OUTPUT -p tcp --dport 81 -j REDIRECT --to-ports 15001 &&
iptables -t nat -A OUTPUT -p tcp --dport 82 -j REDIRECT --to-ports 15001
"""


@pytest.fixture
def backend() -> Iterator[NetnsBackend]:
    implementation = InitCommand(SLOWLY, features=ALL_FEATURES)
    with closing(new_backend(implementation, TIMEOUT_S)) as backend:
        yield backend


@pytest.fixture
def mesh(backend: NetnsBackend) -> Iterator[NetnsMesh]:
    with closing(backend.mesh(4, IptablesVariant.NFT, exhaustive=False)) as mesh:
        yield mesh


def test_caller_sees_the_pod_before_each_program(mesh: NetnsMesh) -> None:
    """Catches: a short window between two programs is missed."""
    pod, seen = mesh.bare_pod(), []

    with mesh.facet(Sabotage).in_steps(pod) as run:
        for _ in run:
            fates = [pod.connect(mesh.server, port) for port in (81, 82)]
            seen.append(tuple(bool(fate.captured_outbound) for fate in fates))
    assert run.programming.accepted
    assert {(False, False), (True, False)} <= set(seen)
    assert pod.connect(mesh.server, 82).captured_outbound


def test_caller_that_gives_up_lets_the_run_end(mesh: NetnsMesh) -> None:
    """Catches: a failed check leaves a program waiting for ever, or flows without a timeout."""
    pod = mesh.bare_pod()

    with mesh.facet(Sabotage).in_steps(pod) as run:
        next(iter(run))
        assert mesh.backend.outside.timeout_s == SHORT_S
    assert run.programming.accepted
    assert mesh.backend.outside.timeout_s == TIMEOUT_S


def test_refusal_is_reported(backend: NetnsBackend, mesh: NetnsMesh) -> None:
    """Catches: a refused run counts as one that has programmed the pod."""
    pod = mesh.bare_pod()
    backend.judge_next(InitCommand("exit 3", features=ALL_FEATURES))

    with mesh.facet(Sabotage).in_steps(pod) as run:
        pass
    assert run.programming.refused

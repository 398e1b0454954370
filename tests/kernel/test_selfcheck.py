"""The self-check runs in pods: green over correct rules, red without rules, and honest."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.preflight import has_nat
from pytest_fsmredir.backends.netns.sandbox import Sandbox
from pytest_fsmredir.implementations.base import Implementation, IptablesVariant
from pytest_fsmredir.implementations.reference import Reference
from pytest_fsmredir.model.configuration import Configuration
from tests.mutants.collected import by_name
from tests.mutants.mutant import MutantImplementation
from tests.mutants.selfcheck import CONFIGURATIONS, USERS, checked

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]

PLAIN = Configuration()
GREEN, RED, UNSEEN = 0, 1, 2
VARIANTS = ("nft", "legacy")


class Pods:
    """Makes pods that an implementation has programmed.

    Attributes:
        backend: Where they are.
    """

    def __init__(self, backend: NetnsBackend, variant: IptablesVariant, undo: ExitStack) -> None:
        self.backend, self._variant, self._undo = backend, variant, undo

    def __call__(
        self,
        implementation: Implementation,
        configuration: Configuration = PLAIN,
        *,
        family: int | None = None,
        sidecar: bool = False,
    ) -> Sandbox:
        """Return a new pod, with the recorder as its sidecar or with none."""
        second = configuration is not PLAIN
        site = self._undo.enter_context(
            closing(self.backend.new_site(configuration, second, family))
        )
        if not sidecar:
            site.sidecar.stop()
        tools = self.backend.toolbox(self._variant)
        implementation.program(site.init_run(tools, self.backend.confinement))
        return site


@pytest.fixture(params=VARIANTS)
def programmed(request: pytest.FixtureRequest) -> Iterator[Pods]:
    """Makes pods of each variant."""
    variant = IptablesVariant(request.param)
    if not has_nat(variant):
        pytest.skip(f"no nat table of the {variant} variant here")
    with ExitStack() as undo:
        backend = NetnsBackend(Reference(), families=(4, 6), timeout_s=1.0)
        undo.enter_context(closing(backend))
        yield Pods(backend, variant, undo)


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("uid", USERS)
def test_correct_rules_are_green_before_the_sidecar_starts(
    programmed: Pods, number: int, uid: int
) -> None:
    """Catches: a false alarm, for the application's user or the sidecar's."""
    configuration = CONFIGURATIONS[number]
    site = programmed(Reference(), configuration)

    status, printed = checked(site, configuration, uid, "--as-sidecar")

    assert (status, "WRONG" in printed) == (GREEN, False), printed


@pytest.mark.parametrize("number", range(3))
def test_correct_rules_are_green_while_the_sidecar_runs(programmed: Pods, number: int) -> None:
    """Catches: a readiness probe that keeps a correct pod out of its service."""
    configuration = CONFIGURATIONS[number]
    site = programmed(Reference(), configuration, sidecar=True)

    status, printed = checked(site, configuration, 1000)

    assert (status, "WRONG" in printed) == (GREEN, False), printed


@pytest.mark.parametrize("sidecar", [False, True])
@pytest.mark.parametrize("number", range(3))
def test_pod_without_rules_is_red(programmed: Pods, number: int, sidecar: bool) -> None:
    """Catches: a check that passes where nothing is redirected."""
    configuration = CONFIGURATIONS[number]
    nothing = MutantImplementation(by_name("nothing-programmed"))
    site = programmed(nothing, configuration, sidecar=sidecar)

    status, printed = checked(site, configuration, 1000, *([] if sidecar else ["--as-sidecar"]))

    assert status == RED, printed
    assert "expected captured outbound; it left the pod by eth0" in printed


@pytest.mark.parametrize("family", [4, 6])
def test_pod_of_one_version_is_checked_in_it(programmed: Pods, family: int) -> None:
    """Catches: a check that stops because the pod lacks the other IP version."""
    site = programmed(Reference(), family=family)

    status, printed = checked(site, PLAIN, 1000, "--as-sidecar")

    assert status == GREEN, printed
    assert f"IPv{10 - family}" not in printed


def test_missing_version_is_red_and_the_other_one_can_be_chosen(programmed: Pods) -> None:
    """Catches: b31: IPv6 that passes the sidecar by."""
    site = programmed(MutantImplementation(by_name("ipv6-not-programmed")))

    status, printed = checked(site, PLAIN, 1000, "--as-sidecar")
    assert status == RED, printed
    status, printed = checked(site, PLAIN, 1000, "--as-sidecar", "--ip", "4")
    assert status == GREEN, printed


def test_application_sees_no_rule_for_the_sidecar_and_the_sidecar_does(programmed: Pods) -> None:
    """Catches: a manifest with one user where each sees a part of the rules."""
    site = programmed(MutantImplementation(by_name("sidecar-rule-lost")))

    status, printed = checked(site, PLAIN, 1000, "--as-sidecar")
    assert status == GREEN, printed
    status, printed = checked(site, PLAIN, 1500, "--as-sidecar")
    assert status == RED, printed


def test_check_that_cannot_see_says_so(programmed: Pods) -> None:
    """Catches: a green check that took the wrong mode, or lists that capture nothing."""
    everything = Configuration({"flomesh.io/outbound-ip-range-exclusion-list": "0.0.0.0/0,::/0"})
    sidecar_runs = programmed(Reference(), sidecar=True)
    no_sidecar = programmed(Reference(), everything)

    status, printed = checked(sidecar_runs, PLAIN, 1000, "--as-sidecar")
    assert (status, "port 15001 is taken" in printed) == (UNSEEN, True), printed
    status, printed = checked(no_sidecar, everything, 1000)
    assert (status, "no socket" in printed) == (UNSEEN, True), printed
    status, printed = checked(no_sidecar, everything, 1000, "--as-sidecar")
    assert (status, "nothing shows its rules" in printed) == (UNSEEN, True), printed


def test_connection_past_the_sidecar_is_red(programmed: Pods) -> None:
    """Catches: b45: an inbound hook that is lost, which only the pod's sockets show."""
    lost = MutantImplementation(by_name("inbound-hook-lost"))
    site = programmed(lost, sidecar=True)
    with ExitStack() as undo:
        server = undo.enter_context(site.namespace.socket(4, socket.SOCK_STREAM))
        server.bind(("", 8080))
        server.listen()
        client = undo.enter_context(programmed.backend.world.socket(4, socket.SOCK_STREAM))
        client.connect_ex((site.addresses[0], 8080))
        status, printed = checked(site, PLAIN, 1000)

    assert status == RED, printed
    assert "reached port 8080 past the sidecar" in printed

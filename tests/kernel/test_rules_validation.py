"""Packets validate the model of the rules, and a wrong model is an error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from pytest_fsmredir.backends.base import Pod
from pytest_fsmredir.backends.facets import (
    ForeignPrograms,
    ForgedPackets,
    KernelSettings,
    SecondInterface,
    Taps,
)
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.backends.pod_parts import Memory
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.implementations.base import IptablesVariant, Target
from pytest_fsmredir.implementations.reference.programming import Reference
from pytest_fsmredir.model.checks import MUST
from pytest_fsmredir.model.claims import PROVED
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Fate
from pytest_fsmredir.model.rule_use import RuleUse
from pytest_fsmredir.probing import search as searching
from pytest_fsmredir.probing.search import Search
from pytest_fsmredir.probing.sending import Sender
from pytest_fsmredir.rules import live
from pytest_fsmredir.rules.packet import Packet
from pytest_fsmredir.rules.prove import Proof, Prover
from pytest_fsmredir.rules.ruleset import RuleSet

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]

LISTS = Configuration(
    {
        "flomesh.io/outbound-port-exclusion-list": "6379,7070",
        "flomesh.io/inbound-port-exclusion-list": "8443",
        "flomesh.io/outbound-ip-range-exclusion-list": "1.1.1.0/24,2001:db8:100::/56",
    }
)


@pytest.fixture(scope="module")
def backend() -> Iterator[NetnsBackend]:
    """One backend for all tests; each test has its own mesh."""
    with closing(NetnsBackend(Reference(), families=(4, 6), timeout_s=5.0)) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_learnt(backend: NetnsBackend) -> None:
    """Forget what earlier tests learnt, so that each test sends its packets."""
    backend.memory = Memory()


@contextmanager
def mesh_of(backend: NetnsBackend, variant: str, family: int) -> Iterator[NetnsMesh]:
    mesh = backend.mesh(family, IptablesVariant(variant), exhaustive=False)
    try:
        yield mesh
    finally:
        mesh.close()


def searched(mesh: NetnsMesh, *, fresh: bool = False) -> Search:
    return search_of(mesh, mesh.pod(annotations=LISTS.annotations, fresh=fresh))


def search_of(mesh: NetnsMesh, pod: Pod) -> Search:
    programs, kernel = mesh.facet(ForeignPrograms), mesh.facet(KernelSettings)
    taps, forged = mesh.facet(Taps), mesh.facet(ForgedPackets)
    return searching.search(mesh, pod, programs, kernel, taps, forged, MUST, LISTS)


def use_of(mesh: NetnsMesh) -> RuleUse:
    found = searched(mesh).agrees
    assert found.holds, found.seen
    assert found.use is not None
    return found.use


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("variant", ["nft", "legacy", "native"])
def test_every_condition_of_the_reference_is_validated(
    backend: NetnsBackend, variant: str, family: int
) -> None:
    """Catches: a trace that cannot be read, and a condition that no packet shows."""
    with mesh_of(backend, variant, family) as mesh:
        use = use_of(mesh)
    assert use.unshown == ()
    assert (use.missed, use.idle, use.redundant) == ((), (), ())
    assert use.shown == use.conditions >= 14


WRONG = {
    "other user": ("--uid-owner 1500", "--uid-owner 1501"),
    "other port": ("6379,7070", "6378,7071"),
    "other range": ("1.1.1.0/24", "1.1.2.0/24"),
    "negated": ("-d 1.1.1.0/24", "! -d 1.1.1.0/24"),
    "other interface": ("-o lo -j RETURN", "-o eth0 -j RETURN"),
    "other state": ("--ctstate INVALID", "--ctstate NEW"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_wrong_model_is_an_error(
    backend: NetnsBackend, variant: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: a model that differs from the kernel, and that packets do not contradict."""
    old, new = WRONG[wrong]

    read = live.read

    def misread(printed: str) -> RuleSet:
        assert old in printed
        return read(printed.replace(old, new))

    monkeypatch.setattr(live, "read", misread)
    monkeypatch.setattr(Prover, "prove", lambda _, direction: Proof(direction, 4))
    wrong_model = pytest.raises(BackendError, match=r"wrong model of the rules: .* match")
    with mesh_of(backend, variant, 4) as mesh, wrong_model:
        searched(mesh)


def test_confirmed_conditions_are_not_sent_again(
    backend: NetnsBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: every pod of a run that pays for the rules that all pods have."""
    sent: list[Packet] = []
    send = Sender.send

    def counted(sender: Sender, packet: Packet) -> Fate | None:
        sent.append(packet)
        return send(sender, packet)

    monkeypatch.setattr(Sender, "send", counted)
    with mesh_of(backend, "nft", 4) as mesh:
        first = use_of(mesh)
    assert sent
    sent.clear()
    with mesh_of(backend, "nft", 4) as mesh:
        again = searched(mesh, fresh=True).agrees.use
    assert (again, sent) == (first, [])


def test_judging_another_implementation_forgets_the_last_one(backend: NetnsBackend) -> None:
    """Catches: an implementation whose rules are believed because the last one had them."""
    learnt = backend.memory.of(dict)
    assert backend.memory.of(dict) is learnt
    backend.judge_next(Reference())
    assert backend.memory.of(dict) is not learnt


class _Spared(Reference):
    """The reference, with the port of the inbound listener exempt."""

    def program(self, target: Target) -> None:
        """Program one pod."""
        super().program(target)
        words = "-t nat -I PREROUTING -p tcp --dport 15003 -j RETURN"
        assert target.run(["iptables", *words.split()]).status == 0


def test_listener_that_is_dialled_directly_contradicts_nothing() -> None:
    """Catches: an error of ours for an implementation that exempts the sidecar's own port."""
    with (
        closing(NetnsBackend(_Spared(), families=(4,), timeout_s=5.0)) as backend,
        mesh_of(backend, "nft", 4) as mesh,
    ):
        assert searched(mesh).agrees


class _Masked(Reference):
    """The reference, with a new source for calls inside the pod."""

    def program(self, target: Target) -> None:
        """Program one pod."""
        super().program(target)
        words = "-t nat -A POSTROUTING -o lo -p tcp --dport 15001 -j SNAT --to-source 127.0.0.9"
        assert target.run(["iptables", *words.split()]).status == 0


def test_new_source_of_a_call_inside_the_pod_is_no_failure() -> None:
    """Catches: a failure for a source that no sentence protects."""
    with (
        closing(NetnsBackend(_Masked(), families=(4,), timeout_s=5.0)) as backend,
        mesh_of(backend, "nft", 4) as mesh,
    ):
        found = searched(mesh).agrees
        assert found.holds, found.seen
        assert "its source may change" in found.status


class _Moved(Reference):
    """The reference, with an excluded inbound port redirected to itself."""

    def program(self, target: Target) -> None:
        """Program one pod."""
        super().program(target)
        words = "-t nat -I PREROUTING -p tcp --dport 8443 -j REDIRECT"
        assert target.run(["iptables", *words.split()]).status == 0


def test_redirect_to_another_address_of_the_pod_is_found() -> None:
    """Catches: a server bound to one address of two, whose clients the other address gets."""
    with (
        closing(NetnsBackend(_Moved(), families=(4,), timeout_s=5.0)) as backend,
        mesh_of(backend, "nft", 4) as mesh,
    ):
        second = mesh.facet(SecondInterface)
        pod = second.pod(annotations=LISTS.annotations)
        found = search_of(mesh, pod).agrees
        moved = f"to {second.address(pod)}:8443: accepted by"
        assert (found.holds, found.status) == (False, PROVED)
        assert moved in found.seen
        assert f"at {pod.address}:8443" in found.seen

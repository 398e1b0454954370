"""The search for leaks over IPv6 where IPv6 is declared as not claimed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.implementations.select import Claims, ClaimSource
from pytest_fsmredir.model.outcomes import Outcome, Variant
from pytest_fsmredir.suite import catalogue, runner
from pytest_fsmredir.suite.plan import Plan
from pytest_fsmredir.suite.results import Results
from pytest_fsmredir.suite.runner import Runner


class OpenPlace:
    """A pod or a place outside the mesh, all of whose flows bypass the sidecar."""

    address = "fd00::1"

    def connect(self, _to: object, _port: int) -> SimpleNamespace:
        return SimpleNamespace(direct=True, avoided=lambda *_: False)

    def listen(self, _port: int, *, host: str, uid: int) -> None:
        assert (host, uid) == (self.address, 1500)


class KindOfTwoFamilies:
    """A backend of dual-stack pods in Kubernetes."""

    families, remarks = (4, 6), ()

    def __init__(self, pod: OpenPlace | None) -> None:
        self._pod = pod

    def mesh(self, *_: object, **__: object) -> SimpleNamespace:
        place = OpenPlace()
        return SimpleNamespace(pod=self._made, client=place, server=place, close=lambda: None)

    def _made(self) -> OpenPlace:
        if self._pod is None:
            raise BackendError("no room on the node")
        return self._pod


def remarks_on(backend: KindOfTwoFamilies, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run two checks of IPv6 that are not claimed, and return the remarks."""
    monkeypatch.setattr(runner, "make_backend", lambda *_, **__: backend)
    variant = Variant("kind", "nft", 6)
    plan = Plan(
        settings=cast("Any", SimpleNamespace(exhaustive=False)),
        catalogue=catalogue.load(),
        implementation=cast("Any", None),
        variants=(variant,),
        claims=Claims(frozenset(), ClaimSource.DECLARED),
    )
    running = Runner(plan, Results("not needed", {}))
    for check_id in ("V6-001", "V6-002"):
        row = running.execute(plan.catalogue[check_id], variant).row
        assert row.outcome is Outcome.UNSUPPORTED
    return running.results.remarks


def test_leak_in_kubernetes_is_shown_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a declaration hides a leak of real pods, which netns would show."""
    remarks = remarks_on(KindOfTwoFamilies(OpenPlace()), monkeypatch)

    assert [each.rpartition(" (")[2] for each in remarks] == ["V6-001)", "V6-002)", "RES-003)"]


def test_search_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a search that could not be made looks like one that found no leak."""
    (remark,) = remarks_on(KindOfTwoFamilies(None), monkeypatch)

    assert "the search for leaks over IPv6 failed: no room on the node" in remark

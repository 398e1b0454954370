"""Which pods a wait is for, and what the others cost it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.pods import watcher
from pytest_fsmredir.backends.kubernetes.pods.agent_links import AgentLinks
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images
from pytest_fsmredir.backends.kubernetes.pods.orders import Order, PooledPod
from pytest_fsmredir.backends.kubernetes.pods.watcher import Watcher
from pytest_fsmredir.errors import BackendError, DeadlineError
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.configuration import Configuration

UP = {
    "phase": "Running",
    "podIPs": [{"ip": "10.0.0.1"}],
    "containerStatuses": [{"name": "app", "state": {"running": {}}}],
}
STARTING = {"phase": "Pending"}
BROKEN = {
    "phase": "Failed",
    "containerStatuses": [{"name": "app", "state": {"terminated": {"exitCode": 1}}}],
}


class Pods:
    """A cluster whose pods have the states of the test."""

    def __init__(self, **statuses: dict[str, Any]) -> None:
        self.statuses, self.looks = statuses, 0
        self.dialled: list[str] = []
        links = cast("AgentLinks", self)
        cluster = cast("Cluster", self)
        self.watcher = Watcher(cluster, "run", Images(pod="image"), links, init_timeout_s=30.0)
        order = Order(Configuration(), IptablesVariant.NFT)
        self.sites = {name: PooledPod(name, ("app",), order) for name in statuses}
        self.watcher.expect(self.sites.values())

    def get(self, _path: str, **_options: str) -> dict[str, Any]:
        """Return the pods, as the API does."""
        self.looks += 1
        return {
            "items": [
                {"metadata": {"name": name}, "spec": {"containers": []}, "status": status}
                for name, status in self.statuses.items()
            ]
        }

    def log(self, *_where: str) -> str:
        """Return the log of a container."""
        return "no such file"

    def dial(self, site: PooledPod) -> None:
        """Record that the links to a pod are opened."""
        self.dialled.append(site.name)


def test_wait_ends_with_its_own_pods() -> None:
    """Catches: a check that waits for the pods of all others."""
    pods = Pods(first=UP, second=STARTING)
    pods.watcher.wait([pods.sites["first"]])
    assert pods.dialled == ["first"]
    assert not pods.sites["second"].is_settled


def test_wait_settles_every_pod_that_is_up() -> None:
    """Catches: a list of all pods for each pod of a run."""
    pods = Pods(first=UP, second=UP)
    pods.watcher.wait([pods.sites["first"]])
    pods.watcher.wait([pods.sites["second"]])
    assert pods.dialled == ["first", "second"]
    assert pods.looks == 1


def test_broken_pod_fails_only_those_who_wait_for_it() -> None:
    """Catches: one broken pod that fails every check, or that fails its check once only."""
    pods = Pods(first=UP, second=BROKEN)
    pods.watcher.wait([pods.sites["first"]])
    for _ in range(2):
        with pytest.raises(BackendError, match=r"second cannot come up.*no such file"):
            pods.watcher.wait([pods.sites["second"]])
    assert pods.looks == 1


def test_pods_that_are_stuck_together_cost_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a full cluster that costs a deadline for each pod."""
    monkeypatch.setattr(watcher, "STUCK_S", -1.0)
    pods = Pods(first=STARTING, second=STARTING)
    for name in ("first", "second"):
        with pytest.raises(DeadlineError, match=r"2 pods not up.*first: Pending; second"):
            pods.watcher.wait([pods.sites[name]])
    assert pods.looks == 1


def test_removed_pod_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a message that names pods which no longer exist."""
    monkeypatch.setattr(watcher, "STUCK_S", -1.0)
    pods = Pods(first=STARTING, second=STARTING)
    pods.watcher.forget(pods.sites["second"])
    with pytest.raises(DeadlineError, match=r"^1 pod not up"):
        pods.watcher.wait([pods.sites["first"]])

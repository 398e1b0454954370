"""Pods that arrive while checks run."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import cast

import pytest

from pytest_fsmredir.backends.kubernetes.agents.manifests import APP
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster, Object
from pytest_fsmredir.backends.kubernetes.pods.agent_links import AgentLinks
from pytest_fsmredir.backends.kubernetes.pods.arrivals import Arrivals
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images
from pytest_fsmredir.backends.kubernetes.pods.orders import PooledPod
from pytest_fsmredir.backends.kubernetes.pods.watcher import Watcher
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.errors import BackendError, DeadlineError


class Pods(Cluster):
    """A cluster whose pods have the states that a test sets."""

    def __init__(self, *names: str) -> None:
        self.states: dict[str, Object] = {name: {"waiting": {}} for name in names}

    def get(self, path: str, **query: str) -> Object:
        """Return the pods."""
        del path, query
        return {
            "items": [
                {
                    "metadata": {"name": name},
                    "spec": {"containers": [{"name": APP}]},
                    "status": {
                        "phase": "Running",
                        "podIPs": [{"ip": "10.111.0.7"}],
                        "containerStatuses": [{"name": APP, "state": state}],
                    },
                }
                for name, state in self.states.items()
            ]
        }


class Links:
    """Links that are never opened."""

    def dial(self, site: PooledPod) -> None:
        """Do nothing."""


@contextmanager
def arrivals(cluster: Cluster) -> Iterator[Arrivals]:
    links = cast("AgentLinks", Links())
    made = Arrivals(Watcher(cluster, "demo", Images(pod="image"), links, init_timeout_s=30.0))
    with closing(made):
        yield made


def sites(*names: str) -> Sequence[PooledPod]:
    return [PooledPod(name, (APP,)) for name in names]


def test_a_check_waits_for_its_own_pod_alone() -> None:
    """Catches: a run that waits for all pods before its first check."""
    cluster = Pods("first", "second")
    first, second = sites("first", "second")
    with arrivals(cluster) as expected:
        expected.expect([first, second])
        cluster.states["first"] = {"running": {}}
        expected.wait(first)
        assert first.addresses == ("10.111.0.7",)
        assert second.arrival is not None
        assert not second.arrival.done()
        cluster.states["second"] = {"running": {}}
        expected.wait(second)
        assert second.addresses


def test_pod_that_cannot_come_up_ends_the_wait_for_all() -> None:
    """Catches: a check that waits for ever for a pod whose neighbour is broken."""
    cluster = Pods("first", "second")
    first, second = sites("first", "second")
    cluster.states["first"] = {"waiting": {"reason": "InvalidImageName"}}
    with arrivals(cluster) as expected:
        expected.expect([second, first])
        for site in (first, second):
            with pytest.raises(BackendError, match="InvalidImageName"):
                expected.wait(site)


def test_pod_that_was_refused_at_admission_has_arrived() -> None:
    """Catches: a check that waits for a pod which the mesh refused to make."""
    (refused,) = sites("refused")
    refused.programming = Programming(accepted=False, reason="no")
    with arrivals(Pods()) as expected:
        expected.expect([refused])
        expected.wait(refused)


def test_end_of_the_run_ends_the_wait() -> None:
    """Catches: an interrupted run that stays until its pods are up."""
    (site,) = sites("first")
    with arrivals(Pods("first")) as expected:
        expected.expect([site])
    with pytest.raises(DeadlineError):
        expected.wait(site)
    assert not any(each.name == "fsmredir-arrivals" for each in threading.enumerate())

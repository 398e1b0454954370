"""Which nodes have their pods when, and what a lost node costs."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.pods.nodes_in_turn import BLOCK, NodesInTurn
from pytest_fsmredir.backends.kubernetes.pods.orders import Order, PooledPod
from pytest_fsmredir.backends.protocols import Wanted
from pytest_fsmredir.errors import BackendError, DeadlineError, NodeLostError
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.configuration import Configuration

NFT = IptablesVariant.NFT
NAMES = [f"n{number:02}" for number in range(20)]


class Nodes:
    """A cluster that knows the state of its nodes, and a pool that makes one pod a node."""

    def __init__(self) -> None:
        self.dead: set[str] = set()
        self.stuck: set[str] = set()
        self.asked = 0
        self.alive: dict[str, PooledPod] = {}
        wanted = [Wanted(lambda: None, 4, NFT, name) for name in NAMES]
        self.turns = NodesInTurn(
            cast("Cluster", self),
            wanted,
            make=self.make,
            wait=self.wait,
            remove=self.remove,
        )

    def remove(self, site: PooledPod) -> None:
        """Remove a pod."""
        del self.alive[site.ordered.node]

    def get(self, _path: str) -> dict[str, Any]:
        """Return the nodes, as the API does."""
        self.asked += 1
        ready = {name: "False" if name in self.dead else "True" for name in NAMES}
        return {
            "items": [
                {
                    "metadata": {"name": name},
                    "status": {
                        "conditions": [{"type": "Ready", "status": state, "message": "off"}]
                    },
                }
                for name, state in ready.items()
            ]
        }

    def make(self, wanted: Sequence[Wanted]) -> list[PooledPod]:
        """Make a pod for each check."""
        made = [
            PooledPod(each.node, ("app",), Order(Configuration(), NFT, node=each.node))
            for each in wanted
        ]
        self.alive |= {site.name: site for site in made}
        return made

    def wait(self, sites: Sequence[PooledPod]) -> None:
        """Fail for pods that do not come up."""
        for site in sites:
            if site.name in self.stuck | self.dead:
                raise DeadlineError(f"{site.name} is not up")


@pytest.fixture
def nodes() -> Nodes:
    """Twenty nodes."""
    return Nodes()


def test_pods_of_a_block_exist_at_a_time(nodes: Nodes) -> None:
    """Catches: pods of all nodes at once, or a node that has to wait for its block's last pod."""
    nodes.turns.begin()
    assert list(nodes.alive) == NAMES[:BLOCK]
    most = 0
    for name in NAMES:
        nodes.turns.reach(name)
        nodes.turns.reach(name)
        assert name in nodes.alive
        most = max(most, len(nodes.alive))
    assert most == BLOCK + 1
    assert list(nodes.alive) == NAMES[-1:]


def test_next_block_starts_while_the_last_node_is_judged(nodes: Nodes) -> None:
    """Catches: a run that stands still at the end of each block."""
    for name in NAMES[:BLOCK]:
        nodes.turns.reach(name)
    assert NAMES[BLOCK] in nodes.alive


def test_dead_node_fails_alone_and_at_once(nodes: Nodes) -> None:
    """Catches: a dead node that costs a deadline for each of its checks."""
    nodes.turns.begin()
    nodes.dead.add(NAMES[1])
    for _ in range(3):
        with pytest.raises(NodeLostError, match="the node n01 was lost: not Ready: off"):
            nodes.turns.reach(NAMES[1])
    assert nodes.asked == 1
    nodes.turns.reach(NAMES[2])


def test_pods_that_do_not_come_up_on_a_sound_node_say_why(nodes: Nodes) -> None:
    """Catches: a missing image that is reported as a lost node."""
    nodes.stuck.add(NAMES[0])
    with pytest.raises(DeadlineError, match="n00 is not up"):
        nodes.turns.begin()


def test_run_goes_on_if_the_first_node_is_lost(nodes: Nodes) -> None:
    """Catches: a run of 50 nodes that ends because the first one died."""
    nodes.dead.add(NAMES[0])
    nodes.turns.begin()
    with pytest.raises(NodeLostError):
        nodes.turns.reach(NAMES[0])
    nodes.turns.reach(NAMES[1])


@pytest.mark.parametrize("link", [None, SimpleNamespace(lost="cut")])
def test_lost_link_makes_the_next_check_ask_for_the_node(nodes: Nodes, link: object) -> None:
    """Catches: a node that died during its checks, each of which waits for an answer."""
    nodes.turns.begin()
    nodes.turns.reach(NAMES[0])
    site = nodes.alive[NAMES[0]]
    site.link = cast("Any", link)
    other = PooledPod("server", ("app",), link=cast("Any", SimpleNamespace(lost="")))
    nodes.turns.use(site)
    nodes.turns.use(other)
    assert nodes.turns.reach(NAMES[0]) == [other]  # the link is lost for another reason
    assert nodes.asked == 1
    assert nodes.turns.reach(NAMES[0]) == []
    assert nodes.asked == 1
    nodes.dead.add(NAMES[0])
    nodes.turns.use(site)
    with pytest.raises(BackendError, match="was lost"):
        nodes.turns.reach(NAMES[0])


def test_node_that_dies_while_a_check_waits_fails_its_later_checks_at_once(nodes: Nodes) -> None:
    """Catches: a deadline for each pod of a node that died before its pods were up."""
    nodes.turns.begin()
    nodes.dead.add(NAMES[0])
    with pytest.raises(NodeLostError, match="the node n00 was lost"):
        nodes.turns.wait(nodes.alive[NAMES[0]])
    with pytest.raises(NodeLostError):
        nodes.turns.reach(NAMES[0])
    assert nodes.asked == 1

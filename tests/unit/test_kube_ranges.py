"""Addresses of a cluster that are free for the far ends of a run."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

import pytest

from pytest_fsmredir.backends.kubernetes.cluster import remote
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster, Object
from pytest_fsmredir.backends.kubernetes.cluster.kind import KindSite
from pytest_fsmredir.backends.kubernetes.cluster.remote import needs_met, unused_ranges
from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.errors import DeadlineError
from pytest_fsmredir.model.vocabulary import REMOTE_HOSTS

NODES = {
    "items": [
        {"spec": {"podCIDRs": ["10.111.0.0/24"]}},
    ]
}


class NewCluster(Cluster):
    """A cluster whose first pod gets its address some time after its creation."""

    def __init__(self, address: str, looks: int) -> None:
        self._address, self._looks = address, looks

    def get(self, path: str, **query: object) -> Object:
        """Return an object of the API."""
        del query
        if path == "/api/v1/nodes":
            return NODES
        if path.endswith("/services/kubernetes"):
            return {"spec": {"clusterIP": "10.112.0.1"}}
        self._looks -= 1
        known = [{"ip": self._address}] if self._looks < 0 else []
        node = {"spec": {"hostNetwork": True}, "status": {"podIPs": [{"ip": "172.18.0.2"}]}}
        return {"items": [node, {"spec": {}, "status": {"podIPs": known}}]}


@pytest.fixture(autouse=True)
def interfaces(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of the node's interfaces; a test can add some."""
    found = ["172.18.0.2"]

    def shown(_node: str, _argv: object) -> str:
        return json.dumps([{}, {"addr_info": [*({"local": each} for each in found), {}]}])

    monkeypatch.setattr(remote, "in_node", shown)
    return found


def site(address: str, looks: int = 0) -> KindSite:
    return KindSite(None, NewCluster(address, looks), ("one",))


def test_ranges_wait_for_an_address_of_a_pod_in_a_new_cluster() -> None:
    assert "10.244.0.0/15" not in unused_ranges(site("10.244.0.7", looks=2))


def test_ranges_of_other_clusters_are_free() -> None:
    free = unused_ranges(site("10.111.0.7"))
    assert {"10.244.0.0/15", "10.96.0.0/15", "198.18.0.0/15"} <= set(free)


def test_range_of_another_bridge_of_a_node_is_not_free(interfaces: list[str]) -> None:
    """Catches: an implementation blamed for a destination that the node itself cannot reach."""
    interfaces.append("10.244.0.1")
    assert "10.244.0.0/15" not in unused_ranges(site("10.111.0.7"))


def test_no_range_is_free_when_the_ranges_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*_: object) -> None:
        raise DeadlineError("waited for a pod with an address")

    monkeypatch.setattr(remote, "eventually", give_up)
    assert not unused_ranges(site("10.244.0.7"))


def test_ipv6_has_listeners_where_pods_have_ipv6() -> None:
    """Catches: IPv6 checks that fail because no listener has an IPv6 address."""
    assert Need.REMOTE_ADDRESSES in needs_met(unused_ranges(site("fd00:10:244::7")), 6)
    assert Need.REMOTE_ADDRESSES not in needs_met(unused_ranges(site("2a00::7")), 6)
    four = unused_ranges(site("10.111.0.7"))
    assert Need.REMOTE_ADDRESSES in needs_met(four, 4)
    assert Need.REMOTE_ADDRESSES not in needs_met(four, 6)


def test_every_address_that_a_check_dials_directly_is_answered() -> None:
    """Catches: a correct implementation that fails on kind, and packets sent to strangers."""
    for family, address in ((4, "10.111.0.7"), (6, "fd00:10:111::7")):
        ranges = unused_ranges(site(address))
        assert {Need.REMOTE_ADDRESSES, Need.PRIVATE_ADDRESSES} <= needs_met(ranges, family)
        answered = [ip_network(each) for each in ranges]
        named = map(ip_address, REMOTE_HOSTS[family])
        assert [each for each in named if not any(each in network for network in answered)] == []

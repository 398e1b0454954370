"""Make nodes answer for addresses outside the cluster, so that checks can dial them."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from ipaddress import ip_network
from typing import Any

from pytest_fsmredir import procs
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster
from pytest_fsmredir.backends.kubernetes.cluster.kind import COMMAND_S, KindSite, in_node
from pytest_fsmredir.backends.kubernetes.cluster.namespaces import runs
from pytest_fsmredir.backends.kubernetes.cluster.waiting import eventually
from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.errors import DeadlineError

NETWORK_S = 60.0
"""Seconds that pods of a new cluster may take to get addresses: its nodes must get ready first."""

_DOCUMENTED = ("10.96.0.0/15", "10.243.0.0/16", "10.244.0.0/15")
"""Examples of FSM's documentation that are also the usual ranges of clusters."""

_OUTSIDE = {
    4: (
        "1.1.1.0/24", "2.2.0.0/16",
        "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "8.8.8.0/24", "16.0.0.0/4", "32.0.0.0/3", "64.0.0.0/3", "96.0.0.0/4", "112.0.0.0/5",
        "126.0.0.0/8", "128.0.0.0/8", "146.0.0.0/8", "168.0.0.0/8", "185.0.0.0/8", "204.0.0.0/8",
        "223.0.0.0/8", "240.0.0.0/4",
    ),
    6: ("2000::/3", "64:ff9b::/96", "100::/64"),
}  # fmt: skip
"""Other examples of FSM's documentation, unassigned addresses, and enough public addresses that a
range of every prefix length fits in. Nodes cannot pull images while they answer for them."""

_PRIVATE = {
    4: (
        "10.0.0.0/24", "10.22.0.0/16", "10.43.0.0/16", "10.96.0.0/15", "10.100.0.0/16",
        "10.152.0.0/16", "10.171.0.0/16", "10.240.0.0/16", "169.254.0.0/16", "172.16.0.0/24",
        "172.17.0.0/16", "172.20.0.0/16", "172.31.0.0/16", "192.0.0.0/24", "192.88.99.0/24",
        "192.168.0.0/24",
    ),
    6: (
        "::/96", "fc00::/32", "fd00:10:96::/64", "fd00:ec2::/64", "fd20:ce::/64", "fdff:ffff::/32",
        "fec0::/16",
    ),
}  # fmt: skip
"""Private, link-local and reserved ranges that other clusters and clouds use for services."""


def free_ranges(taken: Iterable[str], families: Collection[int]) -> tuple[str, ...]:
    """Return the ranges that nodes can answer for in a cluster.

    Args:
        taken: Addresses and ranges that the cluster uses itself.
        families: The IP versions of its pods.
    """
    own = [ip_network(each) for each in taken]
    networks = [each for each in map(ip_network, _every_range()) if each.version in families]
    return tuple(str(each) for each in networks if not any(each.overlaps(o) for o in own))


def needs_met(ranges: Iterable[str], family: int) -> frozenset[Need]:
    """Return the needs of checks that are met if nodes answer for these ranges."""
    answered = frozenset(ranges)
    met = {
        Need.REMOTE_ADDRESSES: answered.issuperset(_OUTSIDE[family]),
        Need.DEFAULT_CLUSTER_RANGES: answered.issuperset(_DOCUMENTED),
        Need.PRIVATE_ADDRESSES: answered.issuperset(_PRIVATE[family]),
    }
    return frozenset(need for need, is_met in met.items() if is_met)


@contextmanager
def remote_ranges(site: KindSite) -> Iterator[Sequence[str]]:
    """Make the nodes answer for ranges outside the cluster, for the block.

    Yields:
        The ranges.
    """
    ranges = unused_ranges(site)
    forget_routes(site)
    # IPv4 answers from an address only if the routing table "local" has it (__ip_dev_find).
    # The metric is the process id, so that concurrent runs have separate routes.
    routes = [_local(each, os.getpid()) for each in ranges]
    with ExitStack() as undo:
        for node in site.nodes:
            removing = [f"route del {route}" for route in routes]
            if not site.fleeting:
                undo.enter_context(procs.guarded(_ip_command(node, removing)))
            _ip(node, [f"route replace {route}" for route in routes])
            if not site.fleeting:
                undo.callback(_ip, node, removing)
        yield ranges


def forget_routes(site: KindSite) -> list[str]:
    """Remove the routes of killed runs from the nodes, and return their ranges."""
    forgotten = []
    for node in site.nodes:
        shown = [in_node(node, ["ip", "-json", f"-{n}", *_SHOW]) for n in _OUTSIDE]
        routes = [route for text in shown for route in json.loads(text or "[]")]
        left = [route for route in routes if _is_of_a_dead_run(route)]
        if left:
            _ip(node, [f"route del {_local(each['dst'], each['metric'])}" for each in left])
        forgotten += [str(each["dst"]) for each in left]
    return forgotten


def unused_ranges(site: KindSite) -> Sequence[str]:
    """Return the ranges that nodes can answer for, because the cluster does not use them.

    Addresses of pods count too, because a network plugin may ignore the podCIDRs of nodes. In a new
    cluster no pod has an address yet, so wait for one. The addresses of all interfaces of the nodes
    count, because the first address of a node's network is a broadcast address there, which no flow
    reaches (fib_add_ifaddr, Linux).
    """
    cluster = site.cluster
    try:
        pods = eventually(lambda: set(_pod_addresses(cluster)), NETWORK_S, "a pod with an address")
    except DeadlineError:
        return ()  # the addresses that the cluster uses are unknown
    nodes = cluster.get("/api/v1/nodes")["items"]
    pods.update(each for node in nodes for each in node["spec"].get("podCIDRs", ()))
    families = {ip_network(each).version for each in pods}
    return free_ranges([*pods, *_addresses(site), _service(cluster)], families)


def _every_range() -> tuple[str, ...]:
    """Return every range that nodes can answer for, each once."""
    lists = (_DOCUMENTED, *_OUTSIDE.values(), *_PRIVATE.values())
    return tuple(dict.fromkeys(each for listed in lists for each in listed))


_SHOW = ["route", "show", "table", "local", "dev", "lo"]


def _local(network: str, metric: int) -> str:
    return f"local {network} dev lo table local metric {metric}"


def _is_of_a_dead_run(route: Mapping[str, Any]) -> bool:
    """Whether :func:`remote_ranges` made a route in a process that has ended."""
    metric = route.get("metric", 0)
    return route.get("dst") in _every_range() and metric > 0 and not runs(metric)


def _ip(node: str, commands: Sequence[str]) -> None:
    procs.run(_ip_command(node, commands), timeout_s=COMMAND_S)


def _ip_command(node: str, commands: Sequence[str]) -> list[str]:
    """Return a command that runs ip(8) commands in a node, all of them even if some fail."""
    script = """printf '%s\\n' "$@" | ip -force -batch -"""
    return ["docker", "exec", node, "/bin/sh", "-c", script, "sh", *commands]


def _addresses(site: KindSite) -> Iterator[str]:
    """Yield the addresses of the nodes' interfaces, without loopback and link-local ones."""
    for node in site.nodes:
        for link in json.loads(in_node(node, ["ip", "-json", "addr", "show", "scope", "global"])):
            # ip(8) prints an empty object for what it does not show.
            shown = filter(None, link.get("addr_info", ()))
            yield from (each["local"] for each in shown)


def _service(cluster: Cluster) -> str:
    """Return the cluster IP of the Service ``kubernetes``, which shows the range of Services."""
    service = cluster.get("/api/v1/namespaces/default/services/kubernetes")
    return str(service["spec"]["clusterIP"])


def _pod_addresses(cluster: Cluster) -> Iterator[str]:
    """Yield the addresses of pods that are not on their node's network."""
    for pod in cluster.get("/api/v1/pods", resourceVersion="0")["items"]:
        if not pod["spec"].get("hostNetwork"):
            yield from (each["ip"] for each in pod["status"].get("podIPs", ()))

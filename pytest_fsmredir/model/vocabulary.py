"""Words that several checks share: names of lists, and samples of ports and addresses."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

from pytest_fsmredir.model.checks import Profile
from pytest_fsmredir.model.features import Feature
from pytest_fsmredir.model.flow import Acceptor, Direction, Route
from pytest_fsmredir.model.policy import ListName
from pytest_fsmredir.model.reserved import (
    ADMIN_PORT,
    HEALTH_PORT,
    INBOUND_PORT,
    LIVENESS_PORT,
    METRICS_PORT,
    OUTBOUND_PORT,
    READINESS_PORT,
    STARTUP_PORT,
)
from pytest_fsmredir.model.reserved import SERVED_PORTS as SERVED_PORTS

_LISTS = (
    ListName.OUTBOUND_IP_RANGE_EXCLUSION,
    ListName.OUTBOUND_IP_RANGE_INCLUSION,
    ListName.OUTBOUND_PORT_EXCLUSION,
    ListName.INBOUND_PORT_EXCLUSION,
)

# The four annotations.
EXCLUDED_RANGES, INCLUDED_RANGES, EXCLUDED_OUTBOUND_PORTS, EXCLUDED_INBOUND_PORTS = (
    name.annotation or "" for name in _LISTS
)

# The lists of a MeshConfig.
(
    MESH_EXCLUDED_RANGES,
    MESH_INCLUDED_RANGES,
    MESH_EXCLUDED_OUTBOUND_PORTS,
    MESH_EXCLUDED_INBOUND_PORTS,
) = (name.mesh_config_key for name in _LISTS)
MESH_EXCLUDED_INTERFACES: Final = ListName.NETWORK_INTERFACE_EXCLUSION.mesh_config_key

PORT_EXCLUSIONS: Final = frozenset(
    {Feature.OUTBOUND_PORT_EXCLUSION, Feature.INBOUND_PORT_EXCLUSION}
)
EXCLUSIONS: Final = PORT_EXCLUSIONS | {Feature.OUTBOUND_IP_RANGE_EXCLUSION}
ALL_LISTS: Final = EXCLUSIONS | {Feature.OUTBOUND_IP_RANGE_INCLUSION}

# What twins of checks differ in: the parameters of their cases, and words of their requirements.
EXCLUDING_RANGES: Final[Mapping[str, Any]] = {
    "profile": Profile.EXCLUSIONS,
    "features": {Feature.OUTBOUND_IP_RANGE_EXCLUSION},
    "listed": EXCLUDED_RANGES,
    "in_mesh": MESH_EXCLUDED_RANGES,
    "inside": Route.DIRECT,
    "outside": Route.SIDECAR_OUTBOUND,
    "kind": "exclusion",
    "done": "excluded",
    "fate": "direct",
}
INCLUDING_RANGES: Final[Mapping[str, Any]] = {
    "profile": Profile.INCLUSIONS,
    "features": {Feature.OUTBOUND_IP_RANGE_INCLUSION},
    "listed": INCLUDED_RANGES,
    "in_mesh": MESH_INCLUDED_RANGES,
    "inside": Route.SIDECAR_OUTBOUND,
    "outside": Route.DIRECT,
    "kind": "inclusion",
    "done": "included",
    "fate": "captured",
}
EXCLUDING_OUTBOUND: Final[Mapping[str, Any]] = {
    "profile": Profile.EXCLUSIONS,
    "features": {Feature.OUTBOUND_PORT_EXCLUSION},
    "listed": EXCLUDED_OUTBOUND_PORTS,
    "direction": Direction.OUTBOUND,
    "captured": Route.SIDECAR_OUTBOUND,
    "way": "outbound",
}
EXCLUDING_INBOUND: Final[Mapping[str, Any]] = {
    "profile": Profile.EXCLUSIONS,
    "features": {Feature.INBOUND_PORT_EXCLUSION},
    "listed": EXCLUDED_INBOUND_PORTS,
    "direction": Direction.INBOUND,
    "captured": Route.SIDECAR_INBOUND,
    "way": "inbound",
}

EVERYWHERE: Final = {4: "0.0.0.0/0", 6: "::/0"}
"""The range of every address, by IP version."""

SEED_OUTBOUND_PORTS: Final = {EXCLUDED_OUTBOUND_PORTS: "6379,7070"}
SEED_INBOUND_PORTS: Final = {EXCLUDED_INBOUND_PORTS: "6379,7070"}
SEED_PORTS: Final = SEED_OUTBOUND_PORTS | SEED_INBOUND_PORTS
"""Annotations with the seed's examples of port lists."""

NEAR_SEED_PORTS: Final = (6, 70, 637, 707, 6378, 6380, 7000, 7069, 7071, 63790)
AROUND_SEED_PORTS: Final = tuple(sorted({*NEAR_SEED_PORTS, *range(6000, 8000)} - {6379, 7070}))
"""Ports that the seed's examples do not list: a few that resemble them, and all around them."""

EXAMPLE_PORTS: Final = {
    EXCLUDED_OUTBOUND_PORTS: "6379,7070,65535,1",
    EXCLUDED_INBOUND_PORTS: "6379,8443,65535,1",
}
EXAMPLE_EXCLUSIONS: Final = {
    4: {EXCLUDED_RANGES: "1.1.1.1/32,2.2.2.2/24,10.96.0.0/12,100.16.0.0/24,102.64.0.0/16"},
    6: {
        EXCLUDED_RANGES: "2001:db8:100::/56,2001:db8:7::1/128,2001:db8:2000::/48,2001:db8:4080::/48"
    },
}
EXAMPLE_INCLUSIONS: Final = {
    4: {INCLUDED_RANGES: "10.244.0.0/16,10.96.0.0/13,192.0.0.0/3"},
    6: {INCLUDED_RANGES: "2001:db8:100::/48,2001:db8:5::/48"},
}
"""Annotations with items of several kinds, ranges by IP version."""

AROUND_INCLUSIONS: Final = {
    4: ("10.244.0.0/15", "128.0.0.0/1"),
    6: ("2001:db8:100::/47", "2001:db8:4::/47"),
}
"""Ranges around one of the example, the first with its first address, by IP version."""

AWKWARD_RANGES: Final = {
    4: (
        "100.18.0.0/16", "101.1.1.0/24", "101.1.2.0/24", "72.0.0.0/6", "12.0.0.7/32",
        *(f"100.0.{2 * n}.0/24" for n in range(61)),
    ),
    6: (
        "2001:db8:2100::/40", "2001:db8:3001::/48", "2001:db8:3002::/48", "2c00::/7",
        "2001:db8:6::7/128", *(f"2001:db8:{n + 4096:x}::/48" for n in range(61)),
    ),
}  # fmt: skip
"""Ranges that are misread where ranges are merged, cut or shortened, by IP version."""

NESTED_RANGES: Final = {
    4: ("100.16.0.0/16", "100.16.0.0/24", "102.64.0.0/16", "102.0.0.0/9"),
    6: ("2001:db8:2000::/40", "2001:db8:2000::/48", "2001:db8:4080::/48", "2001:db8:4000::/40"),
}
"""Ranges within each other, two of which have one first address, by IP version."""

RANGES_OF_THE_OTHER_FAMILY: Final = {4: "2001:db8:64::/48,::/0", 6: "10.96.0.0/16,0.0.0.0/0"}
"""A list of ranges that names no address of the IP version."""

PEER: Final = {"example.com/role": "peer"}
"""An annotation without a meaning for the mesh: a pod with it is not shared with other checks."""

RESERVED_PORTS: Final = (ADMIN_PORT, OUTBOUND_PORT, INBOUND_PORT, *SERVED_PORTS)

SERVED_LISTENERS: Final = {
    METRICS_PORT: Acceptor.METRICS,
    LIVENESS_PORT: Acceptor.LIVENESS,
    READINESS_PORT: Acceptor.READINESS,
    STARTUP_PORT: Acceptor.STARTUP,
    HEALTH_PORT: Acceptor.HEALTH,
}
"""The listeners that clients outside the pod reach, by their ports."""

CLOSED_PORT: Final = 20024
"""A port on which nothing listens, in a pod or outside."""

FEW_PORTS: Final = (1, 22, 53, 80, 443, 6379, 15000, 15001, 15003, 15904, 65535)

# 1500 and 15002 are numbers of FSM but not reserved ports. Other meshes skip the rest, or
# some of it, without being asked: remote shells, routing, the API server of the cluster, and
# protocols in which the server speaks first.
REMOTE_PORTS: Final = (
    1, 21, 22, 25, 53, 80, 110, 123, 143, 179, 443, 587, 1500, 3306, 4444, 5432, 6379, 6443, 8080,
    9300,
)  # fmt: skip
HIGH_REMOTE_PORTS: Final = (
    10250, 11211, 15002, 15006, 15014, 15021, 27017, 32767, 32768, 60999, 61000, 65534, 65535,
)  # fmt: skip

RANDOM_PORTS: Final = tuple(random.Random(1).sample(range(1, 65536), 150))  # noqa: S311 - no secret

PORTS_OF_OTHER_MESHES: Final = (
    4140, 4143, 4190, 4191, 5676, 5678, 5681, 6060, 6061, 8300, 8500, 8501, 8502, 9901, 9902,
    15004, 15008, 15053, 15090, 15128, 15129, 20000, 20100, 20200, 21500, 21502,
)  # fmt: skip
"""What Linkerd, Consul, Kuma, Istio, OSM and Pipy's own admin service reserve for themselves."""

OFTEN_SPARED_PORTS: Final = (111, 2379, 5671, 8126, 9092, 9200, 15020, 27017, 30080, 61001)
"""Databases, caches, queues, agents and node ports that rule sets were seen to spare."""

NEAR_POWERS_OF_TWO: Final = frozenset(
    {(1 << power) - near for power in range(16) for near in (0, 1)} - {0}
)

# Agents and metadata of clouds, resolvers of nodes, private, shared and reserved ranges, what
# clusters use themselves, the neighbours of loopback, and public ones.
REMOTE_HOSTS: Final = {
    4: (
        "1.1.1.1", "8.8.8.8", "10.0.0.1", "10.22.141.9", "10.43.0.10", "10.96.0.1", "10.96.0.10",
        "10.100.0.10", "10.152.183.1", "34.118.224.10", "100.100.100.200", "168.63.129.16",
        "169.254.0.1", "169.254.20.10", "169.254.25.10", "169.254.169.123", "169.254.169.253",
        "169.254.170.2", "169.254.255.254", "172.17.0.1", "172.20.0.10", "192.0.0.192",
        "10.171.63.200", "10.240.5.77", "35.180.1.2", "52.94.236.248", "91.189.91.38",
        "100.64.0.1", "126.255.255.254", "128.0.0.1", "146.75.34.133", "169.254.169.254",
        "172.16.0.1", "172.31.255.254", "185.199.108.153", "192.168.0.1", "192.88.99.1",
        "204.79.197.200", "223.255.255.254", "240.0.0.1", "255.255.255.254",
    ),
    6: (
        "2001:4860:4860::8888", "2606:4700::1111", "fd00:10:96::1", "fd00:10:96::a",
        "fd00:ec2::23", "fd00:ec2::253", "fd00:ec2::254", "fd20:ce::254", "100::1", "2000::1",
        "2002::1", "fc00::1", "fec0::1",
        "fdff:ffff::1", "64:ff9b::808:808", "3fff::1", "::2",
    ),
}  # fmt: skip

# The range from which Linux chooses source ports, node ports of Kubernetes, and what listens on
# localhost in many pods: databases, agents and debuggers.
_EDGES = {28232, 30000, 32000, 49151, 49152, 60998, 60999, 61000, 61001, 65000, 65534, 65535}
_USED = {22, 53, 80, 443, 1500, 3306, 5005, 5432, 6379, 8080, 8125, 8126, 9090, 9229, 15002, 40000}
LOCAL_PORTS: Final = frozenset(NEAR_POWERS_OF_TWO | _EDGES | _USED)

FIRST_OCTETS: Final = (*range(1, 127), *range(128, 224), *range(240, 256))
"""The first octets of IPv4 addresses that hosts can have, loopback left out."""

FORWARDING_SETTING: Final = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}
"""The kernel setting that makes a host forward packets, by IP version."""

# Each bit by itself, all of them, the numbers that FSM uses, and marks of Istio, Istio's ambient
# mode, Kubernetes, Cilium, Calico, Tailscale and the documents of TPROXY.
MARKS: Final = (
    *(1 << bit for bit in range(32)), 0xFFFFFFFF, 1500, 15001, 15003, 1337, 1338, 0x111, 133, 100,
    0xA00, 0xC00, 0xE00, 0xC0000, 0x1A0000, 0xFFFF0000, 0xDEADBEEF,
)  # fmt: skip

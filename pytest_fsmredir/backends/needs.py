"""The optional abilities of a backend that checks may need."""

from __future__ import annotations

from enum import StrEnum


class Need(StrEnum):
    """An ability, beyond pods and flows, that a check needs from the backend.

    A check is "not run" if the backend lacks one of its needs.
    """

    PROGRAMMING = "programs pods on demand"
    TAP = "sees the packets on the pod's link"
    SECOND_INTERFACE = "pods with a second interface and a second address"
    SINGLE_FAMILY = "pods with addresses of one IP version only"
    FOREIGN_RULES = "foreign rules in the pod"
    FORGED_PACKETS = "packets made by hand"
    KERNEL_SETTINGS = "network settings of a pod's kernel"
    SIDECAR_CONTROL = "a sidecar that can be stopped, and switched between answering and forwarding"
    ANSWERING_SIDECAR = "a sidecar that answers the flows it accepts, and counts them"
    FAR_ENDS = "servers that can stay half-open and send first"
    REMOTE_ADDRESSES = "any remote address can be dialled"
    CLIENT_ADDRESSES = "clients outside at any address"
    PRIVATE_ADDRESSES = "private and link-local addresses can be dialled"
    DEFAULT_CLUSTER_RANGES = "addresses that clusters use by default are free"
    BOTH_VARIANTS = "both iptables variants in one pod"
    SABOTAGE = "can disturb a running implementation: fail its programs, kill it, hold its lock"
    NESTED_CONTAINERS = "containers nested in a pod"
    WORKLOADS = "workloads, services and probes of a cluster"
    WEBHOOK = "a mesh that injects pods by itself, and reads a MeshConfig"

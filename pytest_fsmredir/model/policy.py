"""The effective redirection policy of one pod."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network

Network = IPv4Network | IPv6Network


class ListName(StrEnum):
    """The five lists that configure a pod's redirection, by their names in the contract."""

    OUTBOUND_IP_RANGE_EXCLUSION = "outbound_ip_range_exclusion_list"
    OUTBOUND_IP_RANGE_INCLUSION = "outbound_ip_range_inclusion_list"
    OUTBOUND_PORT_EXCLUSION = "outbound_port_exclusion_list"
    INBOUND_PORT_EXCLUSION = "inbound_port_exclusion_list"
    NETWORK_INTERFACE_EXCLUSION = "network_interface_exclusion_list"

    @property
    def annotation(self) -> str | None:
        """Key of the pod annotation, or None for the interface list, which has mesh scope only."""
        return _ANNOTATIONS[self]

    @property
    def mesh_config_key(self) -> str:
        """Key under ``spec.traffic`` of a MeshConfig, such as ``outboundPortExclusionList``."""
        return _MESH_CONFIG_KEYS[self]

    @property
    def variable(self) -> str:
        """Name of the environment variable of the contract."""
        return "FSM_" + self.value.upper()


def _annotation(name: ListName) -> str | None:
    if name is ListName.NETWORK_INTERFACE_EXCLUSION:
        return None
    return "flomesh.io/" + name.value.replace("_", "-")


def _mesh_config_key(name: ListName) -> str:
    first, *rest = name.value.split("_")
    return first + "".join("IP" if word == "ip" else word.capitalize() for word in rest)


_ANNOTATIONS = {name: _annotation(name) for name in ListName}
_MESH_CONFIG_KEYS = {name: _mesh_config_key(name) for name in ListName}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The settings that one pod's redirection must honour: both scopes merged, every value valid.

    Attributes:
        outbound_ip_range_exclusion_list: Destinations that outbound TCP reaches unredirected.
        outbound_ip_range_inclusion_list: When not empty, the only destinations redirected.
        outbound_port_exclusion_list: Destination ports that outbound TCP reaches unredirected.
        inbound_port_exclusion_list: Pod ports that inbound TCP reaches unredirected.
        network_interface_exclusion_list: Interfaces whose traffic is not redirected, either way.
    """

    outbound_ip_range_exclusion_list: tuple[Network, ...] = ()
    outbound_ip_range_inclusion_list: tuple[Network, ...] = ()
    outbound_port_exclusion_list: tuple[int, ...] = ()
    inbound_port_exclusion_list: tuple[int, ...] = ()
    network_interface_exclusion_list: tuple[str, ...] = ()

"""Derive the lists and the policy of one pod from its annotations and the MeshConfig."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Any, TypeVar

from pytest_fsmredir.errors import AnnotationError, ConfigurationError, MeshConfigError
from pytest_fsmredir.model.policy import ListName, Network, Policy

IP_RANGE_LISTS = (ListName.OUTBOUND_IP_RANGE_EXCLUSION, ListName.OUTBOUND_IP_RANGE_INCLUSION)
PORT_LISTS = (ListName.OUTBOUND_PORT_EXCLUSION, ListName.INBOUND_PORT_EXCLUSION)

_INTERFACE = re.compile(r"[^\s/:,\0]+")
_INTERFACE_BYTES = 15  # IFNAMSIZ less the NUL (linux/if.h)
_DECIMAL = re.compile(r"[0-9]{1,5}")
_MESH_CONFIG_KEYS = [name.mesh_config_key for name in ListName]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings of one pod as the user wrote them, valid or not.

    Attributes:
        annotations: The pod's annotations.
        traffic: The lists under ``spec.traffic`` of the MeshConfig, by their key there.
    """

    annotations: Mapping[str, str] = field(default_factory=dict)
    traffic: Mapping[str, Sequence[object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reject what no Pod and no MeshConfig can hold; implementations validate the values.

        Raises:
            AnnotationError: An annotation is not a text.
            MeshConfigError: A list does not exist, or its value is not a list.
        """
        _reject_annotations(self.annotations)
        _reject_lists(self.traffic)

    @classmethod
    def of(cls, pod: Mapping[str, Any], mesh_config: Mapping[str, Any]) -> Configuration:
        """Return the settings in the annotations of a Pod and the lists of a MeshConfig."""
        traffic = mesh_config.get("spec", {}).get("traffic") or {}
        keys = [name.mesh_config_key for name in ListName]
        lists = {key: traffic[key] for key in keys if traffic.get(key) is not None}
        return cls(pod["metadata"].get("annotations") or {}, lists)

    def effective(self) -> dict[ListName, tuple[str, ...]]:
        """Return the union of both scopes: each value trimmed, not validated, without duplicates.

        FSM puts the mesh scope first for ports and the pod scope first for IP ranges.
        """
        return {name: self._united(name) for name in ListName}

    def policy(self) -> Policy:
        """Return the validated policy.

        Raises:
            AnnotationError: An annotation is malformed; the message names value and annotation.
            MeshConfigError: A MeshConfig list is malformed; the message names value and list.
        """
        return Policy(
            outbound_ip_range_exclusion_list=self._parsed(
                ListName.OUTBOUND_IP_RANGE_EXCLUSION, parse_ip_range
            ),
            outbound_ip_range_inclusion_list=self._parsed(
                ListName.OUTBOUND_IP_RANGE_INCLUSION, parse_ip_range
            ),
            outbound_port_exclusion_list=self._parsed(ListName.OUTBOUND_PORT_EXCLUSION, parse_port),
            inbound_port_exclusion_list=self._parsed(ListName.INBOUND_PORT_EXCLUSION, parse_port),
            network_interface_exclusion_list=self._parsed(
                ListName.NETWORK_INTERFACE_EXCLUSION, parse_interface
            ),
        )

    @property
    def is_valid(self) -> bool:
        """Whether every item of every list is valid, so that a policy exists."""
        try:
            self.policy()
        except ConfigurationError:
            return False
        return True

    def pod_document(self, name: str) -> dict[str, Any]:
        """Return the Pod as an object of the Kubernetes API, annotations unchanged."""
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "app", "annotations": dict(self.annotations)},
            "spec": {"containers": [{"name": "app", "image": "app"}]},
        }

    def mesh_config_document(self) -> dict[str, Any]:
        """Return the MeshConfig with all five lists; a list that is not set is empty."""
        lists = {n.mesh_config_key: list(self.traffic.get(n.mesh_config_key, ())) for n in ListName}
        return {
            "apiVersion": "config.flomesh.io/v1alpha3",
            "kind": "MeshConfig",
            "metadata": {"name": "fsm-mesh-config", "namespace": "fsm-system"},
            "spec": {"traffic": lists},
        }

    def _scopes(self, name: ListName) -> list[tuple[str, list[str]]]:
        """Return (source, values) of the pod scope, then of the mesh scope."""
        scopes = []
        if name.annotation is not None and name.annotation in self.annotations:
            values = [value.strip() for value in self.annotations[name.annotation].split(",")]
            scopes.append((f"annotation {name.annotation}", values))
        if name.mesh_config_key in self.traffic:
            values = [str(value).strip() for value in self.traffic[name.mesh_config_key]]
            scopes.append((f"MeshConfig spec.traffic.{name.mesh_config_key}", values))
        return scopes[::-1] if name in PORT_LISTS else scopes

    def _united(self, name: ListName) -> tuple[str, ...]:
        return _unique(value for _, values in self._scopes(name) for value in values)

    def _parsed(self, name: ListName, parse: Callable[[str], T]) -> tuple[T, ...]:
        found: list[T] = []
        for where, values in self._scopes(name):
            error = AnnotationError if where.startswith("annotation") else MeshConfigError
            for value in values:
                try:
                    found.append(parse(value))
                except ValueError as why:
                    raise error(f"{where}: {value!r} {why}") from None
        return _unique(found)


def _reject_annotations(annotations: object) -> None:
    if not isinstance(annotations, Mapping):
        raise AnnotationError(
            f"annotations: {annotations!r} must be a mapping such as {{'name': 'value'}}"
        )
    for name, value in annotations.items():
        if not isinstance(name, str):
            raise AnnotationError(
                f"annotation {name!r}: its name must be a string; put it in quotes"
            )
        if not isinstance(value, str):
            raise AnnotationError(
                f"annotation {name}: {value!r} must be a string, with commas between items, such"
                " as '80,443'"
            )


def _reject_lists(traffic: object) -> None:
    known = _MESH_CONFIG_KEYS
    if not isinstance(traffic, Mapping):
        raise MeshConfigError(
            f"MeshConfig spec.traffic: {traffic!r} must be a mapping such as"
            f" {{'{known[0]}': [...]}}"
        )
    for key, values in traffic.items():
        if key not in known:
            raise MeshConfigError(
                f"MeshConfig spec.traffic.{key}: no such list; known: {', '.join(sorted(known))}"
            )
        if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
            raise MeshConfigError(
                f"MeshConfig spec.traffic.{key}: {values!r} is not a list; put its items in"
                " brackets, such as [80, 443]"
            )


def parse_port(text: str) -> int:
    """Return a TCP port, 1-65535.

    Raises:
        ValueError: The text is not a decimal port; the message completes "'text' ...".
    """
    if not _DECIMAL.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise ValueError("is not a port from 1 to 65535")
    return int(text)


@lru_cache(maxsize=1 << 14)
def parse_ip_range(text: str) -> Network:
    """Return a CIDR range; host bits are cleared, so ``2.2.2.2/24`` is ``2.2.2.0/24``.

    Raises:
        ValueError: The text is not a CIDR range; an address without a prefix length is rejected.
    """
    address, slash, prefix = text.partition("/")
    if slash and _DECIMAL.fullmatch(prefix):
        of_ipv6 = ":" in address
        with suppress(OSError, ValueError):
            # A list may have thousands of items, and ip_network() takes three times as long.
            raw = socket.inet_pton(socket.AF_INET6 if of_ipv6 else socket.AF_INET, address)
            return (IPv6Network if of_ipv6 else IPv4Network)((raw, int(prefix)), strict=False)
    raise ValueError("is not a CIDR range such as 10.0.0.0/8")


def parse_interface(text: str) -> str:
    """Return a network interface name, 1-15 bytes.

    Raises:
        ValueError: The kernel does not allow the name.
    """
    too_long = len(os.fsencode(text)) > _INTERFACE_BYTES
    if too_long or not _INTERFACE.fullmatch(text) or text in {".", ".."}:
        raise ValueError("is not an interface name of 1 to 15 bytes")
    return text


def _unique(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))


__all__ = [
    "IP_RANGE_LISTS",
    "PORT_LISTS",
    "Configuration",
    "ConfigurationError",
    "parse_interface",
    "parse_ip_range",
    "parse_port",
]

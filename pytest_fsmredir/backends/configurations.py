"""Build and validate the configuration that a test or a check requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_fsmredir.errors import AnnotationError
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.policy import ListName
from pytest_fsmredir.text import closest

PREFIX = "flomesh.io/"

_LISTS = tuple(name.annotation.removeprefix(PREFIX) for name in ListName if name.annotation)
_OTHERS = (
    "sidecar-injection", "sidecar-image", "metrics", "monitored-by", "ignore", "reconcile",
    "hold-application-until-proxy-starts", "graceful-exit-until-downstream-ends",
    "service-exclusion", "service-exclusion-list", "egress-gateway-mode", "cloud-endpoint-hash",
    "traffic-warmup-enable", "traffic-warmup-duration", "traffic-warmup-minweight",
    "traffic-warmup-maxweight", "traffic-warmup-aggression",
)  # fmt: skip
"""FSM's annotations and labels that do not shape the redirection (FSM, pkg/constants)."""
_RESOURCES = ("sidecar-resource-limits-", "sidecar-resource-requests-")
"""Prefixes: the name of a resource such as ``cpu`` follows (FSM, pkg/constants)."""


def asked_for(
    annotations: Mapping[str, str] | None, mesh_config: Mapping[str, Sequence[object]] | None
) -> Configuration:
    """Return the configuration that a test requests.

    Args:
        annotations: Pod annotations; None for none. Annotations of other tools are ignored.
        mesh_config: The lists under ``spec.traffic`` of the MeshConfig; None for none.

    Raises:
        AnnotationError: FSM has no such annotation. FSM silently ignores a misspelled list.
        ConfigurationError: A value has the wrong type, or the MeshConfig has no such list.
    """
    configuration = Configuration(annotations or {}, mesh_config or {})
    for name in configuration.annotations:
        if name.startswith(PREFIX):
            _reject_unknown(name)
    return configuration


def _reject_unknown(name: str) -> None:
    known, own = (*_LISTS, *_OTHERS), name.removeprefix(PREFIX)
    if own in known or own.startswith(_RESOURCES):
        return
    interfaces = ListName.NETWORK_INTERFACE_EXCLUSION
    if own == interfaces.value.replace("_", "-"):
        hint = f"set {interfaces.mesh_config_key} in the MeshConfig instead"
    elif near := closest(own, known):
        hint = f"did you mean {PREFIX}{near}?"
    else:
        hint = f"the lists are {', '.join(PREFIX + each for each in _LISTS)}"
    raise AnnotationError(f"annotation {name}: FSM has no such annotation; {hint}")

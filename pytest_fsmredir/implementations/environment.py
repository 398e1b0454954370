"""The contract's variables: what an implementation is told about a pod."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pytest_fsmredir.implementations.base import Target
from pytest_fsmredir.model.policy import ListName
from pytest_fsmredir.model.reserved import INBOUND_PORT, OUTBOUND_PORT, SIDECAR_UID

LISTS = {name: name.variable.removeprefix("FSM_").lower() for name in ListName}
"""The name a rules template has for each list."""


def contract_values(target: Target) -> dict[str, str | tuple[str, ...]]:
    """Return what the contract says of a pod, by lower case name, lists as tuples of text."""
    effective = target.configuration.effective()
    return {
        **{LISTS[name]: values for name, values in effective.items()},
        "pod_ip": next((a for a in target.addresses if ":" not in a), target.addresses[0]),
        "pod_ips": target.addresses,
        "proxy_uid": str(SIDECAR_UID),
        "inbound_port": str(INBOUND_PORT),
        "outbound_port": str(OUTBOUND_PORT),
        "iptables": target.iptables.value,
    }


def contract_environment(
    target: Target, *, pod_file: Path, mesh_config_file: Path, path: str
) -> dict[str, str]:
    """Return the environment of an init command: ours, with the contract's variables on top.

    Which check is running (PYTEST_CURRENT_TEST) is nothing that an implementation is to know.
    """
    return {
        **{name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")},
        **_variables(contract_values(target)),
        "PATH": path,
        "FSM_POD": str(pod_file),
        "FSM_MESH_CONFIG": str(mesh_config_file),
    }


def _variables(values: Mapping[str, str | tuple[str, ...]]) -> dict[str, str]:
    return {
        (name if name.startswith("pod_") else f"fsm_{name}").upper(): (
            value if isinstance(value, str) else ",".join(value)
        )
        for name, value in values.items()
    }

"""The contract's environment variables."""

from __future__ import annotations

import os
from pathlib import Path

from pytest_fsmredir.implementations.base import Target
from pytest_fsmredir.spec.reserved import INBOUND_PORT, OUTBOUND_PORT, SIDECAR_UID


def contract_environment(
    target: Target, *, pod_file: Path, mesh_config_file: Path, path: str
) -> dict[str, str]:
    """Return the environment of an init command: ours, with the contract's variables on top."""
    lists = {
        name.variable: ",".join(values) for name, values in target.configuration.effective().items()
    }
    return {
        **os.environ,
        **lists,
        "PATH": path,
        "POD_IP": next((a for a in target.addresses if ":" not in a), target.addresses[0]),
        "POD_IPS": ",".join(target.addresses),
        "FSM_PROXY_UID": str(SIDECAR_UID),
        "FSM_INBOUND_PORT": str(INBOUND_PORT),
        "FSM_OUTBOUND_PORT": str(OUTBOUND_PORT),
        "FSM_POD": str(pod_file),
        "FSM_MESH_CONFIG": str(mesh_config_file),
        "FSM_IPTABLES": target.iptables.value,
    }

"""Put agents into pods: their archive, its mount, and the commands that run it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from pytest_fsmredir.backends.kubernetes.agents.archive import agent_archive
from pytest_fsmredir.backends.kubernetes.cluster.client import Object

APP, SIDECAR, HEALTH = "app", "sidecar", "health"
AGENT_CONTAINER = "app"

AGENT = "fsmredir-agent"
ARCHIVE = "agent.pyz"
MOUNTED = "/fsmredir/agent"
PYTHON = ["python3", "-I", "-S", f"{MOUNTED}/{ARCHIVE}"]


def agent_config_map(files: Mapping[str, bytes]) -> Object:
    """Return the ConfigMap with the agent's archive and the files that init containers need."""
    data = {ARCHIVE: agent_archive(), **files}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": AGENT},
        "binaryData": {name: b64encode(content).decode() for name, content in data.items()},
    }

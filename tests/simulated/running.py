"""Run a simulated cluster in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Running:
    """A simulated cluster that runs.

    Attributes:
        kubeconfig: Names it.
        url: The address of its API server.
    """

    kubeconfig: Path
    url: str

    @property
    def options(self) -> tuple[str, ...]:
        """The options of a run that judges all of its nodes."""
        return (
            "--fsm-backend=cluster",
            f"--fsm-kubeconfig={self.kubeconfig}",
            "--fsm-inject=manual",
            "--fsm-init-cmd=true",  # the simulation programs the reference
            "--fsm-pod-image=none",
            "--fsm-nodes=all",
            "--fsm-ip=4",
            "--fsm-iptables=nft",
        )

    def requests(self) -> Mapping[str, int]:
        """Return the numbers of requests, and the largest number of pods."""
        with urlopen(f"{self.url}/simulation/requests") as answer:  # noqa: S310 - loopback
            found: dict[str, int] = json.load(answer)
        return found


@contextmanager
def simulated(nodes: int, directory: Path, *doomed: str) -> Iterator[Running]:
    """Run a simulated cluster for the block.

    Args:
        nodes: Number of nodes, ``node-01`` and so on.
        directory: Where to write the kubeconfig.
        doomed: Nodes that die, such as ``node-02=3`` for a node that dies after 3 flows.
    """
    kubeconfig = directory / "kubeconfig"
    argv = [sys.executable, "-m", "tests.simulated", str(nodes), str(kubeconfig), *doomed]
    with subprocess.Popen(
        argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Running(kubeconfig, process.stdout.readline().strip())
        finally:
            process.stdin.close()
            process.wait(timeout=60)

"""``python -m tests.simulated NODES KUBECONFIG [NODE=FLOWS]``: serve until the input ends.

A node that is named dies after that many flows from its pods.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import yaml

from tests.simulated.cluster import SimulatedCluster
from tests.simulated.server import serve


def main(nodes: str, kubeconfig: str, *doomed: str) -> int:
    """Serve a cluster, and write its kubeconfig."""
    deaths = {name: int(flows) for name, flows in (each.split("=") for each in doomed)}
    server = serve(SimulatedCluster(int(nodes), deaths))
    url = f"http://127.0.0.1:{server.server_address[1]}"
    named = {"cluster": "simulated", "user": "nobody"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "simulated",
        "clusters": [{"name": "simulated", "cluster": {"server": url}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "simulated", "context": named}],
    }
    Path(kubeconfig).write_text(yaml.safe_dump(config))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

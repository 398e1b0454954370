"""Make the namespace of a run, remove it at the end, and sweep those of killed runs."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from pytest_fsmredir.backends.kubernetes.cluster.client import ApiError, Cluster, Object

MANAGED_BY = "app.kubernetes.io/managed-by"
OURS = "pytest-fsmredir"
RUN_LABEL = "fsmredir/run"

OWNER = "fsmredir/owner"
KEPT = "fsmredir/kept"

NAMESPACE_READY_S = 120.0
"""Seconds that a new cluster may take until it accepts objects in a new namespace."""

FORSAKEN = timedelta(days=1)
"""Age at which the namespace of a run on another machine counts as a leftover."""

_NAMESPACES = "/api/v1/namespaces"


@contextmanager
def namespace(
    cluster: Cluster, *, keep: bool, fleeting: bool = False, config_map: Object | None = None
) -> Iterator[str]:
    """Make a namespace for the block.

    Args:
        cluster: The cluster to use.
        keep: Do not delete the namespace, so that the user can inspect it.
        fleeting: Do not delete the namespace, because the cluster itself is deleted.
        config_map: The object that holds the agent; None for a namespace without it.
    """
    run = f"{datetime.now(UTC):%m%d-%H%M%S}-{secrets.token_hex(3)}"
    name = f"fsmredir-{run}"
    notes = {OWNER: ourselves(), **({KEPT: "true"} if keep else {})}
    _patiently(lambda: cluster.create(_NAMESPACES, namespace_object(name, run, notes)))
    try:
        path = f"{_NAMESPACES}/{name}"
        if config_map is not None:
            _patiently(lambda: cluster.create(f"{path}/configmaps", config_map))
        _have_service_account(cluster, f"{path}/serviceaccounts")
        yield name
    finally:
        if not (keep or fleeting):
            cluster.delete(f"{_NAMESPACES}/{name}")


def namespace_object(name: str, run: str, annotations: Mapping[str, str]) -> Object:
    """Return the namespace of a run."""
    labels = {MANAGED_BY: OURS, RUN_LABEL: run}
    metadata = {"name": name, "labels": labels, "annotations": dict(annotations)}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def sweep(cluster: Cluster) -> list[str]:
    """Delete the namespaces of ended runs, and return their names.

    A run of this machine has ended when its process is gone. A run of another machine counts as
    ended after a day.
    """
    found = cluster.get(_NAMESPACES, labelSelector=f"{MANAGED_BY}={OURS}")["items"]
    leftovers = [each["metadata"]["name"] for each in found if _is_leftover(each["metadata"])]
    for name in leftovers:
        cluster.delete(f"{_NAMESPACES}/{name}")
    return leftovers


def _is_leftover(metadata: Mapping[str, object]) -> bool:
    notes = metadata.get("annotations") or {}
    if not isinstance(notes, dict) or KEPT in notes or "deletionTimestamp" in metadata:
        return False
    return is_over(str(notes.get(OWNER, "")), str(metadata["creationTimestamp"]))


def is_over(owner: str, since: str) -> bool:
    """Whether a run has ended.

    Args:
        owner: The value of :func:`ourselves` in the process of the run.
        since: Start time of the run in ISO 8601.
    """
    host, _, process = owner.rpartition("/")
    if host == _machine():
        return not runs(process)
    return datetime.now(UTC) - datetime.fromisoformat(since) > FORSAKEN


def runs(process: str | int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    # The name in front of the state may contain blanks and brackets (proc_pid_stat(5)).
    return status.rpartition(")")[2].split()[0] not in "ZX"


def ourselves() -> str:
    """Return a name of this process that no other process has or had."""
    return f"{_machine()}/{os.getpid()}"


def _machine() -> str:
    """Return a name of this machine that changes with every boot."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{socket.gethostname()}/{boot}"


def _have_service_account(cluster: Cluster, path: str) -> None:
    """Make sure that the service account ``default`` exists; no pod of ours uses it.

    The admission plugin ServiceAccount refuses pods in a namespace without it. In a new cluster the
    controller that creates the account is seconds late.
    """
    with suppress(ApiError):  # the account exists already, or this user may not create accounts
        cluster.create(path, {"metadata": {"name": "default"}})
    _patiently(lambda: cluster.get(f"{path}/default"))


def _patiently(request: Callable[[], Object]) -> Object:
    """Repeat a request while a new cluster is not ready for it."""
    retrying = Retrying(
        stop=stop_after_delay(NAMESPACE_READY_S),
        wait=wait_fixed(0.2),
        retry=retry_if_exception(_is_passing),
        reraise=True,
    )
    return retrying(request)


def _is_passing(error: BaseException) -> bool:
    """Whether an error can come from a cluster that is still starting."""
    return isinstance(error, ApiError) and error.status in (0, 404, 500, 503)

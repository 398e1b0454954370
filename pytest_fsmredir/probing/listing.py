"""Listings of the rules and routes of a pod."""

from __future__ import annotations

import re

from pytest_fsmredir.backends.base import Pod
from pytest_fsmredir.backends.facets import ForeignPrograms
from pytest_fsmredir.rules import live

_COUNTERS = re.compile(r"(?<=\[)\d+:\d+(?=\])|(?<=(?:ckets|bytes)\": )\d+")
"""Values of packet counters: checks of one pod share its proof, although the values differ."""
_READ_AT_MOST = 3


def read_rules(programs: ForeignPrograms, pod: Pod) -> tuple[str, str]:
    """Read the rules and routes of a pod, again while the route to one of its addresses is missing.

    The kernel lists the routes of IPv6 in several steps, and leaves some out if they change in
    between (``NLM_F_DUMP_INTR``). They change once more after a pod has got its addresses, when
    its link-local address becomes usable.

    Returns:
        The listings, and why they cannot be read; empty if they can.
    """
    printed = ""
    for _ in range(_READ_AT_MOST):
        done = programs.run(pod, live.command())
        if done.status != 0:
            return "", done.stderr.strip()[:200] or "the program failed"
        printed = done.stdout
        if all(f"local {address} dev " in printed for address in pod.addresses):
            break
    return printed, ""


def without_counters(printed: str) -> str:
    """Return listings with every counter set to zero."""
    return _COUNTERS.sub(lambda found: "0:0" if ":" in found[0] else "0", printed)

"""What INIT-018 compares of a pod before and after it is programmed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from conformance.s17_the_init_command.first_run import surroundings
from pytest_fsmredir.backends.base import Pod
from pytest_fsmredir.backends.facets import ForeignPrograms
from pytest_fsmredir.implementations.base import Completed

BEFORE = "default via 10.0.0.1 dev eth0\nfe80::/64 dev eth0 proto kernel metric 256\n"
LATER = "local fe80::1 dev eth0 table local proto kernel metric 0\n"


def test_link_local_route_that_appears_by_itself_is_no_change() -> None:
    """Catches: a note about a correct command, if the kernel has just found its address unique."""
    lines = iter([BEFORE, BEFORE + LATER])
    programs = SimpleNamespace(run=lambda *_: Completed(0, next(lines), ""))
    pod, runs = cast("Pod", None), cast("ForeignPrograms", programs)

    assert surroundings(pod, runs) == surroundings(pod, runs) != set()

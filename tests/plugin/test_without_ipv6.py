"""An implementation that programs IPv4 alone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("namespaces")]

IPV4_ALONE = f"unset POD_IPS; {sys.executable} -m pytest_fsmredir reference apply"
CHECKS = "--fsm-check=OUT-001,IN-001,V6-001,V6-002"


def test_uncovered_ipv6_is_named_once(project: Project) -> None:
    """Catches: a hundred failures of IPv6 without the one cause, and without the cure."""
    ended = project.conform("--fsm-init-cmd", IPV4_ALONE, CHECKS)
    assert ended.status == pytest.ExitCode.TESTS_FAILED
    assert ended.output.count("IPv6 is not covered") == 1
    assert "--fsm-features=-ipv6" in ended.output


def test_leak_of_unclaimed_ipv6_is_shown(project: Project) -> None:
    """Catches: a declaration that hides a leak and an open admin port."""
    ended = project.conform("--fsm-init-cmd", IPV4_ALONE, CHECKS, "--fsm-features=-ipv6")
    assert ended.status == pytest.ExitCode.OK
    for leak in ("outbound TCP over IPv6", "inbound TCP over IPv6", "admin port 15000"):
        assert ended.output.count(leak) == 1
    assert "not claimed    " in ended.output

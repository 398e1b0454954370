"""In a shared pod, the flows of one check must not affect those of the next."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.implementations.reference.programming import Reference
from pytest_fsmredir.model.configuration import Configuration

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]


SETTING = Path("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close")


def test_connections_that_were_reset_are_soon_forgotten() -> None:
    """Catches: a source port reused within ten seconds follows the path of the old flow."""
    with closing(NetnsBackend(Reference(), families=(4,), timeout_s=5.0)) as backend:
        site = backend.shared_site(Configuration(), IptablesVariant.NFT, second_interface=False)
        remembered_s = site.namespace.run(SETTING.read_text)

    assert remembered_s.strip() == "1"

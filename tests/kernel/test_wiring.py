"""Wire pods by netlink: the error names what the kernel refused, and the rest is set up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from pytest_fsmredir.backends.netns import namespace as namespaces
from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.backends.netns.routing import add_address, add_blackhole, add_route, set_up
from pytest_fsmredir.errors import BackendError

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with closing(Namespace()) as namespace:
        namespace.netlink.ask(set_up(namespace.netlink.index("lo")))
        yield namespace


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
def test_first_request_that_fails_is_named(namespace: Namespace, host: str) -> None:
    """Catches: an error in the middle of a batch is not reported."""
    lo = namespace.netlink.index("lo")
    namespace.netlink.ask(add_address(host, lo))

    with pytest.raises(BackendError, match=f"could not add address {host}.*: File exists"):
        namespace.netlink.ask(add_address(host, lo), add_blackhole("198.51.100.0/24"))


def test_requests_after_a_failure_get_their_own_replies(namespace: Namespace) -> None:
    """Catches: replies are taken for those to the next batch."""
    with pytest.raises(BackendError, match="add route"):
        namespace.netlink.ask(add_route("203.0.113.1", 4711), set_up(4711))

    namespace.netlink.ask(set_up(namespace.netlink.index("lo")))


def test_missing_interface_is_named(namespace: Namespace) -> None:
    """Catches: a missing interface gets the number of another one, or none."""
    with pytest.raises(BackendError, match="no interface eth7"):
        namespace.netlink.index("eth7")


def test_namespace_that_cannot_be_made_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a run that waits forever on a machine that allows no namespaces."""

    def refused(flags: int) -> None:
        raise PermissionError(flags)

    monkeypatch.setattr(namespaces, "unshare", refused)
    monkeypatch.setattr(namespaces, "_visitors", [])
    with pytest.raises(PermissionError):
        Namespace()

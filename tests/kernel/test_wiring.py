"""Wire pods by netlink: the error names what the kernel refused, and the rest is set up."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from pytest_fsmredir.backends.netns import namespace as namespaces
from pytest_fsmredir.backends.netns import wiring
from pytest_fsmredir.backends.netns.losses import losses
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


def test_settings_follow_a_request_that_waits_for_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a write to ip_forward that keeps a core busy while others change links."""
    link, lost = wiring.link_of(1, "eth0", (4,), kind=0), list[str]()
    monkeypatch.setattr(wiring, "write_settings", lambda _: lost.extend(losses([link])))
    with closing(Namespace()) as world, closing(Namespace()) as pod:
        wiring.wire_pod(pod, world, (link,))

    assert lost[0] == "the link eth0 is down or gone"  # and lo is up


def test_no_icmp_error_of_a_pod_is_suppressed() -> None:
    """Catches: a pod that refuses the first six datagrams of a client, and no other."""
    link = wiring.link_of(1, "eth0", (4,), kind=0)
    with ExitStack() as undo:
        world, pod = (undo.enter_context(closing(Namespace())) for _ in range(2))
        wiring.wire_world(world, (4,))
        wiring.wire_pod(pod, world, (link,))
        for number in range(20):
            with world.socket(4, socket.SOCK_DGRAM) as sock:
                sock.connect((link.addresses[0], 40000 + number))
                sock.send(b"?")
                poll = select.poll()
                poll.register(sock, 0)
                assert poll.poll(5000), f"datagram {number} got no answer"


def test_first_streams_of_a_user_are_made_together(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: a visit to the namespace for each of the first flows, which costs as much as one."""
    counts: list[int] = []

    def made(count: int, *key: int) -> list[socket.socket]:
        counts.append(count)
        return make(count, *key)

    make = namespaces._make
    monkeypatch.setattr(namespaces, "_make", made)
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for _ in range(5):
            namespace.socket(4, kind, uid=1000).close()

    assert counts == [4, 8, 1, 2, 4]

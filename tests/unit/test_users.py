"""Users that send flows: the available ones, and their sockets."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from pytest_fsmredir.agent.users import OwnedSockets
from pytest_fsmredir.backends.netns.kernel import highest_id
from pytest_fsmredir.backends.netns.namespace import Namespace

MINUS_TWO = 4294967294
ROOTLESS = "0 1001 1\n1 100000 65536\n"


@pytest.mark.parametrize(
    ("users", "groups", "highest"),
    [
        ("0 0 4294967295\n", "0 0 4294967295\n", MINUS_TWO),
        (ROOTLESS, ROOTLESS, 65536),
        (ROOTLESS, "0 1001 1\n1 100000 2001\n", 2001),
        ("1 100000 65536\n0 1001 1\n", ROOTLESS, 65536),
        ("0 1001 1\n2 100000 65536\n", ROOTLESS, 0),
    ],
    ids=["all", "rootless", "fewer groups", "unordered", "a gap"],
)
def test_users_that_the_namespace_lacks_are_known(
    users: str, groups: str, highest: int, tmp_path: Path
) -> None:
    """Catches: an unprivileged run that ends in an error at the first uid beyond /etc/subuid."""
    maps = tmp_path / "uid_map", tmp_path / "gid_map"
    for file, text in zip(maps, (users, groups), strict=True):
        file.write_text(text)

    assert highest_id(maps) == highest


@pytest.mark.skipif(
    os.geteuid() != 0 or highest_id() < MINUS_TWO, reason="needs root, and all the users there are"
)
def test_socket_of_the_last_user_is_made() -> None:
    """Catches: a uid above 2147483647 that is read as negative and reported as unmapped."""
    with closing(Namespace()) as namespace:
        for make in (namespace.socket, OwnedSockets()):
            with make(4, socket.SOCK_STREAM, uid=MINUS_TWO) as sock:
                assert os.fstat(sock.fileno()).st_uid == MINUS_TWO

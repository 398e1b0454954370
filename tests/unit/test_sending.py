"""Packets of the model as sockets."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass, field
from typing import cast

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.probing.sending import _prepared
from pytest_fsmredir.rules.packet import Packet


@dataclass
class _Socket:
    """Keeps the options that are set."""

    options: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        """Keep an option."""
        self.options[level, option] = value


def test_mark_with_the_highest_bit_is_set() -> None:
    """Catches: a search that ends in an error, because a mark has 32 bits."""
    packet = Packet(
        direction=Direction.OUTBOUND, family=4, source=1, destination=2, mark=0x80000001
    )
    prepare = _prepared(packet)
    assert prepare is not None
    made = _Socket()
    prepare(cast("socket.socket", made))
    mark = made.options[socket.SOL_SOCKET, socket.SO_MARK]
    assert int.from_bytes(mark, sys.byteorder) == 0x80000001

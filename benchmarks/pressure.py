"""``python -m benchmarks.pressure burn|eat``: keep a core busy, or the memory full.

It ends when its standard input ends, so also when its parent process is killed.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

_LEFT = 0.15  # share of the memory that is left to other processes
_PIECE = 64 * 1024 * 1024
_PAGE = 4096


def burn() -> None:
    """Compute for ever."""
    while True:
        sum(range(10_000))


def eat() -> None:
    """Fill the memory except for a share, release some as others need it, and keep touching it."""
    Path("/proc/self/oom_score_adj").write_text("1000")  # the kernel should kill this process first
    total, _ = _memory()
    held: list[bytearray] = []
    while True:
        _, available = _memory()
        if available > _LEFT * total + _PIECE:
            held.append(bytearray(_PIECE))
            _touch(held[-1])
        elif held:
            held.pop(0)  # the oldest, so that pages change constantly


def _touch(piece: bytearray) -> None:
    for page in range(0, len(piece), _PAGE):
        piece[page] = 1


def _memory() -> tuple[int, int]:
    """Return the total and the available memory, in bytes."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    kibibytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return kibibytes["MemTotal"] * 1024, kibibytes["MemAvailable"] * 1024


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


KINDS: dict[str, Callable[[], None]] = {"burn": burn, "eat": eat}

if __name__ == "__main__":
    threading.Thread(target=_end_with_input, daemon=True).start()
    KINDS[sys.argv[1]]()

"""Count instructions of the kernel, as ``perf stat -e instructions:k`` does."""

from __future__ import annotations

import fcntl
import os
import platform
import struct
from typing import Final

from pytest_fsmredir.backends.netns.kernel import system_call

_NUMBERS = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "ppc64le": 319, "s390x": 331}

# linux/perf_event.h
HARDWARE_INSTRUCTIONS: Final = (0, 1)
SOFTWARE_TASK_CLOCK: Final = (1, 1)
_SIZE = 64
_DISABLED, _EXCLUDE_USER, _EXCLUDE_HV = 1 << 0, 1 << 4, 1 << 6
_ENABLE, _DISABLE, _RESET = 0x2400, 0x2401, 0x2403


class Counter:
    """Counts an event of the calling thread, in the kernel alone.

    Args:
        event: The type and the number of the event.
    """

    def __init__(self, event: tuple[int, int] = HARDWARE_INSTRUCTIONS) -> None:
        """Open the counter.

        Raises:
            OSError: The machine has no such counter, or this user may not read it.
        """
        if platform.machine() not in _NUMBERS:
            raise OSError(0, f"the number of the call is not known for {platform.machine()}")
        kind, number = event
        flags = _DISABLED | _EXCLUDE_USER | _EXCLUDE_HV
        attributes = struct.pack("=IIQQQQQ16x", kind, _SIZE, number, 0, 0, 0, flags)
        self._descriptor = system_call(
            "perf_event_open", _NUMBERS[platform.machine()], attributes, 0, -1, -1, 0
        )
        os.set_inheritable(self._descriptor, False)

    def start(self) -> None:
        """Count from 0."""
        fcntl.ioctl(self._descriptor, _RESET)
        fcntl.ioctl(self._descriptor, _ENABLE)

    def stop(self) -> int:
        """Stop counting, and return the count."""
        fcntl.ioctl(self._descriptor, _DISABLE)
        return int.from_bytes(os.read(self._descriptor, 8), "little")

    def close(self) -> None:
        """Release the counter."""
        os.close(self._descriptor)

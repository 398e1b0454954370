"""Send and receive many packets with one system call: sendmmsg(2) and recvmmsg(2)."""

from __future__ import annotations

import ctypes
import errno
import socket
from collections.abc import Iterator, Sequence

_libc = ctypes.CDLL(None, use_errno=True)


class _Vector(ctypes.Structure):
    """``struct iovec`` of readv(2)."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """``struct msghdr`` of recvmsg(2)."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vector", ctypes.POINTER(_Vector)),
        ("vectors", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """``struct mmsghdr`` of recvmmsg(2)."""

    _fields_ = (("header", _Header), ("length", ctypes.c_uint))


class Burst:
    """Messages in one buffer. Each has a slot: the other end's address, ancillary data, the packet.

    Attributes:
        capacity: Number of slots.
        slot: Bytes of one slot.
    """

    def __init__(self, capacity: int, *, name: int = 0, control: int = 0, packet: int) -> None:
        """Make an empty buffer.

        Args:
            capacity: Number of slots.
            name: Bytes for the address, a ``struct sockaddr`` (ip(7), ipv6(7)).
            control: Bytes for ancillary data (cmsg(3)).
            packet: Bytes for the packet.
        """
        self.capacity, self.slot = capacity, name + control + packet
        self._buffer = bytearray(capacity * self.slot)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))
        starts = range(start, start + capacity * self.slot, self.slot)
        self._vectors = (_Vector * capacity)(
            *(_Vector(at + name + control, packet) for at in starts)
        )
        self._messages = (_Message * capacity)(
            *(
                _Message(
                    _Header(at, name, ctypes.pointer(vector), 1, at + name, control)
                )
                for at, vector in zip(starts, self._vectors, strict=True)
            )
        )  # fmt: skip
        self._fresh = bytes(self._messages)  # the kernel changes the lengths when it receives

    def fill(self, slots: Sequence[bytes]) -> None:
        """Set the first slots; each is as long as :attr:`slot`."""
        self._buffer[: len(slots) * self.slot] = b"".join(slots)

    def send(self, sock: socket.socket, slots: range) -> None:
        """Send the packets of successive slots; a packet that the kernel refuses is left out."""
        first = slots.start
        while first < slots.stop:
            sent = _libc.sendmmsg(
                sock.fileno(), ctypes.byref(self._messages[first]), slots.stop - first, 0
            )
            # A refusal is reported for the first packet of a call, after those before it are sent.
            first += max(sent, 1) if sent >= 0 or ctypes.get_errno() != errno.EINTR else 0

    def received(self, sock: socket.socket) -> Iterator[memoryview]:
        """Yield the slots that a non-blocking socket fills until it has no more messages.

        A view is valid until the next one is asked for.

        Raises:
            OSError: Receiving failed.
        """
        while True:
            ctypes.memmove(self._messages, self._fresh, len(self._fresh))
            got = _libc.recvmmsg(sock.fileno(), self._messages, self.capacity, 0, None)
            if got > 0:
                yield memoryview(self._buffer)[: got * self.slot]
            elif ctypes.get_errno() in (errno.EAGAIN, errno.EWOULDBLOCK):
                return
            elif ctypes.get_errno() != errno.EINTR:
                code = ctypes.get_errno()
                raise OSError(code, f"recvmmsg: {errno.errorcode.get(code, code)}")
            if 0 < got < self.capacity:
                return

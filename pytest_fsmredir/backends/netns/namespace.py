"""Network namespaces held by a file descriptor, and functions that run inside them."""

from __future__ import annotations

import os
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar, cast

from pytest_fsmredir.backends.netns.kernel import CLONE_NEWNET, set_owner, setns, unshare
from pytest_fsmredir.backends.netns.netlink import Netlink
from pytest_fsmredir.traffic.sockets import address_family

T = TypeVar("T")

_INTERRUPTIBLE_S = 0.5  # how long a Ctrl-C may go unnoticed at worst

_STREAMS_AT_FIRST, _LARGEST_BATCH = 4, 256

_Key = tuple[int, int, int, int, int]


class Namespace:
    """A network namespace without a name: it ends with its last descriptor and socket.

    The kernel closes the descriptor even if the process is killed, so nothing is left behind.

    Attributes:
        descriptor: Open file of the namespace.
    """

    def __init__(self) -> None:
        self.descriptor = visiting(_unshared)
        self._inside: set[int] = set()
        self._stock: dict[_Key, list[socket.socket]] = defaultdict(list)
        self._batch: dict[_Key, int] = {}

    def run(self, work: Callable[[], T]) -> T:
        """Call a function inside the namespace and return its result.

        It runs in this thread if the thread is already inside, else in a visitor, which must keep
        its privileges.
        """
        if threading.get_ident() in self._inside:
            return work()
        return visiting(lambda: self._enter(work))

    def run_apart(self, work: Callable[[], T]) -> T:
        """Call a function in a new thread inside the namespace, and return its result.

        The thread may drop privileges: this does not affect other threads.
        """
        return in_thread(lambda: self._enter(work))

    def _enter(self, work: Callable[[], T]) -> T:
        setns(self.descriptor, CLONE_NEWNET)
        visitor = threading.get_ident()
        self._inside.add(visitor)
        try:
            return work()
        finally:
            self._inside.discard(visitor)

    def socket(
        self, family: int, kind: int, proto: int = 0, *, uid: int = 0, gid: int = 0
    ) -> socket.socket:
        """Return a non-blocking socket of this namespace, owned by ``uid`` and ``gid``.

        Sockets are created in advance in growing batches, because entering the namespace costs as
        much as several flows. Those that hear everything are not.
        """
        key = (family, kind, proto, uid, gid)
        stock = self._stock[key]
        if not stock:
            # Of other kinds, many users often have one each.
            at_first = _STREAMS_AT_FIRST if kind == socket.SOCK_STREAM else 1
            count = self._batch.get(key, at_first)
            hears = kind == socket.SOCK_RAW and proto != socket.IPPROTO_RAW
            self._batch[key] = 1 if hears else min(2 * count, _LARGEST_BATCH)
            stock.extend(self.run(lambda: _make(count, *key)))
        return stock.pop()

    def sysctl(self, values: Mapping[str, str]) -> None:
        """Write kernel settings of this namespace, by their path under /proc/sys/net."""
        self.run(lambda: write_settings(values))

    def changed_sysctl(self, values: Mapping[str, str]) -> dict[str, str]:
        """Write kernel settings like :meth:`sysctl`, and return the old values."""

        def change() -> dict[str, str]:
            before = {name: Path(f"/proc/sys/net/{name}").read_text().strip() for name in values}
            write_settings(values)
            return before

        return self.run(change)

    @cached_property
    def netlink(self) -> Netlink:
        """A routing socket of this namespace."""
        return self.run(Netlink)

    def close(self) -> None:
        """Release the namespace."""
        if "netlink" in vars(self):
            self.netlink.close()
        for stock in self._stock.values():
            for sock in stock:
                sock.close()
        self._stock.clear()
        os.close(self.descriptor)


def in_thread(work: Callable[[], T]) -> T:
    """Call a function in a new thread, and return its result or raise its error.

    The thread may enter namespaces and drop privileges: this does not affect other threads.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(work())
        except BaseException as error:  # raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=body, name="fsmredir-namespace", daemon=True)
    thread.start()
    while thread.is_alive():
        # A signal that arrives just before the join blocks is handled only when it returns.
        thread.join(_INTERRUPTIBLE_S)
    if errors:
        raise errors[0]
    return results[0]


class _Visitor:
    """A thread that enters namespaces for others: to start a thread costs as much as a flow.

    Attributes:
        usable: Whether it can enter a namespace and return.
    """

    def __init__(self) -> None:
        self.usable = True
        self._work: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._ended: SimpleQueue[tuple[object, BaseException | None]] = SimpleQueue()
        threading.Thread(target=self._serve, name="fsmredir-visitor", daemon=True).start()

    def call(self, work: Callable[[], object]) -> tuple[object, BaseException | None]:
        """Call a function in the thread, and return its result and its error."""
        self._work.put(work)
        while True:
            with suppress(Empty):  # a signal is handled only when the wait returns
                return self._ended.get(timeout=_INTERRUPTIBLE_S)

    def _serve(self) -> None:
        home: int | None = None
        while True:
            work = self._work.get()
            try:
                if home is None:  # without root, it could not return to the machine's namespace
                    home = _unshared()
                ended = self._visit(work, home)
            except BaseException as error:  # raised again in the caller's thread
                self.usable, ended = False, (None, error)
            self._ended.put(ended)

    @staticmethod
    def _visit(work: Callable[[], object], home: int) -> tuple[object, BaseException | None]:
        try:
            return work(), None
        except BaseException as error:  # raised again in the caller's thread
            return None, error
        finally:
            setns(home, CLONE_NEWNET)  # a thread that stays inside would keep the namespace


_visitors: list[_Visitor] = []
"""Those without work."""

# A new process has none of the threads of its parent.
os.register_at_fork(after_in_child=_visitors.clear)


def visiting(work: Callable[[], T]) -> T:
    """Call a function in a thread that may enter namespaces, and return its result.

    The thread is used again, so the function must not drop privileges.
    """
    try:
        visitor = _visitors.pop()
    except IndexError:
        visitor = _Visitor()
    result, error = visitor.call(work)
    if visitor.usable:
        _visitors.append(visitor)  # not after a signal, which leaves it at work
    if error is not None:
        raise error
    return cast("T", result)


def write_settings(values: Mapping[str, str]) -> None:
    """Write kernel settings of the calling thread's namespace, by their path."""
    for name, value in values.items():
        # This runs for every pod, and a file object would double its cost.
        setting = os.open(f"/proc/sys/net/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(setting, value.encode())
        finally:
            os.close(setting)


def _unshared() -> int:
    unshare(CLONE_NEWNET)
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _make(
    count: int, family: int, kind: int, proto: int, uid: int, gid: int
) -> list[socket.socket]:
    # Raw sockets need capabilities, which do not depend on the owner. Create only sockets under the
    # changed owner: even an import could be refused.
    set_owner(uid, gid)
    try:
        return [
            socket.socket(address_family(family), kind | socket.SOCK_NONBLOCK, proto)
            for _ in range(count)
        ]
    finally:
        set_owner(0, 0)

"""The main loop of an agent: receive commands from a Unix socket or a stream, and serve flows.

It runs one command at a time, in the order of arrival.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from pytest_fsmredir.agent.commands import Commands, names
from pytest_fsmredir.agent.pod import NumberedEngine
from pytest_fsmredir.agent.reaching import reached
from pytest_fsmredir.traffic.engine import READABLE

SOCKETS = "/run/fsmredir"
"""The directory of the agents' sockets; each socket has its agent's name."""

_IDLE_S = 3600.0
_CHUNK = 1024 * 1024


class Caller(Protocol):
    """A client that sends commands, one per line."""

    def reply(self, text: str) -> None:
        """Send a line; drop the caller if it has disconnected."""
        ...


class SocketCaller:
    """A caller at the other end of a connection."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self._server, self._sock = server, sock
        self._lines = Lines()
        server.engine.watch(sock, READABLE, self._ready)

    def reply(self, text: str) -> None:
        """Send a line; drop the caller if it has disconnected."""
        self._sock.setblocking(True)
        try:
            self._sock.sendall(text.encode() + b"\n")
        except OSError:
            self._end()
        else:
            self._sock.setblocking(False)

    def _ready(self, _: int) -> None:
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        self._server.inbox.extend((self, line) for line in self._lines.whole(data))

    def _end(self) -> None:
        if self._sock.fileno() >= 0:
            self._server.engine.forget(self._sock)
            self._sock.close()


class StreamCaller:
    """The caller at the agent's standard streams. Lines have the form ``NAME TAB TEXT``.

    A line for another agent of the pod is passed on to its socket, and so are its replies. The
    process ends when the input or a connection to another agent ends.
    """

    def __init__(self, server: Server, name: str, beside: Mapping[str, socket.socket]) -> None:
        self._server, self._name = server, name
        self._lines = Lines()
        self._others: dict[str, socket.socket] = {}
        for other, sock in beside.items():
            self._join(other, sock)
        server.engine.watch(sys.stdin, READABLE, self._ready)

    def reply(self, text: str) -> None:
        """Send a line."""
        _write(f"{self._name}\t{text}\n".encode())

    def _ready(self, _: int) -> None:
        data = os.read(0, _CHUNK)
        if not data:
            sys.exit(0)
        for line in self._lines.whole(data):
            agent, command = line.partition(b"\t")[::2]
            if agent.decode() == self._name:
                self._server.inbox.append((self, command))
            else:
                self._other(agent.decode()).sendall(command + b"\n")

    def _other(self, name: str) -> socket.socket:
        """Return the connection to another agent of the pod."""
        if name not in self._others:
            try:
                self._join(name, reached(f"{SOCKETS}/{name}.sock"))
            except OSError as error:
                sys.exit(f"an agent did not come up: {error}")
        return self._others[name]

    def _join(self, name: str, sock: socket.socket) -> None:
        lines = Lines()

        def pass_on(_: int) -> None:
            data = sock.recv(_CHUNK)
            if not data:
                sys.exit(f"the agent {name} has ended")
            for line in lines.whole(data):
                _write(f"{name}\t".encode() + line + b"\n")

        self._server.engine.watch(sock, READABLE, pass_on)
        self._others[name] = sock


class Lines:
    """Assembles lines from pieces of data."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def whole(self, data: bytes) -> list[bytes]:
        """Add data, and return the lines that it completes."""
        self._rest += data
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        return lines


class Server:
    """The server of an agent.

    Attributes:
        engine: Serves all sockets.
        inbox: Waiting commands, each with its caller.
    """

    def __init__(self) -> None:
        self.engine = NumberedEngine()
        self.inbox: deque[tuple[Caller, bytes]] = deque()
        self.commands = Commands(self.engine)
        self._known = {name: getattr(self.commands, name) for name in names()}

    def listen(self, path: Path) -> None:
        """Accept callers on a Unix socket."""
        coming = path.with_suffix(".coming")
        coming.unlink(missing_ok=True)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.bind(str(coming))
        os.chmod(coming, 0o666)  # noqa: PTH101, S103 - the containers of the pod have other users
        self._sock.listen()
        coming.replace(path)  # an agent that sees it can connect
        self._sock.setblocking(False)
        self.engine.watch(self._sock, READABLE, self._accept)

    def attend(self, name: str, beside: Mapping[str, socket.socket]) -> None:
        """Read the commands for the agent of that name from standard input.

        Args:
            name: Its name.
            beside: Connections to the agents beside it, by name; others have a Unix socket.
        """
        StreamCaller(self, name, beside)

    def run(self) -> None:
        """Run commands until the process ends."""
        while True:
            self.engine.pump(lambda: bool(self.inbox), _IDLE_S)
            while self.inbox:
                caller, line = self.inbox.popleft()
                caller.reply(self._answer(line))

    def _accept(self, _: int) -> None:
        sock, _address = self._sock.accept()
        sock.setblocking(False)
        SocketCaller(self, sock)

    def _answer(self, line: bytes) -> str:
        try:
            name, arguments = json.loads(line)
            result = self._known[name](**arguments)
        except Exception as error:  # report every error to the caller
            return json.dumps({"error": f"{type(error).__name__}: {error}"})
        return json.dumps({"result": result})


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]

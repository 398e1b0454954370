"""The loop of an agent: commands come by a unix socket or a stream, and flows go on meanwhile.

One command is done at a time, in the order they came.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections import deque
from pathlib import Path
from typing import Protocol

from pytest_fsmredir.agent.commands import Commands, names
from pytest_fsmredir.agent.pod import NumberedEngine
from pytest_fsmredir.traffic.engine import READABLE

_IDLE_S = 3600.0
_CHUNK = 1024 * 1024


class Caller(Protocol):
    """One who gives commands, one a line."""

    def reply(self, text: str) -> None:
        """Send a line; a caller who has gone is forgotten."""
        ...


class SocketCaller:
    """A caller at the other end of a connection."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self._server, self._sock = server, sock
        self._lines = Lines()
        server.engine.watch(sock, READABLE, self._ready)

    def reply(self, text: str) -> None:
        """Send a line; a caller who has gone is forgotten."""
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
    """The one caller of an agent that is reached without a relay, by its standard streams.

    The lines are a relay's, ``NAME TAB TEXT``. When the input ends, so does the process.
    """

    def __init__(self, server: Server, name: str) -> None:
        self._server, self._name = server, name
        self._lines = Lines()
        server.engine.watch(sys.stdin, READABLE, self._ready)

    def reply(self, text: str) -> None:
        """Send a line."""
        data = f"{self._name}\t{text}\n".encode()
        while data:
            data = data[os.write(1, data) :]

    def _ready(self, _: int) -> None:
        data = os.read(0, _CHUNK)
        if not data:
            sys.exit(0)
        for line in self._lines.whole(data):
            command = line.partition(b"\t")[2]
            self._server.inbox.append((self, command))


class Lines:
    """Puts lines together."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def whole(self, data: bytes) -> list[bytes]:
        """Return the lines that more data completes."""
        self._rest += data
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        return lines


class Server:
    """An agent.

    Attributes:
        engine: Serves all its sockets.
        inbox: Commands that wait, each with who gave it.
    """

    def __init__(self) -> None:
        self.engine = NumberedEngine()
        self.inbox: deque[tuple[Caller, bytes]] = deque()
        self.commands = Commands(self.engine)
        self._known = {name: getattr(self.commands, name) for name in names()}

    def listen(self, path: Path) -> None:
        """Take callers at a unix socket."""
        path.unlink(missing_ok=True)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.bind(str(path))
        os.chmod(path, 0o666)  # noqa: PTH101, S103 - the containers of the pod have other users
        self._sock.listen()
        self._sock.setblocking(False)
        self.engine.watch(self._sock, READABLE, self._accept)

    def attend(self, name: str) -> None:
        """Take the commands for an agent of that name from the standard input."""
        StreamCaller(self, name)

    def run(self) -> None:
        """Do what is asked, for ever."""
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
        except Exception as error:  # whatever it is, the caller has to learn of it
            return json.dumps({"error": f"{type(error).__name__}: {error}"})
        return json.dumps({"result": result})

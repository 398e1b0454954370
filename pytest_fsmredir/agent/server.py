"""The loop of an agent: commands come in by a unix socket, and flows go on meanwhile."""

from __future__ import annotations

import json
import os
import socket
from collections import deque
from pathlib import Path

from pytest_fsmredir.agent.commands import Commands, names
from pytest_fsmredir.agent.pod import NumberedEngine
from pytest_fsmredir.traffic.engine import READABLE

_IDLE_S = 3600.0
_CHUNK = 1024 * 1024


class Caller:
    """One who gives commands, one a line."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self._server, self._sock = server, sock
        self._line = bytearray()
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
        self._line += data
        *lines, rest = bytes(self._line).split(b"\n")
        self._line = bytearray(rest)
        self._server.inbox.extend((self, line) for line in lines)

    def _end(self) -> None:
        if self._sock.fileno() >= 0:
            self._server.engine.forget(self._sock)
            self._sock.close()


class Server:
    """An agent.

    Attributes:
        engine: Serves all its sockets.
        inbox: Commands that wait, each with who gave it.
    """

    def __init__(self, path: Path) -> None:
        self.engine = NumberedEngine()
        self.inbox: deque[tuple[Caller, bytes]] = deque()
        self.commands = Commands(self.engine)
        self._known = {name: getattr(self.commands, name) for name in names()}
        path.unlink(missing_ok=True)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.bind(str(path))
        os.chmod(path, 0o666)  # noqa: PTH101, S103 - the containers of the pod have other users
        self._sock.listen()
        self._sock.setblocking(False)
        self.engine.watch(self._sock, READABLE, self._accept)

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
        Caller(self, sock)

    def _answer(self, line: bytes) -> str:
        try:
            name, arguments = json.loads(line)
            result = self._known[name](**arguments)
        except Exception as error:  # whatever it is, the caller has to learn of it
            return json.dumps({"error": f"{type(error).__name__}: {error}"})
        return json.dumps({"result": result})

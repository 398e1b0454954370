"""Pods of a simulated cluster: network namespaces, in which threads run the real agents."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from queue import SimpleQueue
from typing import Any

from pytest_fsmredir.agent.server import Lines, Server, SocketCaller
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.kernel import CLONE_NEWNET, setns
from pytest_fsmredir.backends.netns.sandbox import Sandbox
from pytest_fsmredir.implementations.reference.programming import Reference
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.outcomes import IptablesVariant

Say = Callable[[str], None]


class Agent:
    """An agent in a pod: the real server, in a thread inside the namespace of the pod."""

    def __init__(self, name: str, site: Sandbox) -> None:
        self.name, self._site = name, site
        self._callers: SimpleQueue[socket.socket | None] = SimpleQueue()
        self._calls: list[socket.socket] = []
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self.ready = threading.Event()
        threading.Thread(target=self._run, name=f"agent-{name}", daemon=True).start()

    def call(self) -> socket.socket:
        """Return a connection to the agent."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self._calls.append(ours)
        self._callers.put(theirs)
        self._wake.send(b".")
        return ours

    def end(self) -> None:
        """End the thread, and cut its connections."""
        for call in self._calls:
            with suppress(OSError):
                call.shutdown(socket.SHUT_RDWR)
        self._callers.put(None)
        with suppress(OSError):
            self._wake.send(b".")

    def _run(self) -> None:
        setns(self._site.namespace.descriptor, CLONE_NEWNET)
        server = Server()
        server.engine.watch(self._woken, 1, lambda _: self._welcome(server))
        if self.name == "sidecar":
            server.commands.sidecar(list(self._site.addresses), [])
        self.ready.set()
        with closing(server.engine), suppress(SystemExit):
            server.run()

    def _welcome(self, server: Server) -> None:
        with suppress(BlockingIOError):
            self._woken.recv(64)
        while not self._callers.empty():
            caller = self._callers.get()
            if caller is None:
                raise SystemExit
            SocketCaller(server, caller)


class Relay:
    """Joins the agents of a pod in one stream, as the agent of the application does."""

    def __init__(self, agents: Mapping[str, Agent], say: Say, cut: Callable[[], None]) -> None:
        self._lines = Lines()
        self._lock = threading.Lock()
        self._say, self._cut = say, cut
        self._calls = {name: agent.call() for name, agent in agents.items()}
        for name, call in self._calls.items():
            threading.Thread(target=self._listen, args=(name, call), daemon=True).start()

    def hear(self, data: bytes) -> None:
        """Pass commands on to the agents."""
        for line in self._lines.whole(data):
            name, _, command = line.partition(b"\t")
            self._calls[name.decode()].sendall(command + b"\n")

    def close(self) -> None:
        """Hang up."""
        for call in self._calls.values():
            with suppress(OSError):
                call.shutdown(socket.SHUT_RDWR)
            call.close()

    def _listen(self, name: str, call: socket.socket) -> None:
        lines = Lines()
        with suppress(OSError):
            while data := call.recv(1 << 20):
                for line in lines.whole(data):
                    with self._lock:
                        self._say(f"{name}\t{line.decode()}\n")
        self._cut()


class Kubelets:
    """Runs the pods of all nodes; one thread makes them, in the order of their creation."""

    def __init__(self) -> None:
        self._backend = NetnsBackend(Reference(), families=(4,), timeout_s=5.0, in_advance=False)
        self._orders: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._work, name="kubelet", daemon=True).start()

    def submit(self, work: Callable[[], None]) -> None:
        """Run a function in the thread that makes and removes pods."""
        self._orders.put(work)

    def start(self, pod: Mapping[str, Any]) -> tuple[Sandbox, dict[str, Agent]]:
        """Make a pod, program it if it has an init container, and start its agents."""
        annotations = pod["metadata"].get("annotations") or {}
        lists = {name: text for name, text in annotations.items() if "exclusion" in name}
        site = self._backend.new_site(Configuration(annotations=lists), second_interface=False)
        site.sidecar.stop()
        containers = pod["spec"]["containers"]
        names = {*(each["name"] for each in containers), *containers[-1].get("command", ())}
        agents = {name: Agent(name, site) for name in ("app", "sidecar") if name in names}
        for agent in agents.values():
            agent.ready.wait()
        if pod["spec"].get("initContainers"):
            self._backend.program(site, IptablesVariant.NFT, self._backend.confinement)
        return site, agents

    def _work(self) -> None:
        while True:
            self._orders.get()()


def status_text(message: str, code: int) -> str:
    """Return a Status object of the API."""
    body = {"kind": "Status", "status": "Failure", "message": message, "code": code}
    return json.dumps(body)

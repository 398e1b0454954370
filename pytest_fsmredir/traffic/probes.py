"""Serve the kubelet's probes at a sidecar and a health responder; a small subset of HTTP.

Source: FSM pkg/injector/health_probes.go and cmd/fsm-healthcheck at main of 2026-02-06.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from pytest_fsmredir.model.flow import Acceptance, Address, Direction, Flow
from pytest_fsmredir.model.reserved import HEALTH_PORT, SIDECAR_UID
from pytest_fsmredir.traffic.engine import WRITABLE
from pytest_fsmredir.traffic.host import Host
from pytest_fsmredir.traffic.services import Serve, answer
from pytest_fsmredir.traffic.stream import Stream

HTTP_PORT, HTTP_PATH = "Original-Http-Port", "Original-Http-Path"
TCP_PORT = "Original-Tcp-Port"
_ORIGINALS = {HTTP_PORT.lower(), HTTP_PATH.lower(), "connection"}

_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ")
_HEAD_LIMIT = 64 * 1024
_PORT = re.compile(r"[0-9]{1,5}")
_APPLICATION = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """The head of an HTTP request, and the bytes after it.

    Attributes:
        method: The method, such as GET.
        target: Path and query.
        headers: In order.
        rest: The part of the body that arrived with the head.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    rest: bytes = b""

    def header(self, name: str) -> str | None:
        """Return the value of a header; the name is case-insensitive."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def port(self, name: str) -> int | None:
        """Return the port number in a header."""
        text = self.header(name) or ""
        return int(text) if _PORT.fullmatch(text) and 1 <= int(text) <= 65535 else None

    def restored(self, target: str) -> bytes:
        """Return the request with another target and without the headers for the sidecar."""
        kept = [f"{k}: {v}" for k, v in self.headers if k.lower() not in _ORIGINALS]
        lines = [f"{self.method} {target} HTTP/1.1", *kept, "Connection: close", "", ""]
        return "\r\n".join(lines).encode("latin-1") + self.rest


Handle = Callable[[Stream, ProbeRequest], None]


def speaking_http(handle: Handle) -> Serve:
    """Return a service that handles HTTP requests, and sends the banner for any other input."""

    def serve(stream: Stream, acceptance: Acceptance) -> None:
        heard = bytearray()

        def hear(data: bytes) -> None:
            heard.extend(data)
            if not any(m.startswith(heard[: len(m)]) for m in _METHODS):
                answer(stream, acceptance)
                stream.send(bytes(heard))
            elif b"\r\n\r\n" in heard:
                stream.on_data = lambda _: None
                _handle(stream, bytes(heard), handle)
            elif len(heard) > _HEAD_LIMIT:
                respond(stream, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too long")

        stream.on_data = hear
        stream.on_end = stream.finish

    return serve


def sidecar_probes(host: Host) -> Serve:
    """Return the service of a sidecar's probe port.

    It forwards an HTTP probe to the application. It forwards a probe that only tests for a
    connection to the health responder.
    """

    def handle(stream: Stream, request: ProbeRequest) -> None:
        if port := request.port(HTTP_PORT):
            head = request.restored(request.header(HTTP_PATH) or "/")
            _forward(host, stream, port, head)
        elif request.port(TCP_PORT):
            _forward(host, stream, HEALTH_PORT, request.restored(request.target))
        else:
            respond(stream, HTTPStatus.BAD_REQUEST, f"Header {HTTP_PORT} not found in request")

    return speaking_http(handle)


def health_responder(host: Host, uid: int) -> Serve:
    """Return the service of the health responder: it reports whether a port accepts connections.

    Args:
        host: The host that it connects from.
        uid: The user that owns its sockets.
    """

    def handle(stream: Stream, request: ProbeRequest) -> None:
        port = request.port(TCP_PORT)
        if port is None:
            respond(stream, HTTPStatus.BAD_REQUEST, f"Header {TCP_PORT} not found in request")
            return

        def report(reached: bool) -> None:
            if reached:
                respond(stream, HTTPStatus.OK, "")
            else:
                why = f"Failed to establish connection to {_APPLICATION}:{port}"
                respond(stream, HTTPStatus.NOT_FOUND, why)

        _reach(host, Flow(Direction.OUTBOUND, Address(_APPLICATION, port), uid=uid), report)

    return speaking_http(handle)


def respond(stream: Stream, status: HTTPStatus, text: str) -> None:
    """Answer a request, and end the connection."""
    body = f"{text}\n".encode() if text else b""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    stream.send(head.encode() + body)
    stream.finish()


def _handle(stream: Stream, data: bytes, handle: Handle) -> None:
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    pairs = [line.partition(":") for line in lines]
    if len(words) != 3 or not all(colon for _, colon, _ in pairs):
        respond(stream, HTTPStatus.BAD_REQUEST, "not HTTP/1.1")
        return
    headers = tuple((name, value.strip()) for name, _, value in pairs)
    handle(stream, ProbeRequest(words[0], words[1], headers, rest))


def _forward(host: Host, client: Stream, port: int, request: bytes) -> None:
    flow = Flow(Direction.OUTBOUND, Address(_APPLICATION, port), uid=SIDECAR_UID)
    upstream = host.stream(flow)
    begun = False

    def lost(how: str) -> None:
        if begun:
            client.close()
        else:
            respond(client, HTTPStatus.BAD_GATEWAY, f"{_APPLICATION}:{port}: {how}")

    def passed(data: bytes) -> None:
        nonlocal begun
        begun = True
        client.send(data)

    if upstream is None:
        lost("unreachable")
        return

    def ended() -> None:
        client.finish()
        upstream.finish()

    client.copy_to(upstream)
    client.on_end = lambda: None  # the client may half-close and still wait for the answer
    client.on_loss = lambda _: upstream.close()
    upstream.copy_to(client)
    upstream.on_data, upstream.on_end, upstream.on_loss = passed, ended, lost
    upstream.send(request)


def _reach(host: Host, flow: Flow, report: Callable[[bool], None]) -> None:
    """Connect, close, and call ``report`` with whether the connection was accepted."""
    upstream = host.stream(flow)
    if upstream is None:
        report(False)
        return
    sock, engine = upstream.sock, host.engine

    def ready(_: int) -> None:
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        engine.forget(sock)
        sock.close()
        report(code == 0)

    engine.forget(sock)
    engine.watch(sock, WRITABLE, ready)

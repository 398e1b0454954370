"""The API server of a simulated cluster: what the suite calls, over HTTP and WebSocket."""

from __future__ import annotations

import json
import socket
import struct
from base64 import b64encode
from contextlib import suppress
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tests.simulated.cluster import NotFoundError, SimulatedCluster
from tests.simulated.pods import Relay, status_text

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455
_STDIN, _STDOUT = 0, 1


class Handler(BaseHTTPRequestHandler):
    """Serves one connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    cluster: ClassVar[SimulatedCluster]

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        """Return objects, or open a stream to the agents of a pod."""
        parts = self._parts()
        if parts[-1:] == ["attach"]:
            self._attach(parts[3], parts[5])
        else:
            self._answer(parts, None)

    def do_POST(self) -> None:
        """Create an object."""
        self._answer(self._parts(), self._body())

    def do_DELETE(self) -> None:
        """Delete an object."""
        self._body()
        self._answer(self._parts(), None)

    def _parts(self) -> list[str]:
        return urlsplit(self.path).path.strip("/").split("/")

    def _body(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")

    def _answer(self, parts: list[str], body: Any) -> None:  # noqa: ANN401 - JSON
        self.cluster.requests[f"{self.command} {parts[-1 if len(parts) % 2 else -2]}"] += 1
        try:
            text = json.dumps(self._found(parts, body))
        except NotFoundError as error:
            self._send(404, status_text(str(error), 404))
        else:
            self._send(200, text)

    def _found(self, parts: list[str], body: Any) -> Any:  # noqa: ANN401 - JSON
        cluster, method = self.cluster, self.command
        match (method, *parts):
            case ("POST", *_, "selfsubjectaccessreviews"):
                return {"status": {"allowed": True}}
            case ("GET", "api", "v1", "nodes"):
                return {"items": cluster.node_objects()}
            case ("GET", "api", "v1", "nodes", name):
                return next(n for n in cluster.node_objects() if n["metadata"]["name"] == name)
            case ("GET", "api", "v1", "namespaces"):
                return {"items": cluster.namespaces()}
            case ("POST", "api", "v1", "namespaces"):
                return cluster.create_namespace(body)
            case ("DELETE", "api", "v1", "namespaces", name):
                cluster.delete_namespace(name)
                return {}
            case ("GET", "api", "v1", "namespaces", namespace, "pods"):
                return {"items": cluster.pods(namespace)}
            case ("POST", "api", "v1", "namespaces", namespace, "pods"):
                return cluster.create_pod(namespace, body)
            case ("GET", "api", "v1", "namespaces", namespace, "pods", name):
                return cluster.pod(namespace, name)
            case ("DELETE", "api", "v1", "namespaces", namespace, "pods", name):
                cluster.delete_pod(namespace, name)
                return {}
            case ("POST", "api", "v1", "namespaces", _, "configmaps" | "serviceaccounts"):
                return body
            case ("GET", "api", "v1", "namespaces", _, "serviceaccounts", _):
                return {}
            case ("GET", "simulation", "requests"):
                return {**cluster.requests, "most pods": cluster.most_pods}
        raise NotFoundError(f"{method} {'/'.join(parts)}: the simulation has no such thing")

    def _send(self, code: int, text: str) -> None:
        data = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _attach(self, namespace: str, name: str) -> None:
        self.cluster.requests["GET attach"] += 1
        try:
            agents = self.cluster.agents(namespace, name)
        except NotFoundError as error:
            self._send(500, status_text(str(error), 500))
            return
        key = self.headers["Sec-WebSocket-Key"].encode()
        accept = b64encode(sha1(key + _MAGIC).digest())  # noqa: S324 - RFC 6455 asks for it
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept.decode())
        self.send_header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
        self.end_headers()
        self.close_connection = True
        relay = Relay(agents, self._say, self._cut)
        try:
            with suppress(OSError, EOFError):
                while (data := self._frame()) is not None:
                    if data[:1] == bytes([_STDIN]):
                        self.cluster.heard(namespace, name, data)
                        relay.hear(data[1:])
        finally:
            relay.close()

    def _say(self, text: str) -> None:
        data = bytes([_STDOUT]) + text.encode()
        size = len(data)
        head = (
            struct.pack("!BB", 0x82, size) if size < 126 else struct.pack("!BBQ", 0x82, 127, size)
        )
        with suppress(OSError):
            self.connection.sendall(head + data)

    def _cut(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _frame(self) -> bytes | None:
        """Return the contents of a client's frame; None at the end."""
        kind, size = self._read(2)
        size &= 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._read(8))
        mask = self._read(4)
        data = self._read(size)
        whole = int.from_bytes(mask * (size // 4 + 1), "big") >> (8 * (4 - size % 4))
        data = (int.from_bytes(data, "big") ^ whole).to_bytes(size, "big")
        return None if kind & 0x0F == 8 else data

    def _read(self, count: int) -> bytes:
        data = self.rfile.read(count)
        if len(data) < count:
            raise EOFError
        return data


class ApiServer(ThreadingHTTPServer):
    """The API server."""

    daemon_threads = True
    request_queue_size = 256


def serve(cluster: SimulatedCluster) -> ApiServer:
    """Return the API server of a cluster, on a free port of loopback."""
    handler = type("BoundHandler", (Handler,), {"cluster": cluster})
    return ApiServer(("127.0.0.1", 0), handler)

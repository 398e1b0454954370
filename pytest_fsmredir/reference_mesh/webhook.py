"""The admission webhook's HTTPS server."""

from __future__ import annotations

import json
import socket
import ssl
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

from pytest_fsmredir.backends.kubernetes.pods.injection import Object
from pytest_fsmredir.reference_mesh.admission import MESH_NAMESPACE, review

PORT = 9090
PATH = "/mutate-pod-creation"
MESH_CONFIG = "fsm-mesh-config"

_BODY_LIMIT = 8 * 1024 * 1024  # the API server accepts objects up to 1.5 MiB (etcd's limit)


class Source(Protocol):
    """What the webhook reads from the cluster."""

    def namespace(self, name: str) -> dict[str, Any]:
        """Return a Namespace."""
        ...

    def mesh_config(self, namespace: str, name: str) -> dict[str, Any]:
        """Return a MeshConfig."""
        ...


class WebhookServer(ThreadingHTTPServer):
    """Answers admission reviews.

    Args:
        address: Address and port to listen on.
        source: Returns namespaces and the MeshConfig.
        image: Image of the injected containers.
        folder: Folder of ``tls.crt`` and ``tls.key``; None to serve plain HTTP.
    """

    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], source: Source, image: str, folder: Path | None = None
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)
        self._source, self._image = source, image
        if folder is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
            # Handshake in the connection's thread, so that a client that never finishes it does not
            # block the other clients.
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    def server_bind(self) -> None:
        """Bind to the address; ``::`` accepts IPv4 as well."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def answer(self, body: bytes) -> Object:
        """Return the response to a review.

        Raises:
            ValueError: The body is not a review of a Pod; also KeyError and TypeError.
            OSError: The API server does not answer, or refuses the request.
        """
        asked = json.loads(body)
        namespace = self._source.namespace(asked["request"]["namespace"])
        mesh_config = self._source.mesh_config(MESH_NAMESPACE, MESH_CONFIG)
        return review(asked, namespace, mesh_config, self._image)


class _Handler(BaseHTTPRequestHandler):
    server: WebhookServer
    protocol_version = "HTTP/1.1"
    timeout = 60.0  # seconds until an idle connection is closed

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._reply(HTTPStatus.OK, "ok")
        else:
            self._reply(HTTPStatus.NOT_FOUND, f"no such path; reviews go to {PATH}")

    def do_POST(self) -> None:
        stated = self.headers.get("Content-Length") or ""
        length = int(stated) if stated.isdecimal() else 0
        if self.path.partition("?")[0] != PATH:
            self.close_connection = True
            self._reply(HTTPStatus.NOT_FOUND, f"no such path; reviews go to {PATH}")
        elif not 0 < length <= _BODY_LIMIT:
            self.close_connection = True
            self._reply(HTTPStatus.BAD_REQUEST, f"a body of 1 to {_BODY_LIMIT} bytes is wanted")
        else:
            self._review(self.rfile.read(length))

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the kubelet probes every second."""

    def _review(self, body: bytes) -> None:
        try:
            answer = self.server.answer(body)
        except OSError as error:
            self._reply(HTTPStatus.INTERNAL_SERVER_ERROR, f"the API server: {error}")
        except (ValueError, KeyError, TypeError) as error:
            what = f"no review of a Pod: {type(error).__name__}: {error}"
            self._reply(HTTPStatus.BAD_REQUEST, what)
        else:
            if not answer["response"]["allowed"]:
                sys.stderr.write(f"refused: {answer['response']['status']['message']}\n")
            self._reply(HTTPStatus.OK, json.dumps(answer), "application/json")

    def _reply(self, status: HTTPStatus, text: str, kind: str = "text/plain") -> None:
        if status >= HTTPStatus.BAD_REQUEST:
            sys.stderr.write(f"{self.path}: {status.value} {text}\n")
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

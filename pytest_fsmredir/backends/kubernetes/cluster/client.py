"""Call the Kubernetes API; the only module that uses the untyped client library."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from pytest_fsmredir.errors import BackendError, PreflightError

_MISSING = "the Kubernetes client is missing; install it: pip install 'pytest-fsmredir[kind]'"

try:
    import requests
except ImportError:
    raise PreflightError(_MISSING) from None

Object = dict[str, Any]
"""An object of the API, as JSON has it."""

REQUEST_S = 60.0
"""Seconds that the API server may take for one response: its own limit (--request-timeout). Each
webhook that it calls may take up to 30 s of that."""


class ApiError(BackendError):
    """The API server refused a request, or did not answer.

    Attributes:
        status: HTTP status; 0 without a response.
    """

    def __init__(self, what: str, status: int, reason: str) -> None:
        super().__init__(f"{what}: {reason}")
        self.status = status


class Cluster:
    """A cluster, named by a kubeconfig.

    Attributes:
        options: Command line options of pytest_fsmredir's commands that name the same cluster.
        kubectl: A command line that starts with kubectl and names the same cluster.
    """

    options: tuple[str, ...] = ()
    kubectl: tuple[str, ...] = ("kubectl",)

    def __init__(self, kubeconfig: Path | None, context: str | None = None) -> None:
        self.options = (
            *(("--kubeconfig", str(kubeconfig.absolute())) if kubeconfig else ()),
            *(("--context", context) if context else ()),
        )
        self.kubectl = ("kubectl", *self.options)
        kubernetes = _kubernetes()
        configuration = kubernetes.client.Configuration()
        try:
            kubernetes.config.load_kube_config(
                str(kubeconfig) if kubeconfig else None, context, configuration
            )
        except Exception as error:
            raise PreflightError(f"no cluster can be reached: {error}") from None
        self._configuration = configuration
        self._session = requests.Session()
        if configuration.cert_file:
            self._session.cert = (configuration.cert_file, configuration.key_file)

    def get(self, path: str, **query: str) -> Object:
        """Return the object or list at a path of the API."""
        return self._call("GET", path, None, query)

    def create(self, path: str, body: Object) -> Object:
        """Create an object in a collection."""
        return self._call("POST", path, body)

    def patch(self, path: str, body: Object, *, by_key: bool = False) -> Object:
        """Merge changes into an object.

        Args:
            path: Path of the object.
            body: The changes.
            by_key: Merge lists of named items by name (strategic merge patch) instead of replacing
                the lists.
        """
        kind = "strategic-merge-patch+json" if by_key else "merge-patch+json"
        return self._call("PATCH", path, body, kind=kind)

    def delete(self, path: str, **query: str) -> None:
        """Delete an object; do nothing if it does not exist."""
        try:
            self._call("DELETE", path, {"gracePeriodSeconds": 0}, query)
        except ApiError as error:
            if error.status != 404:
                raise

    def log(self, namespace: str, pod: str, container: str, *, lines: int | None = 20) -> str:
        """Return the last lines of a container's log; None for all of it."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        query = {"container": container} | ({"tailLines": str(lines)} if lines else {})
        return self._raw("GET", path, None, query).decode(errors="replace")

    def exec(self, namespace: str, pod: str, container: str, argv: Sequence[str]) -> ExecStream:
        """Start a program in a container, and return its standard streams.

        Raises:
            ApiError: The program could not be started.
        """
        opened = self._opened("exec", namespace, pod, container, command=list(argv))
        return ExecStream(opened, f"{namespace}/{pod}")

    def attach(self, namespace: str, pod: str, container: str) -> ExecStream:
        """Return the standard streams of the program of a container.

        Raises:
            ApiError: The container does not run.
        """
        opened = self._opened("attach", namespace, pod, container)
        return ExecStream(opened, f"{namespace}/{pod}")

    def run(
        self, namespace: str, pod: str, container: str, argv: Sequence[str], within_s: float
    ) -> tuple[int, str, str]:
        """Run a program in a container; return its exit status, standard output and error.

        Raises:
            ApiError: The program could not be started, or did not end in time.
        """
        socket = self._opened("exec", namespace, pod, container, command=list(argv), stdin=False)
        end = monotonic() + within_s
        try:
            while socket.is_open() and (left := end - monotonic()) > 0:
                socket.update(timeout=left)
            over = not socket.is_open()
            out, err = socket.read_channel(1), socket.read_channel(2)
            status = _exit_status(socket.read_channel(3)) if over else 0
        except Exception as error:  # such as a cut stream, or a program that does not exist
            raise ApiError(f"{argv[0]} in {pod}", 0, _why(error)) from None
        finally:
            socket.sock.shutdown()
        if not over:
            raise ApiError(f"{argv[0]} in {pod}", 0, f"it has not ended after {within_s:.0f} s")
        return status, out, err

    def _opened(
        self,
        how: str,
        namespace: str,
        pod: str,
        container: str,
        *,
        stdin: bool = True,
        **command: list[str],
    ) -> Any:  # noqa: ANN401 - the client has no types
        """Return the streams of ``exec`` or ``attach``."""
        kubernetes = _kubernetes()
        # stream() replaces the request function of its client permanently, so use a new client.
        core = kubernetes.client.CoreV1Api(kubernetes.client.ApiClient(self._configuration))
        try:
            return kubernetes.stream.stream(
                getattr(core, f"connect_get_namespaced_pod_{how}"),
                pod,
                namespace,
                container=container,
                **command,
                stdin=stdin,
                stdout=True,
                stderr=True,
                tty=False,
                _preload_content=False,
                _request_timeout=REQUEST_S,
            )
        except Exception as error:
            status = getattr(error, "status", 0) or 0
            raise ApiError(f"{how} in {pod}", status, _why(error)) from None

    def close(self) -> None:
        """Close the connections to the API server."""
        self._session.close()

    def _call(
        self,
        method: str,
        path: str,
        body: Object | None,
        query: dict[str, str] | None = None,
        kind: str = "json",
    ) -> Object:
        answer: Object = json.loads(self._raw(method, path, body, query or {}, kind))
        return answer

    def _raw(
        self,
        method: str,
        path: str,
        body: Object | None,
        query: dict[str, str],
        kind: str = "json",
    ) -> bytes:
        headers = {"Content-Type": f"application/{kind}"}
        if token := self._configuration.get_api_key_with_prefix(
            "BearerToken", alias="authorization"
        ):
            headers["Authorization"] = token
        try:
            response = self._session.request(
                method,
                self._configuration.host + path,
                params=query,
                data=None if body is None else json.dumps(body),
                headers=headers,
                timeout=REQUEST_S,
                # Set for each request: REQUESTS_CA_BUNDLE overrides the session's own value.
                verify=self._configuration.verify_ssl and (self._configuration.ssl_ca_cert or True),
            )
        except requests.RequestException as error:
            raise ApiError(f"{method} {path}", 0, f"{type(error).__name__}: {error}") from None
        if not response.ok:
            raise ApiError(f"{method} {path}", response.status_code, _said(response.text))
        content: bytes = response.content
        return content


class ExecStream:
    """The standard streams of a program in a container, line by line."""

    def __init__(self, socket: Any, where: str) -> None:  # noqa: ANN401 - the client has no types
        self._socket, self._where = socket, where

    def write(self, text: str) -> None:
        """Send text to the program's standard input."""
        try:
            self._socket.write_stdin(text)
        except Exception as error:
            raise ApiError(f"the stream to {self._where} was cut", 0, _why(error)) from None

    def read_line(self, within_s: float) -> str:
        """Return the next line of the standard output, without its end.

        Raises:
            ApiError: The program ended, the stream was cut, or no line came in time.
        """
        try:
            line: str | None = self._socket.readline_stdout(timeout=within_s)
        except Exception as error:
            raise ApiError(f"the stream to {self._where} was cut", 0, _why(error)) from None
        if line is None or (not line and not self._socket.is_open()):
            open_still = self._socket.is_open()
            how = f"said nothing in {within_s:.0f} s" if open_still else "ended"
            said = self._socket.peek_stderr(timeout=0).strip()
            raise ApiError(f"the agents of {self._where}", 0, ": ".join(filter(None, (how, said))))
        return line

    def close(self) -> None:
        """End the program's standard input."""
        try:
            self._socket.close()
        finally:
            # websocket-client leaves its socket open if the other end closed the connection first.
            self._socket.sock.shutdown()


def _kubernetes() -> Any:  # noqa: ANN401 - the client has no types
    try:
        import kubernetes.client
        import kubernetes.config
        import kubernetes.stream
    except ImportError:
        raise PreflightError(_MISSING) from None
    return kubernetes


def _exit_status(said: str) -> int:
    """Return the exit status in the Status object that ends an exec stream.

    Raises:
        ApiError: The program was not started, or the stream was cut.
    """
    if not said:
        raise ApiError("the stream", 0, "it was cut")
    status = json.loads(said)
    if status.get("status") == "Success":
        return 0
    causes = (status.get("details") or {}).get("causes") or ()
    for cause in causes:
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise ApiError("it was not started", 0, str(status.get("message", said)))


def _why(error: Exception) -> str:
    """Return the error message of the API server or the network."""
    if isinstance(error, ApiError):
        return str(error)
    body = getattr(error, "body", None)
    return _said(body) if isinstance(body, str) and body else f"{type(error).__name__}: {error}"


def _said(body: str) -> str:
    """Return the message of a Status object, or the text unchanged if it is not one."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body

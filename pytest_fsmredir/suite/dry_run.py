"""Record the flows of a check and their expected fates, on a mesh without a network.

Each flow has the fate that the check expects, so the check goes on to its next flow. What depends
on other observations, such as captured packets, is listed but not recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, cast

from pytest_fsmredir.backends.places import APP_UID, remote_subnet
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.checks import Check
from pytest_fsmredir.model.claims import BaseClaim
from pytest_fsmredir.model.facets import Facet, call
from pytest_fsmredir.model.flow import (
    Acceptance,
    Acceptor,
    Address,
    Direction,
    Fate,
    Flow,
    Protocol,
)
from pytest_fsmredir.suite.assertions import ASSERTED, recording_code
from pytest_fsmredir.suite.recording import (
    NOT_PROGRAMMED,
    RecordedFlow,
    Recording,
    lists_in_words,
    runs_in_words,
    socket_in_words,
)

_NETWORK = {4: "192.0.2.", 6: "2001:db8::"}  # RFC 5737, RFC 3849
_LOOPBACK = {4: "127.0.0.1", 6: "::1"}
_FLOWS_AT_MOST = 3000
_CONDITIONS = {
    "forwarding": "the sidecar forwards",
    "stopped": "the sidecar is stopped",
    "in steps": "while the pod is programmed",
    "changed": "other kernel settings",
}
"""What is true in the block of a call, by the name of the called method."""
_ADDRESSES = {
    "silent address": "silent host",
    "remote address": "host beyond net1",
    "interface address": "pod's net1",
}
"""Methods that return an address, and the name of its place."""


class _EnoughError(Exception):
    """The check sends very many flows, or waits for an event that does not happen here."""


def recorded(check: Check) -> Recording:
    """Run a check on a mesh without a network, and return what it sends and expects."""
    mesh = _Mesh(check.families[0])
    module: dict[str, Any] = {"__name__": check.function.__module__, ASSERTED: mesh.asserted}
    exec(recording_code(check.function.__code__.co_filename), module)  # noqa: S102 - our own file
    if "search_pod" in module:  # it needs the rules of a real pod
        module["search_pod"] = _searched
    try:
        for _ in call(module[check.function.__name__], mesh):
            pass
    except _EnoughError:
        mesh.recording.missing = f"what follows the first {_FLOWS_AT_MOST} flows"
    except Exception as error:  # the stand-ins below are not everything that a check can meet
        line = _line_of(error, check)
        mesh.recording.missing = f"the rest, which depends on what a run sees: {line}"
    return mesh.recording


def _searched(mesh: _Mesh, *given: Any) -> _Thing:  # noqa: ANN401 - tools, level, annotations
    """Record what :func:`pytest_fsmredir.probing.search_pod.search_pod` sends in any case."""
    pod = mesh.pod(annotations=given[2])
    _ = pod.connect(mesh.server, 8080).captured_outbound
    _ = mesh.client.connect(pod, 8080).captured_inbound
    return _Thing(mesh, "search of all flows")


def _line_of(error: Exception, check: Check) -> str:
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == check.function.__code__.co_filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    file = Path(check.function.__code__.co_filename)
    return file.read_text(encoding="utf-8").splitlines()[line - 1].strip() if line else str(error)


class _Thing:
    """A stand-in for a place, or any other object that a check can meet; each call succeeds."""

    def __init__(
        self, mesh: _Mesh, name: str, owner: _Thing | None = None, **known: object
    ) -> None:
        self._mesh, self._name, self._owner, self._known = mesh, name, owner, known

    def connect(self, to: _Thing | str, port: int, **how: object) -> _RecordedFate:
        """Record a TCP connection."""
        return self._mesh.flow(self._name, to, port, Protocol.TCP, how)

    def open(self, to: _Thing | str, port: int, **how: object) -> _Thing:
        """Record a TCP connection that stays open."""
        fate = self._mesh.flow(self._name, to, port, Protocol.TCP, how)
        return _Thing(self._mesh, "connection", self, fate=fate, fate_by_banner=fate)

    def connect_all(
        self, to: _Thing | str, ports: Iterable[int], **how: object
    ) -> Iterator[object]:
        """Record connections to many ports."""
        return (self.connect(to, port, **how) for port in ports)

    def datagram(self, to: _Thing | str, port: int, **how: object) -> _RecordedFate:
        """Record a UDP datagram."""
        return self._mesh.flow(self._name, to, port, Protocol.UDP, how)

    def ping(self, to: _Thing | str, **how: object) -> _RecordedFate:
        """Record a ping."""
        return self._mesh.flow(self._name, to, 0, Protocol.ICMP, how)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a check asks for
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "address" and name not in self._known:
            self._known[name] = self._mesh.new_address(self._name)
        return self._known.get(name) or _Thing(self._mesh, name.replace("_", " "), self)

    def __call__(self, *given: Any, **settings: object) -> Any:  # noqa: ANN401 - as any method
        """Return a plausible result, often another stand-in, and record the lists of a pod."""
        self._mesh.spend()
        pod = next((one for one in (*given, self._owner) if isinstance(one, _Thing)), self)
        if self._name in _ADDRESSES:
            return self._mesh.new_address(_ADDRESSES[self._name])
        if self._name == "programs started":
            return 1
        if self._name == "resolve":
            return (self._mesh.new_address("service"),)
        if self._name == "first flow":
            return self._mesh.flow("pod", given[0], given[1], Protocol.TCP, {})
        if self._name.startswith("expect"):
            self._mesh.other(f"packet on the pod's link: {given[0]}")
        if self._name in ("inject", "deliver"):
            to = self._mesh.named(str(given[-1].destination))
            self._mesh.other(f"a forged packet is sent to {to}")
        if "program" in self._name:
            self._mesh.programmed(pod._name, settings)
        return _Thing(self._mesh, self._name, pod)

    def __enter__(self) -> _Thing:
        self._mesh.conditions.append(_CONDITIONS.get(self._name, ""))
        return self

    def __exit__(self, *_: object) -> None:
        self._mesh.conditions.pop()

    def __str__(self) -> str:
        return f"{self._owner._name} {self._name}" if self._owner is not None else self._name

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[object]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __getitem__(self, _: object) -> _Thing:
        return self

    def __eq__(self, _: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class _RecordedFate:
    """A fate that is the one that a check expects, whatever it expects."""

    def __init__(self, mesh: _Mesh, row: RecordedFlow, fate: Fate) -> None:
        self._mesh, self._row, self._fate = mesh, row, fate

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a check asks for
        value = getattr(self._fate, name)
        return partial(self._noted, value) if callable(value) else self._told(value)

    def _noted(self, claim: Callable[..., object], *arguments: object) -> object:
        return self._told(claim(*arguments))

    def _told(self, value: object) -> object:
        if not isinstance(value, BaseClaim):
            return value
        self._mesh.claim(self._row, value.expected)
        return True


class _Mesh:
    """The mesh that records; see :class:`pytest_fsmredir.backends.base.Mesh`."""

    exhaustive, iptables = False, IptablesVariant.NFT
    timeout_s, crowd, highest_id = 1.0, 3, 65534

    def __init__(self, family: int) -> None:
        self.family, self.recording = family, Recording()
        self.names = {_LOOPBACK[family]: "loopback"}
        self.conditions: list[str] = []
        self.runs: dict[str, list[str]] = {}
        self._addresses, self._alternative, self._claims, self._left = 0, False, 0, _FLOWS_AT_MOST
        self.server, self.client, self.node = (
            _Thing(self, name) for name in ("server", "client", "node")
        )

    def pod(self, **settings: Any) -> _Thing:  # noqa: ANN401 - of any backend
        """Record a pod and its lists."""
        number = len(self.recording.pods) + 1
        name = "pod" if number == 1 else f"pod {number}"
        pod = _Thing(self, name)
        pod._known["addresses"] = (pod.address,)
        self.programmed(name, settings)
        return pod

    def try_pod(self, **settings: Any) -> _Thing:  # noqa: ANN401 - of any backend
        """Record a pod that the implementation may refuse."""
        return self.pod(**settings)

    def bare_pod(self, **_: object) -> _Thing:
        """Record a pod that is not programmed yet."""
        thing = self.pod()
        self.runs[thing._name] = [NOT_PROGRAMMED]
        self.recording.pods[thing._name] = NOT_PROGRAMMED
        return thing

    def facet(self, kind: type[Facet]) -> Facet:
        """Return a stand-in for a facet; some facets make pods, or name a second address."""
        makes: dict[str, Any] = {
            "pod": self.pod,
            "bare_pod": self.bare_pod,
            "address": self._second_address,
        }
        return cast("Facet", _Thing(self, kind.__name__, **makes))

    def loopback(self) -> str:
        """Return the loopback address."""
        return _LOOPBACK[self.family]

    def subnet(self, number: int) -> IPv4Network | IPv6Network:
        """Return a range of remote addresses."""
        return remote_subnet(self.family, number)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a check asks for
        if name.startswith("__"):
            raise AttributeError(name)
        return _Thing(self, name.replace("_", " "))

    def programmed(self, pod: str, settings: Mapping[str, Any]) -> None:
        """Record the lists of a pod."""
        lists = {**(settings.get("annotations") or {}), **(settings.get("mesh_config") or {})}
        runs = self.runs.setdefault(pod, [])
        if (
            runs in ([], [NOT_PROGRAMMED]) or settings
        ):  # a further run without arguments changes no list
            runs.append(self.named(lists_in_words(lists)) or "no lists")
        self.recording.pods[pod] = runs_in_words(runs)

    def new_address(self, name: str) -> str:
        """Return an address for a place; the places of a check are few."""
        self._addresses += 1
        address = f"{_NETWORK[self.family]}{self._addresses}"
        self.names[address] = name
        return address

    def _second_address(self, _pod: _Thing) -> str:
        return self.new_address("pod's second address")

    def named(self, text: str) -> str:
        """Return a text with names in place of the addresses of places."""
        for address, name in self.names.items():
            text = re.sub(rf"(?<![\w.:]){re.escape(address)}(?![\w.]|:\w*:)", name, text)
        return text

    def spend(self) -> None:
        """Count a call of the check.

        Raises:
            _EnoughError: It makes too many.
        """
        self._left -= 1
        if self._left < 0:
            raise _EnoughError

    def flow(
        self, source: str, to: _Thing | str, port: int, protocol: Protocol, how: Mapping[str, Any]
    ) -> _RecordedFate:
        """Record a flow."""
        self.spend()
        in_pod = source.startswith("pod")
        uid = how.get("uid") or (APP_UID if in_pod and how.get("uid") is None else how.get("uid"))
        host = to if isinstance(to, str) else to.address
        runs = [run for each in (source, self.names.get(host)) for run in self._run_of(each)]
        row = RecordedFlow(
            source=source + socket_in_words(how),
            uid=uid,
            host=self.names.get(host, host),
            port=port,
            protocol=protocol,
            conditions=tuple(dict.fromkeys(filter(None, (*self.conditions, *runs)))),
        )
        self.recording.flows.append(row)
        direction = Direction.OUTBOUND if in_pod else Direction.INBOUND
        there, here = Address(host, port), how.get("source") or Address(host, 40000)
        acceptance = Acceptance(0, Acceptor.ORIGIN, there, here, there)
        flow = Flow(direction, there, protocol, uid)
        return _RecordedFate(self, row, Fate(flow, here, (acceptance,)))

    def _run_of(self, pod: str | None) -> list[str]:
        """Return which run programmed a pod last, if there are several states of it."""
        runs = self.runs.get(pod or "", [])
        return [f"run {len(runs) - (runs[0] == NOT_PROGRAMMED)}"] if len(runs) > 1 else []

    def claim(self, row: RecordedFlow, expected: str) -> None:
        """Record what a check expects of a flow."""
        self._claims += 1
        if row.expected == "any":
            row.expected = self.named(expected)
        elif self.named(expected) not in row.expected:
            row.expected += (" or " if self._alternative else ", ") + self.named(expected)

    def asserted(self, text: str, *alternatives: Callable[[], object]) -> None:
        """Record the claims of an assertion, or its text if it is not about a flow."""
        before, stated = self._claims, [f"it fails with: {text}"]
        for number, alternative in enumerate(alternatives):
            self._alternative = number > 0
            try:
                result = alternative()
                if isinstance(result, _Thing):
                    stated = [str(result)]
            except _EnoughError:
                raise
            except Exception:  # noqa: S112 - it is about something that is not there
                continue
        self._alternative = False
        if self._claims == before:
            for one in stated:
                self.other(one)

    def other(self, text: str) -> None:
        """Record what is not about the fate of one flow."""
        if text not in self.recording.others:
            self.recording.others.append(text)

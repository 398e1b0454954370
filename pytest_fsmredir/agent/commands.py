"""The commands of an agent."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from pytest_fsmredir.agent.dialling import dial_of
from pytest_fsmredir.agent.forms import (
    Json,
    Report,
    acceptance_form,
    address_form,
    bytes_form,
    bytes_of,
    question_of,
    sighting_form,
)
from pytest_fsmredir.agent.looking import Eyewitness
from pytest_fsmredir.agent.observing import Watch, first_packets
from pytest_fsmredir.agent.pod import ContainerHost, NumberedEngine
from pytest_fsmredir.agent.users import OwnedSockets
from pytest_fsmredir.model.flow import Acceptor, Address, Direction, Fate, Flow, Protocol
from pytest_fsmredir.model.reserved import HEALTH_PORT
from pytest_fsmredir.sidecars.recorder import Recorder
from pytest_fsmredir.traffic.connection import Connection
from pytest_fsmredir.traffic.probes import health_responder
from pytest_fsmredir.traffic.services import answer
from pytest_fsmredir.traffic.witness import Question, Sighting

ANY = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - the health responder answers on every address


class Commands:
    """Each method is a command; its keyword arguments are the command's arguments.

    Attributes:
        engine: Serves all sockets of this agent.
    """

    def __init__(self, engine: NumberedEngine, timeout_s: float = 5.0) -> None:
        self.engine = engine
        self._host = ContainerHost(engine, OwnedSockets(), timeout_s)
        self._recorder: Recorder | None = None
        self._numbers = count(1)
        self._connections: dict[int, Connection] = {}
        self._closing: dict[int, Callable[[], None]] = {}
        self._watch = Watch()

    def hello(self, number: int, timeout_s: float) -> None:
        """Set the agent's number and the time limit of flows."""
        self.engine.number, self._host.timeout_s = number, timeout_s

    def sidecar(self, addresses: list[str], probe_ports: list[int]) -> None:
        """Become the sidecar of a pod with these addresses and probe ports."""
        families = tuple(sorted({Address(host, 0).family for host in addresses}))
        self._recorder = Recorder(
            self._host, families, set(addresses), health=False, probe_ports=frozenset(probe_ports)
        )
        self._recorder.start()

    def health(self, addresses: list[str], uid: int = 0, probed: bool = False) -> None:
        """Become the health responder of a pod with these addresses, with or without probes."""
        serve = health_responder(self._host, uid) if probed else answer
        for family in sorted({Address(host, 0).family for host in addresses}):
            at = Address(ANY[family], HEALTH_PORT)
            self._host.listen(at, by=Acceptor.HEALTH, uid=uid, serve=serve)

    def start(self) -> None:
        """Open the sidecar's listeners."""
        self._own_recorder().start()

    def stop(self) -> None:
        """Close the sidecar's listeners."""
        self._own_recorder().stop()

    def forward(self, on: bool, services: dict[str, str]) -> None:
        """Set whether to forward captured flows or to answer them."""
        recorder = self._own_recorder()
        recorder.forwarding, recorder.services = on, services

    def open(self, to: Json, dial: Json = None, keep: bool = False) -> Json:
        """Connect, and return a report; the connection stays open with ``keep``."""
        how = dial_of(dial)
        connection = self._host.open(_flow(to, how.uid), how)
        number = self._register(connection) if keep else 0
        report = self._report(connection)
        if not keep:
            connection.close()
        return [number, report]

    def sweep(self, to: str, ports: list[int], dial: Json = None) -> Json:
        """Connect to many ports, and return a report for each."""
        how = dial_of(dial)
        fates = self._host.connect_all((_flow([to, port], how.uid) for port in ports), how)
        return [_fate_form(fate) for fate in fates]

    def hold(
        self,
        to: list[Json],
        patience_s: float,
        witness: list[str] | None = None,
        dial: Json = None,
    ) -> Json:
        """Connect to several destinations at once, and keep the connections open for observation.

        Args:
            to: The destinations.
            patience_s: Seconds that connected flows may stay silent.
            witness: Addresses of this pod; if given, this agent is the witness.
            dial: How to open them.

        Returns:
            For each connection a number, a report, and what the witness saw.
        """
        how = dial_of(dial)
        connections = [self._host.dial(_flow(each, how.uid), how) for each in to]
        self._host.settle(connections, patience_s)
        return self._held([self._register(connection) for connection in connections], witness)

    def wait(self, numbers: list[int], witness: list[str] | None = None) -> Json:
        """Wait for the end of silent attempts, and report them as :meth:`hold` does."""
        connections = [self._connections[number] for number in numbers]
        self._host.settle(connections)
        for connection in connections:
            connection.give_up()
        return self._held(numbers, witness)

    def observe(self, to: Json, addresses: list[str], patience_s: float, dial: Json = None) -> Json:
        """Open one connection, look at it from inside its pod, and close it.

        Args:
            to: The destination.
            addresses: Addresses of the pod.
            patience_s: Seconds that the open connection may stay silent.
            dial: How to open it.

        Returns:
            A report, what the tables show, and where the first packets went; None for the last
            without the right to see packets.
        """
        how = dial_of(dial)
        with first_packets() as packets:
            connection = self._host.dial(_flow(to, how.uid), how)
            try:
                self._host.settle([connection], patience_s)
                (seen,) = self._seen([connection], addresses)
                if not connection.connected:
                    connection.give_up()
                report = self._report(connection)
            finally:
                connection.close()
                self.engine.settle()
            went = packets.of(connection.client)
        return [report, seen, None if went is None else [address_form(each) for each in went]]

    def witness(self, questions: list[Json], addresses: list[str]) -> Json:
        """Return who accepted some flows in this pod, which has these addresses."""
        asked = [question_of(form) for form in questions]
        return [sighting_form(each) for each in Eyewitness(self.engine, addresses).look(asked)]

    def exchange(self, number: int, payload: str, within_s: float) -> Json:
        """Send a payload, and return the answer and a report."""
        connection = self._connections[number]
        echoed = connection.exchange(bytes_of(payload), within_s)
        return [bytes_form(echoed), self._report(connection)]

    def send(self, number: int, payload: str, urgent: bool = False) -> Json:
        """Send a payload, as urgent data with ``urgent``."""
        self._connections[number].send(bytes_of(payload), urgent=urgent)
        self.engine.settle()
        return self._report(self._connections[number])

    def finish(self, number: int, within_s: float) -> Json:
        """Half-close, and return whether the other side half-closes too."""
        finished = self._connections[number].finish(within_s)
        return [finished, self._report(self._connections[number])]

    def look(self, number: int) -> Json:
        """Return a report on a connection."""
        self.engine.settle()
        return self._report(self._connections[number])

    def close(self, number: int) -> None:
        """Abort a connection."""
        self.close_all([number])

    def close_all(self, numbers: list[int]) -> None:
        """Abort connections."""
        for number in numbers:
            self._connections.pop(number).close()
        self.engine.settle()

    def datagram(self, to: Json, payload: str = "", dial: Json = None) -> Json:
        """Send a UDP datagram and wait for the answer."""
        how = dial_of(dial)
        flow = _flow(to, how.uid, Protocol.UDP)
        return _fate_form(self._host.datagram(flow, how, payload=bytes_of(payload)))

    def ping(self, to: Json, uid: int = 0, payload: str = "") -> Json:
        """Send an ICMP echo request and wait for the answer."""
        flow = _flow(to, uid, Protocol.ICMP)
        return _fate_form(self._host.ping(flow, payload=bytes_of(payload)))

    def listen(self, at: Json, uid: int = 0, unless_taken: bool = False) -> int:
        """Listen for TCP until :meth:`unlisten`; 0 if the port is taken and that is allowed."""
        try:
            listener = self._host.listen(_address(at), uid=uid)
        except OSError as error:
            if unless_taken and error.errno == errno.EADDRINUSE:
                return 0
            raise
        return self._keep(listener.close)

    def hear(self, at: Json, protocol: str, uid: int = 0) -> int:
        """Answer UDP, or log echo requests, until :meth:`unlisten`."""
        address = _address(at)
        if protocol == Protocol.UDP.value:
            return self._keep(self._host.listen_datagrams(address, uid=uid).close)
        return self._keep(self._host.hear_pings(address.family).close)

    def unlisten(self, number: int) -> None:
        """Stop listening."""
        if number:
            self._closing.pop(number)()

    def reaches(self, to: Json, within_s: float) -> bool:
        """Whether a connection is accepted."""
        address = _address(to)
        try:
            with socket.create_connection((address.host, address.port), within_s):
                return True
        except OSError:
            return False

    def resolve(self, name: str, family: int) -> Json:
        """Resolve a name with the configured resolver, which uses UDP, and return the addresses."""
        wanted = socket.AF_INET6 if family == 6 else socket.AF_INET
        try:
            found = socket.getaddrinfo(name, None, wanted, socket.SOCK_STREAM)
        except socket.gaierror:
            return []
        return sorted({str(address[0]) for *_, address in found})

    def capture(self) -> None:
        """Begin to capture the packets of this pod."""
        self._watch.capture()

    def captured(self, hosts: list[str]) -> str:
        """End the capture; return the packets from or to some hosts, or all, as a pcap file."""
        self.engine.settle()
        return bytes_form(self._watch.captured(hosts))

    def trace(self) -> None:
        """Begin to ask the kernel which rules the first packets of flows match in this pod."""
        self._watch.trace()

    def traced(self, protocol: int) -> Json:
        """End the trace; return the rules; None if the kernel dropped reports."""
        matched = self._watch.traced(protocol)
        return None if matched is None else [list(rule) for rule in matched]

    def log(self, since: int) -> Json:
        """Return the acceptances from an index onwards, each with its time."""
        self.engine.settle()
        log, times = self.engine.log, self.engine.times
        return [[times[n], acceptance_form(log[n])] for n in range(since, len(log))]

    def _register(self, connection: Connection) -> int:
        number = next(self._numbers)
        self._connections[number] = connection
        return number

    def _held(self, numbers: Sequence[int], witness: list[str] | None) -> Json:
        connections = [self._connections[number] for number in numbers]
        seen = [None] * len(numbers) if witness is None else self._seen(connections, witness)
        reports = [self._report(connection) for connection in connections]
        return [list(each) for each in zip(numbers, reports, seen, strict=True)]

    def _seen(self, connections: Sequence[Connection], addresses: list[str]) -> list[Json]:
        """Return the sightings of our connections; none for those without a socket."""
        asked = {
            n: Question(c.client, c.flow.destination, c.connected)
            for n, c in enumerate(connections)
            if c.client is not None
        }
        seen = Eyewitness(self.engine, addresses).look(list(asked.values()))
        told = dict(zip(asked, seen, strict=True))
        return [sighting_form(told.get(n, Sighting())) for n in range(len(connections))]

    def _keep(self, close: Callable[[], None]) -> int:
        number = next(self._numbers)
        self._closing[number] = close
        return number

    def _own_recorder(self) -> Recorder:
        if self._recorder is None:
            raise OSError("this agent does not run a sidecar")
        return self._recorder

    def _report(self, connection: Connection) -> Json:
        received = bytes(connection.received)
        connection.received.clear()
        return Report(
            connection.client,
            connection.lost,
            connection.answered_by,
            received,
            connection.ended,
            connection.connected,
        ).as_form()


def names() -> Iterator[str]:
    """Yield the names of all commands."""
    return (name for name in vars(Commands) if not name.startswith("_"))


def _flow(to: Json, uid: int | None, protocol: Protocol = Protocol.TCP) -> Flow:
    return Flow(Direction.OUTBOUND, _address(to), protocol, uid=uid)


def _address(form: Json) -> Address:
    return Address(str(form[0]), int(form[1]))


def _fate_form(fate: Fate) -> Json:
    return Report(fate.client, fate.lost, next(iter(fate.path), None)).as_form()

"""Determine fates when the sidecar is foreign: read the pod's socket tables.

A foreign sidecar reports nothing, so each flow is held open while the agent in the sidecar's pod
reads the tables. The path of a flow starts with the acceptance of the sidecar, which the tables
show. The far end is ours and sends a banner, which the sidecar forwards; it shows the acceptance of
the far end. A sidecar that forwards nothing has still accepted the flow: the destination may not
listen, or the sidecar may wait for the client to send first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from pytest_fsmredir.agent.dialling import dial_form
from pytest_fsmredir.agent.forms import (
    Json,
    Report,
    address_form,
    question_form,
    sighting_of,
)
from pytest_fsmredir.agent.looking import ACCEPT_S
from pytest_fsmredir.backends.kubernetes.agents.connection import RemoteConnection
from pytest_fsmredir.backends.kubernetes.agents.link import Command
from pytest_fsmredir.backends.kubernetes.agents.manifests import APP
from pytest_fsmredir.backends.kubernetes.mesh.pods import KubePod
from pytest_fsmredir.backends.kubernetes.mesh.surroundings import Acceptances, Dialler
from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.flow import Acceptance, Acceptor, Address, Fate, Flow, loops
from pytest_fsmredir.model.reserved import ADMIN_PORT, SERVED_PORTS
from pytest_fsmredir.traffic.dial import Dial
from pytest_fsmredir.traffic.witness import Question, Sighting

PATIENCE_S = 1.0
"""Seconds that a connection may stay silent before the socket tables are read."""

WINDOW = 32
"""Number of flows of a sweep that are held open at once."""

_SILENT_PORTS = {ADMIN_PORT, *SERVED_PORTS}  # servers at these ports wait for a request


class ObservedMesh(Acceptances, Protocol):
    """The part of a mesh that observation uses."""

    def loopback(self) -> str:
        """Return the loopback address."""
        ...

    def pod_of(self, host: str) -> KubePod | None:
        """Return the pod of the mesh that has an address."""
        ...

    def pod_at(self, place: Dialler) -> KubePod | None:
        """Return the place if it is a pod of the mesh, else None."""
        ...

    def abandon(self, pod: KubePod, fate: Fate) -> None:
        """Stop a pod whose sidecar dials itself, as this flow shows; the check fails."""
        ...


@dataclass
class HeldFlow:
    """A flow that is held open.

    Attributes:
        flow: The flow that was dialled.
        number: Number of the connection at its agent.
        report: The state of the connection at the client.
        seen: What the tables of the pods on the path showed.
        told: The acceptances that the far ends reported.
        looping: The pod whose sidecar dials itself; None without a loop.
    """

    flow: Flow
    number: int
    report: Report
    seen: list[Sighting] = field(default_factory=list)
    told: tuple[Acceptance, ...] = ()
    looping: KubePod | None = None

    @property
    def accepted(self) -> tuple[Acceptance, ...]:
        """The acceptances that the tables showed."""
        return tuple(each for sighting in self.seen for each in sighting.accepted)

    @property
    def open_question(self) -> bool:
        """Whether the fate of the flow is still unknown."""
        settled = self.report.lost is not None or self.report.answered_by is not None
        return not settled and not self.accepted

    @property
    def forwarder_unseen(self) -> bool:
        """Whether the far end answered another socket than the client's, and no table shows why."""
        answered = self.report.answered_by
        return answered is not None and answered.peer != self.report.client and not self.accepted

    @property
    def ends(self) -> set[Address]:
        """The client addresses that the flow may have at its destination."""
        onward = {each for sighting in self.seen for each in sighting.onward}
        return onward | ({self.report.client} if self.report.client else set())


class WitnessedConnection(RemoteConnection):
    """A connection attempt whose fate was determined when it was made."""

    def __init__(self, place: Dialler, number: int, fate: Fate) -> None:
        super().__init__(fate.flow, place.link, number, lambda: fate.path)
        self._seen = fate

    @property
    def fate(self) -> Fate:
        """The result of the attempt."""
        return self._seen

    @property
    def fate_by_banner(self) -> Fate:
        """The result of the attempt; other flows do not affect it."""
        return self._seen


class Witnessing:
    """Read the socket tables for what the sidecar accepted, without its cooperation."""

    offers: ClassVar = frozenset[Need]()
    sees_others: ClassVar = True

    def __init__(self, mesh: ObservedMesh) -> None:
        self._mesh = mesh

    def open(self, place: Dialler, flow: Flow, dial: Dial, *, keep: bool) -> RemoteConnection:
        """Dial from a place."""
        (held,) = self._hold(place, [flow], dial)
        fate = self._fate(held)
        if held.looping is not None:
            keep = False
            self._mesh.abandon(held.looping, fate)
        connection = WitnessedConnection(place, held.number if keep else 0, fate)
        connection.take(held.report)
        if not keep:
            _let_go(place, [held])
        return connection

    def sweep(self, place: Dialler, flows: Sequence[Flow], dial: Dial) -> Iterator[Fate]:
        """Dial several ports of one destination at once."""
        # Dial one flow first. In a pod whose sidecar dials itself, many flows at once all loop.
        starts = [0, *range(1, len(flows), WINDOW)]
        for start, end in zip(starts, [*starts[1:], len(flows)], strict=True):
            holding = self._hold(place, flows[start:end], dial)
            fates = [self._fate(held) for held in holding]
            for held, fate in zip(holding, fates, strict=True):
                if held.looping is not None:
                    self._mesh.abandon(held.looping, fate)
            _let_go(place, holding)
            yield from fates

    def _hold(self, place: Dialler, flows: Sequence[Flow], dial: Dial) -> list[HeldFlow]:
        ours = self._mesh.pod_at(place)
        mark = self._mesh.mark()
        forms = place.link.ask(
            APP,
            "hold",
            wait_s=self._mesh.timeout_s + ACCEPT_S,
            to=[address_form(flow.destination) for flow in flows],
            patience_s=self._patience_s(flows),
            witness=list(ours.addresses) if ours else None,
            dial=dial_form(dial),
        )
        holding = [_held(flow, form, ours) for flow, form in zip(flows, forms, strict=True)]
        self._look_at_destination(place, holding)
        if silent := [held for held in holding if held.open_question]:
            self._wait(place, ours, silent)
        if unseen := [held for held in holding if held.forwarder_unseen]:
            self._look_again(place, ours, unseen)
        for held in holding:
            self._log(held, mark)
        return holding

    def _wait(self, place: Dialler, ours: KubePod | None, silent: Sequence[HeldFlow]) -> None:
        """Wait the full timeout of a flow for flows without a known acceptance."""
        forms = place.link.ask(
            APP,
            "wait",
            wait_s=self._mesh.timeout_s + ACCEPT_S,
            numbers=[held.number for held in silent],
            witness=list(ours.addresses) if ours else None,
        )
        for held, form in zip(silent, forms, strict=True):
            later = _held(held.flow, form, ours)
            held.report, held.seen, held.looping = later.report, later.seen, later.looping
        self._look_at_destination(place, silent)

    def _look_again(
        self, place: Dialler, ours: KubePod | None, holding: Sequence[HeldFlow]
    ) -> None:
        """Read the tables once more for flows whose forwarder they did not show.

        A flow can advance between the read and its banner. The kernel prints a table in parts
        (seq_read_iter, linux/fs/seq_file.c), so a row can be missing if other sockets close.
        """
        if ours is not None:
            self._read_tables(ours, holding)
        self._look_at_destination(place, holding)

    def _look_at_destination(self, place: Dialler, holding: Sequence[HeldFlow]) -> None:
        """Read the tables of the destination pod, unless the flows also start there."""
        pod = self._mesh.pod_of(holding[0].flow.destination.host)
        if pod is not None and pod.site is not place.site:
            self._read_tables(pod, holding)

    def _read_tables(self, pod: KubePod, holding: Sequence[HeldFlow]) -> None:
        """Read the tables of a pod for flows, and record what they show."""
        asked = [(held, question) for held in holding for question in _questions(held)]
        if not asked:
            return
        forms = pod.link.ask(
            APP,
            "witness",
            wait_s=ACCEPT_S,
            questions=[question_form(question) for _, question in asked],
            addresses=list(pod.addresses),
        )
        for (held, _), form in zip(asked, forms, strict=True):
            sighting = sighting_of(form)
            held.seen.append(sighting)
            if loops(sighting.accepted):
                held.looping = pod

    def _patience_s(self, flows: Sequence[Flow]) -> float:
        """Return seconds that a flow may stay silent; ports that the sidecar serves always are."""
        host = flows[0].destination.host
        into_pod = self._mesh.pod_of(host) is not None or host == self._mesh.loopback()
        silent = all(flow.destination.port in _SILENT_PORTS for flow in flows)
        return 0.0 if into_pod and silent else PATIENCE_S

    def _log(self, held: HeldFlow, mark: int) -> None:
        """Log the acceptances of a flow in the order of its path."""
        acceptance_log, reported = self._mesh.backend.acceptance_log, held.report.answered_by
        acceptance_log.witnessed(held.accepted)
        missing = reported is None and held.report.lost != "refused"
        if missing or not acceptance_log.note(reported):
            self._mesh.fetch()
        if reported is not None:
            # A recorder reports in the banner what the tables have shown already.
            held.told = () if _is_among(held.accepted, reported) else (reported,)
        else:
            new, ends = self._mesh.since(mark, held.flow), held.ends
            held.told = tuple(a for a in new if a.peer in ends and not _is_among(held.accepted, a))

    def _fate(self, held: HeldFlow) -> Fate:
        report, path = held.report, held.accepted + held.told
        _require_a_witness(held, path)
        if report.answered_by is not None:
            return Fate(held.flow, report.client, path)
        if path:
            remark = f"what the client saw of it: {report.lost or 'it stayed open'}"
            return Fate(held.flow, report.client, path, remark=remark)
        return Fate(held.flow, report.client, path, report.lost or "no answer")


def _held(flow: Flow, form: Json, place: KubePod | None) -> HeldFlow:
    number, report, seen = form
    sightings = [] if seen is None else [sighting_of(seen)]
    looping = place if any(loops(each.accepted) for each in sightings) else None
    return HeldFlow(flow, number, Report.of(report), sightings, looping=looping)


def _questions(held: HeldFlow) -> Iterator[Question]:
    """Yield the questions of a flow: at its destination, the client may be a sidecar."""
    if not held.accepted and held.report.client is not None:
        yield Question(held.report.client, held.flow.destination, held.report.connected)
    for sighting in held.seen:
        for end in sighting.onward:
            yield Question(end, held.flow.destination, connected=True)


def _let_go(place: Dialler, holding: Iterable[HeldFlow]) -> None:
    numbers = [held.number for held in holding]
    place.link.defer(Command(APP, "close_all", {"numbers": numbers}))


def _is_among(known: Iterable[Acceptance], acceptance: Acceptance) -> bool:
    """Whether an acceptance is among known ones: the same listener, client and destination.

    The tables do not show serial numbers, nor the original destination of every connection.
    """
    wanted = (acceptance.by, acceptance.peer, acceptance.destination)
    return any((each.by, each.peer, each.destination) == wanted for each in known)


def _require_a_witness(held: HeldFlow, path: Sequence[Acceptance]) -> None:
    """Refuse to judge a flow whose acceptance may have been missed.

    Raises:
        BackendError: The flow was answered, the socket tables do not show by whom, and connection
            tracking cannot be read.
    """
    report = held.report
    if not held.seen or any(each.tracking for each in held.seen):
        return
    unknown = report.connected and (
        not path or (path[0].by is Acceptor.ORIGIN and path[0].peer != report.client)
    )
    if unknown:
        raise BackendError(
            f"{held.flow}: who accepted it was gone from the pod's socket table before it could be"
            " seen, and /proc/net/nf_conntrack cannot be read there (it takes a kernel with"
            " CONFIG_NF_CONNTRACK_PROCFS, and user 0)"
        )

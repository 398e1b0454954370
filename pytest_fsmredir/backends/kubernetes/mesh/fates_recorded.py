"""Determine fates when the sidecar is ours: it and the far ends record what they accept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from pytest_fsmredir.agent.dialling import dial_form
from pytest_fsmredir.agent.forms import Report, address_form
from pytest_fsmredir.backends.kubernetes.agents.connection import RemoteConnection
from pytest_fsmredir.backends.kubernetes.agents.manifests import APP
from pytest_fsmredir.backends.kubernetes.mesh.surroundings import Acceptances, Dialler
from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.model.flow import Fate, Flow
from pytest_fsmredir.traffic.dial import Dial


class Recording:
    """Read the acceptance in the banner, and fetch all others from the agents."""

    offers: ClassVar = frozenset({Need.ANSWERING_SIDECAR})
    sees_others: ClassVar = False

    def __init__(self, mesh: Acceptances) -> None:
        self._mesh = mesh

    def open(self, place: Dialler, flow: Flow, dial: Dial, *, keep: bool) -> RemoteConnection:
        """Dial from a place."""
        mesh = self._mesh
        mark = mesh.mark()
        number, form = place.link.ask(
            APP,
            "open",
            wait_s=mesh.timeout_s,
            to=address_form(flow.destination),
            dial=dial_form(dial),
            keep=keep,
        )
        report = Report.of(form)
        connection = RemoteConnection(flow, place.link, number, lambda: mesh.since(mark, flow))
        connection.take(report)
        mesh.learn(report)
        return connection

    def sweep(self, place: Dialler, flows: Sequence[Flow], dial: Dial) -> Iterator[Fate]:
        """Dial several ports of one destination at once."""
        forms = place.link.ask(
            APP,
            "sweep",
            wait_s=len(flows) * self._mesh.timeout_s,
            to=flows[0].destination.host,
            ports=[flow.destination.port for flow in flows],
            dial=dial_form(dial),
        )
        reports = [Report.of(form) for form in forms]
        self._mesh.learn(*reports)
        for flow, report in zip(flows, reports, strict=True):
            path = (report.answered_by,) if report.answered_by is not None else ()
            yield Fate(flow, report.client, path, report.lost)

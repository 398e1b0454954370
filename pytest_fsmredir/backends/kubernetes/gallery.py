"""The probed applications of a run: made with its other pods, and asked about by several checks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_fsmredir.backends.kubernetes.applications import probed_container
from pytest_fsmredir.backends.kubernetes.fleet import Fleet, Order, Site
from pytest_fsmredir.backends.kubernetes.probing import Case
from pytest_fsmredir.errors import FsmRedirError


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A pod with a probed application.

    Attributes:
        order: What else it is.
        case: How its application is probed.
    """

    order: Order
    case: Case

    @property
    def key(self) -> tuple[str, Case]:
        """The same for equal exhibits."""
        return self.order.key, self.case


class Gallery:
    """Makes each probed application once.

    Args:
        fleet: Makes pods.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._names: dict[tuple[str, Case], str | FsmRedirError] = {}
        self._sites: dict[tuple[str, Case], Site] = {}

    def make(self, exhibits: Iterable[Exhibit]) -> None:
        """Make pods that there are not yet, under the lists in force; they are not awaited.

        What goes wrong is told to the checks that ask for the pod, not to all the others.
        """
        for exhibit in exhibits:
            if exhibit.key not in self._names:
                self._names[exhibit.key] = self._made(exhibit)

    def site(self, exhibit: Exhibit) -> Site:
        """Return a pod that is up, and made now if there was none.

        Raises:
            FsmRedirError: It could not be made, or cannot come up.
        """
        self.make([exhibit])
        name = self._names[exhibit.key]
        if isinstance(name, FsmRedirError):
            raise name
        if exhibit.key not in self._sites:
            (self._sites[exhibit.key],) = self._fleet.adopt([name], exhibit.order)
        return self._sites[exhibit.key]

    def _made(self, exhibit: Exhibit) -> str | FsmRedirError:
        fleet, case = self._fleet, exhibit.case
        name = fleet.name("probed")
        pod = fleet.plain_pod(name, exhibit.order)
        try:
            probed = probed_container(fleet.images.pod, case.probes, case.by, alive=case.alive)
            pod["spec"]["containers"].append(probed)
            fleet.create(fleet.injected(pod, exhibit.order))
        except FsmRedirError as error:
            return error
        return name

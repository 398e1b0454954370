"""A pytest plugin and conformance suite for sidecar traffic redirection.

The names here are what checks, implementations and users' own tests are written with. They are
loaded on first use: pytest imports this package in every run of an environment that has it.
"""

from __future__ import annotations

TYPE_CHECKING = False  # an agent starts in each pod of a run, so import little
if TYPE_CHECKING:
    from pytest_fsmredir.backends.base import Mesh as Mesh
    from pytest_fsmredir.backends.base import Place as Place
    from pytest_fsmredir.backends.base import Pod as Pod
    from pytest_fsmredir.backends.facets import FarEnds as FarEnds
    from pytest_fsmredir.backends.facets import ForeignPrograms as ForeignPrograms
    from pytest_fsmredir.backends.facets import ForgedPackets as ForgedPackets
    from pytest_fsmredir.backends.facets import KernelSettings as KernelSettings
    from pytest_fsmredir.backends.facets import NestedContainers as NestedContainers
    from pytest_fsmredir.backends.facets import Programmer as Programmer
    from pytest_fsmredir.backends.facets import Sabotage as Sabotage
    from pytest_fsmredir.backends.facets import SearchTools as SearchTools
    from pytest_fsmredir.backends.facets import SecondInterface as SecondInterface
    from pytest_fsmredir.backends.facets import Sidecars as Sidecars
    from pytest_fsmredir.backends.facets import SingleFamily as SingleFamily
    from pytest_fsmredir.backends.facets import Taps as Taps
    from pytest_fsmredir.backends.needs import Need as Need
    from pytest_fsmredir.backends.programming import Programming as Programming
    from pytest_fsmredir.backends.shared_steps import add_foreign_rules as add_foreign_rules
    from pytest_fsmredir.backends.shared_steps import ends as ends
    from pytest_fsmredir.backends.shared_steps import listening_sweep as listening_sweep
    from pytest_fsmredir.backends.shared_steps import local_sweep as local_sweep
    from pytest_fsmredir.backends.shared_steps import ports_to_judge as ports_to_judge
    from pytest_fsmredir.backends.shared_steps import range_of as range_of
    from pytest_fsmredir.backends.shared_steps import ranges_around as ranges_around
    from pytest_fsmredir.backends.shared_steps import remote_hosts as remote_hosts
    from pytest_fsmredir.backends.shared_steps import to_judge as to_judge
    from pytest_fsmredir.backends.shared_steps import translate as translate
    from pytest_fsmredir.backends.workloads import Probe as Probe
    from pytest_fsmredir.backends.workloads import ProbeBy as ProbeBy
    from pytest_fsmredir.backends.workloads import Workloads as Workloads
    from pytest_fsmredir.implementations.base import Completed as Completed
    from pytest_fsmredir.implementations.base import Implementation as Implementation
    from pytest_fsmredir.implementations.base import Refused as Refused
    from pytest_fsmredir.implementations.base import Target as Target
    from pytest_fsmredir.model.checks import INFO as INFO
    from pytest_fsmredir.model.checks import MUST as MUST
    from pytest_fsmredir.model.checks import SHOULD as SHOULD
    from pytest_fsmredir.model.checks import Level as Level
    from pytest_fsmredir.model.checks import Profile as Profile
    from pytest_fsmredir.model.configuration import Configuration as Configuration
    from pytest_fsmredir.model.features import Feature as Feature
    from pytest_fsmredir.model.flow import Acceptance as Acceptance
    from pytest_fsmredir.model.flow import Acceptor as Acceptor
    from pytest_fsmredir.model.flow import Address as Address
    from pytest_fsmredir.model.flow import Direction as Direction
    from pytest_fsmredir.model.flow import Fate as Fate
    from pytest_fsmredir.model.flow import Flow as Flow
    from pytest_fsmredir.model.flow import Protocol as Protocol
    from pytest_fsmredir.model.flow import Route as Route
    from pytest_fsmredir.model.oracle import expected as expected
    from pytest_fsmredir.model.policy import ListName as ListName
    from pytest_fsmredir.model.policy import Policy as Policy
    from pytest_fsmredir.model.reserved import SIDECAR_UID as SIDECAR_UID
    from pytest_fsmredir.model.sections import Case as Case
    from pytest_fsmredir.model.sections import Section as Section
    from pytest_fsmredir.probing.search import search as search
    from pytest_fsmredir.probing.search_pod import search_pod as search_pod
    from pytest_fsmredir.traffic import forge as forge
    from pytest_fsmredir.traffic import protocols as protocols
    from pytest_fsmredir.traffic import syns as syns
    from pytest_fsmredir.traffic.connection import Connection as Connection
    from pytest_fsmredir.traffic.packet import Packet as Packet
    from pytest_fsmredir.traffic.socket_options import marked as marked
    from pytest_fsmredir.traffic.socket_options import with_ip_options as with_ip_options
    from pytest_fsmredir.traffic.socket_options import with_number as with_number
    from pytest_fsmredir.traffic.socket_options import with_unusual_header as with_unusual_header

_NAMES = {
    "backends.base": ("Mesh", "Place", "Pod"),
    "backends.facets": (
        "FarEnds", "ForeignPrograms", "ForgedPackets", "KernelSettings", "NestedContainers",
        "Programmer", "Sabotage", "SearchTools", "SecondInterface", "Sidecars", "SingleFamily",
        "Taps",
    ),
    "backends.needs": ("Need",),
    "backends.programming": ("Programming",),
    "backends.shared_steps": (
        "add_foreign_rules", "ends", "listening_sweep", "local_sweep", "ports_to_judge", "range_of",
        "ranges_around", "remote_hosts", "to_judge", "translate",
    ),
    "backends.workloads": ("Probe", "ProbeBy", "Workloads"),
    "implementations.base": ("Completed", "Implementation", "Refused", "Target"),
    "model.checks": ("INFO", "MUST", "SHOULD", "Level", "Profile"),
    "model.configuration": ("Configuration",),
    "model.features": ("Feature",),
    "model.flow": (
        "Acceptance", "Acceptor", "Address", "Direction", "Fate", "Flow", "Protocol", "Route",
    ),
    "model.oracle": ("expected",),
    "model.policy": ("ListName", "Policy"),
    "model.reserved": ("SIDECAR_UID",),
    "model.sections": ("Case", "Section"),
    "probing.search": ("search",),
    "probing.search_pod": ("search_pod",),
    "traffic.connection": ("Connection",),
    "traffic.packet": ("Packet",),
    "traffic.socket_options": ("marked", "with_ip_options", "with_number", "with_unusual_header"),
}  # fmt: skip
_HOMES = {name: module for module, names in _NAMES.items() for name in names}
_MODULES = {name: f"traffic.{name}" for name in ("forge", "protocols", "syns")}

__all__ = sorted({*_HOMES, *_MODULES})


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"{__name__}.{_MODULES[name]}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})

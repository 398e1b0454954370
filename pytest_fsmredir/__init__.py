"""A pytest plugin and conformance suite for sidecar traffic redirection.

The names here are what checks, implementations and users' own tests are written with.
"""

from __future__ import annotations

from pytest_fsmredir.backends.base import Mesh, Need, Place, Pod, Programming
from pytest_fsmredir.spec.checks import INFO, MUST, SHOULD, Level, Profile, check
from pytest_fsmredir.spec.configuration import Configuration
from pytest_fsmredir.spec.features import Feature
from pytest_fsmredir.spec.flow import Acceptor, Address, Direction, Fate, Flow, Protocol, Route
from pytest_fsmredir.spec.oracle import expected
from pytest_fsmredir.spec.policy import ListName, Policy
from pytest_fsmredir.spec.reserved import SIDECAR_UID

__all__ = [
    "INFO",
    "MUST",
    "SHOULD",
    "SIDECAR_UID",
    "Acceptor",
    "Address",
    "Configuration",
    "Direction",
    "Fate",
    "Feature",
    "Flow",
    "Level",
    "ListName",
    "Mesh",
    "Need",
    "Place",
    "Pod",
    "Policy",
    "Profile",
    "Programming",
    "Protocol",
    "Route",
    "check",
    "expected",
]

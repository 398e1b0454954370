"""The interface between the mesh of a check and its backend."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.backends.netns.programs import Confinement, Toolbox
from pytest_fsmredir.backends.netns.sabotage import Disturbance
from pytest_fsmredir.backends.netns.sandbox import Sandbox
from pytest_fsmredir.backends.netns.steps import Steps
from pytest_fsmredir.backends.netns.wiring import SECOND_INTERFACE
from pytest_fsmredir.backends.pod_parts import Memory
from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.traffic.host import Host


class NetnsSource(Protocol):
    """Where a mesh gets its pods, and where the implementation runs on them.

    Attributes:
        world: The namespace outside all pods.
        outside: The host for flows from and to the world.
        confinement: The default limits of init commands.
        idle_s: The minimum time that idle connections stay idle.
        programs_started: Numbers of programs that the implementation starts to program a pod,
            as far as counted.
        memory: What the checks learnt about the implementation.
    """

    world: Namespace
    outside: Host
    confinement: Confinement
    idle_s: float
    programs_started: dict[IptablesVariant, int]
    memory: Memory

    def shared_site(
        self, configuration: Configuration, iptables: IptablesVariant, second_interface: bool
    ) -> Sandbox:
        """Return the shared pod with these settings."""
        ...

    def new_site(
        self,
        configuration: Configuration,
        second_interface: bool,
        family: int | None = None,
        *,
        interface: str = SECOND_INTERFACE,
    ) -> Sandbox:
        """Return a new, unprogrammed pod; with a family, it has only that IP version."""
        ...

    def program(
        self,
        site: Sandbox,
        iptables: IptablesVariant,
        confinement: Confinement,
        disturbance: Disturbance | None = None,
    ) -> Programming:
        """Run the implementation on a pod."""
        ...

    def program_in_steps(
        self, site: Sandbox, iptables: IptablesVariant, confinement: Confinement
    ) -> AbstractContextManager[Steps]:
        """Run the implementation on a pod in the background, for the block."""
        ...

    def foreign_toolbox(self, variant: IptablesVariant) -> Toolbox:
        """Return the programs that add foreign rules in a pod of a variant."""
        ...

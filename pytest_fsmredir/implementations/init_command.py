"""A shell command that programs a pod, by the contract."""

from __future__ import annotations

from pytest_fsmredir.errors import tail
from pytest_fsmredir.implementations.base import Hung, Refused, Target
from pytest_fsmredir.spec.features import ALL_FEATURES, Feature


class InitCommand:
    """Runs a command line through ``/bin/sh -c`` once for every pod.

    Attributes:
        name: The command line, unless another name is given.
        features: What the vendor claims; everything by default.
    """

    def __init__(
        self, command: str, *, features: frozenset[Feature] = ALL_FEATURES, name: str | None = None
    ) -> None:
        self.command = command
        self.name = name or command
        self.features = features

    def program(self, target: Target) -> None:
        """Run the command; any exit status but 0 says "refused"."""
        # It may run for long, so it is told to die with us; that costs the start of one program.
        done = target.run(["setpriv", "--pdeathsig", "KILL", "/bin/sh", "-c", self.command])
        if done.status is None:
            raise Hung("the init command did not end in time and was killed")
        if done.status != 0:
            raise Refused(f"the init command exited {done.status}: {tail(done.stderr)}")

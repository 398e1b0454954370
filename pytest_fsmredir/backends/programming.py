"""The result of an attempt to program a pod."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, field

from pytest_fsmredir.model.claims import Statement
from pytest_fsmredir.model.configuration import Configuration

# Shorten long lists in messages: a list can have 10,000 ranges.
_SHORT = reprlib.Repr()
_SHORT.maxdict, _SHORT.maxtuple, _SHORT.maxlist = 10, 20, 20
_SHORT.maxstring, _SHORT.maxother = 400, 400


@dataclass(frozen=True, slots=True)
class Programming:
    """The result of an attempt to program a pod.

    Attributes:
        accepted: The implementation said "programmed".
        reason: Why it declined; empty if it accepted.
        started: Number of packet filter programs that it found by PATH and started; counted only
            under sabotage.
        silent: It declined without a message.
        configuration: The configuration to program.
    """

    accepted: bool
    reason: str = ""
    started: int = 0
    silent: bool = False
    configuration: Configuration = field(default_factory=Configuration)

    @property
    def refused(self) -> Statement:
        """The implementation declined to program the pod."""
        return self._claim(f"a refusal{_of(self.configuration)}", holds=not self.accepted)

    @property
    def refused_with_a_message(self) -> Statement:
        """The implementation declined to program the pod, and said why."""
        expected = f"a refusal with a message{_of(self.configuration)}"
        return self._claim(expected, holds=not (self.accepted or self.silent))

    @property
    def programmed(self) -> Statement:
        """The implementation programmed the pod."""
        lists = _of(self.configuration) or " of the default configuration"
        return self._claim(f"acceptance{lists}", holds=self.accepted)

    def __repr__(self) -> str:
        return "programmed" if self.accepted else f"refused: {self.reason}"

    def _claim(self, expected: str, *, holds: bool) -> Statement:
        return Statement(holds=holds, expected=expected, observed=repr(self), of_packets=False)


def _of(configuration: Configuration) -> str:
    """Return the lists of a configuration as they were written; empty if there are none."""
    scopes = {"annotations": configuration.annotations, "MeshConfig": configuration.traffic}
    given = [f"{where} {_SHORT.repr(dict(lists))}" for where, lists in scopes.items() if lists]
    return f" of {' and '.join(given)}" if given else ""

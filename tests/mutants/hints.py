"""What earlier runs learned: which check kills which mutant, and what each check costs.

A hint only decides what is tried first; a wrong one costs time and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_fsmredir.model.checks import Check

FILE = Path(__file__).with_name("hints.json")
_UNKNOWN_S = 0.05


@dataclass
class Hints:
    """What is tried first.

    Attributes:
        killers: For each mutant the check and point that usually kill it, such as
            ``OPX-001[nft-v4]``.
        victims: For each check a mutant that it kills.
        seconds: What each check costs on a correct implementation.
    """

    killers: dict[str, str] = field(default_factory=dict)
    victims: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path = FILE) -> Hints:
        """Return what the file holds; nothing when there is none."""
        return cls(**json.loads(file.read_text())) if file.exists() else cls()

    def save(self, file: Path = FILE) -> None:
        """Write the file."""
        document = {
            "killers": _sorted(self.killers),
            "victims": _sorted(self.victims),
            "seconds": _sorted(self.seconds),
        }
        file.write_text(json.dumps(document, indent=1) + "\n")

    def keep_only(self, mutants: Collection[str], checks: Collection[str]) -> None:
        """Forget mutants and checks that there are no longer."""
        self.killers = {m: k for m, k in self.killers.items() if m in mutants}
        self.victims = {c: m for c, m in self.victims.items() if c in checks and m in mutants}
        self.seconds = {c: s for c, s in self.seconds.items() if c in checks}

    def cheapest_first(self, checks: Iterable[Check]) -> list[Check]:
        """Return checks in the order of what they cost."""
        return sorted(checks, key=lambda check: (self.seconds.get(check.id, _UNKNOWN_S), check.id))


def _sorted(values: Mapping[str, object]) -> dict[str, object]:
    return dict(sorted(values.items()))

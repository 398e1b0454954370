"""A campaign: many generated configurations, and the smallest that shows a disagreement."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, given
from hypothesis.database import InMemoryExampleDatabase

from pytest_fsmredir.fuzz.strategies import configurations
from pytest_fsmredir.fuzz.trial import Disagreement, NewMesh, Trials, settings_text, simplicity
from pytest_fsmredir.spec.checks import Level
from pytest_fsmredir.spec.configuration import Configuration
from pytest_fsmredir.spec.features import ALL_FEATURES, Feature

SHRINK_EFFORT = 500
"""How many further configurations may be tried to find a smaller one."""

_EFFORT_OF_SILENCE = 20  # a flow that nobody answers takes as long as so many configurations
_ENTROPY = 16 * 1024  # bytes that a configuration is drawn from; a large one takes about 4 KiB


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignResult:
    """What a campaign came to.

    Attributes:
        seed: What it was drawn from.
        policies: Configurations tried before the first disagreement, that one included.
        shrunk: Further ones tried to find the smallest that shows it.
        flows: Flows judged.
        seconds: How long it took.
        disagreement: The smallest found; None when implementation and specification agree.
    """

    seed: int
    policies: int
    shrunk: int
    flows: int
    seconds: float
    disagreement: Disagreement | None

    def __str__(self) -> str:
        tried = f"{self.policies} policies (seed {self.seed}), {self.flows} flows"
        if self.disagreement is None:
            return f"agreed on {tried}"
        return f"disagreed after {tried}; {self.shrunk} tried to shrink it\n{self.disagreement}"


class Campaign:
    """Generates configurations and tries each once.

    A second search through the same policies, for disagreements of another level, costs no pods.
    """

    def __init__(
        self,
        new_mesh: NewMesh,
        *,
        features: frozenset[Feature] = ALL_FEATURES,
        families: tuple[int, ...] = (4, 6),
        shrink_effort: int = SHRINK_EFFORT,
    ) -> None:
        """Take what there is to try on.

        Args:
            new_mesh: Makes a mesh whose pods end with its block.
            features: What the implementation claims.
            families: Of the IP ranges; those of an unclaimed IPv6 may be refused and stay away.
            shrink_effort: How many further configurations may be tried to find a smaller one.
        """
        if Feature.IPV6 not in features:
            families = tuple(family for family in families if family != 6)
        self._trials = Trials(new_mesh, features)
        self._strategy = configurations(families=families, features=features)
        self._shrink_effort = shrink_effort
        self._known: dict[str, dict[Level, Disagreement]] = {}

    def search(self, *, policies: int, seed: int, level: Level) -> CampaignResult:
        """Try configurations until one shows a disagreement of a level, and shrink that."""
        started, flows = time.monotonic(), self._trials.flows
        tried, found = 0, None
        effort = 0
        ...

"""A campaign: many generated configurations, and the smallest that shows a disagreement."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from pytest_fsmredir.fuzz.draws import Draws, Enough
from pytest_fsmredir.fuzz.pruning import pruned
from pytest_fsmredir.fuzz.strategies import configurations
from pytest_fsmredir.model.checks import Level
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.features import ALL_FEATURES, Feature
from pytest_fsmredir.probing.trial import (
    Disagreement,
    NewTrialNetwork,
    Trials,
    settings_text,
    simplicity,
)

SHRINK_EFFORT = 300
"""How many further configurations may be tried to find a smaller one."""

_EFFORT_OF_SILENCE = 20  # a flow that nobody answers takes as long as so many configurations


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignResult:
    """What a campaign came to.

    Attributes:
        seed: What it was drawn from.
        policies: Configurations drawn, up to the first that showed a disagreement.
        pods: Pods made, those to shrink a disagreement included.
        flows: Flows judged on them.
        seconds: How long it took.
        disagreement: The smallest found; None when implementation and specification agree.
    """

    seed: int
    policies: int
    pods: int
    flows: int
    seconds: float
    disagreement: Disagreement | None

    def __str__(self) -> str:
        how = "agreed" if self.disagreement is None else f"disagreed: {self.disagreement}"
        return (
            f"{self.policies} policies of seed {self.seed}, {self.pods} pods, {self.flows} flows in"
            f" {self.seconds:.1f} s: {how}"
        )


class Campaign:
    """Generates configurations and tries each once.

    A second search through the same policies, for disagreements of another level, makes no pods
    but to shrink what it finds.
    """

    def __init__(
        self,
        new_network: NewTrialNetwork,
        *,
        features: frozenset[Feature] = ALL_FEATURES,
        families: tuple[int, ...] = (4, 6),
        shrink_effort: int = SHRINK_EFFORT,
    ) -> None:
        """Take what there is to try on.

        Args:
            new_network: Makes a pod for a configuration, which ends with its block.
            features: What the implementation claims.
            families: Of the IP ranges; without a claim to IPv6 those of IPv6 may be refused, and
                stay away.
            shrink_effort: How many further configurations may be tried to find a smaller one.
        """
        if Feature.IPV6 not in features:
            families = tuple(family for family in families if family != 6)
        self._trials = Trials(new_network, features)
        self._strategy = configurations(families=families, features=features)
        self._shrink_effort = shrink_effort
        self._known: dict[str, dict[Level, Disagreement]] = {}
        self._effort_left: int | None = None

    @property
    def flows(self) -> int:
        """Flows judged in all searches."""
        return self._trials.flows

    def search(self, *, policies: int, seed: int, level: Level) -> CampaignResult:
        """Try configurations until one shows a disagreement of a level, and shrink that.

        Args:
            policies: How many at most; whatever the number, a seed begins with the same ones.
            seed: What they are drawn from.
            level: Disagreements of other levels are passed over.
        """
        started, pods, flows = time.monotonic(), self._trials.pods, self._trials.flows
        self._effort_left = None

        def shows_one(configuration: Configuration) -> bool:
            return level in self._tried(configuration)

        drawn = Draws(self._strategy, seed, shows_one)
        tried = drawn.first(policies)
        found: Disagreement | None = None
        if drawn.wanted:
            self._effort_left = self._shrink_effort
            found = self._explained(_smallest(drawn, shows_one), level)
        return CampaignResult(
            seed=seed,
            policies=tried,
            pods=self._trials.pods - pods,
            flows=self._trials.flows - flows,
            seconds=time.monotonic() - started,
            disagreement=found,
        )

    def _tried(self, configuration: Configuration) -> dict[Level, Disagreement]:
        """Return the first disagreement of each level, and none after one on a MUST."""
        key = settings_text(configuration)
        if key in self._known:
            return self._known[key]
        if self._effort_left is not None and self._effort_left <= 0:
            raise Enough
        found: dict[Level, Disagreement] = {}
        with closing(self._trials.disagreements(configuration)) as disagreements:
            for disagreement in disagreements:
                found.setdefault(disagreement.level, disagreement)
                if disagreement.level is Level.MUST:
                    break
        self._known[key] = found
        if self._effort_left is not None:
            silent = any(each.is_silence for each in found.values())
            self._effort_left -= _EFFORT_OF_SILENCE if silent else 1
        return found

    def _explained(self, configuration: Configuration, level: Level) -> Disagreement:
        """Return the simplest disagreement on a configuration, every destination listening."""
        every = self._trials.disagreements(configuration, listening=True)
        again = [each for each in every if each.level is level]
        if again:
            return min(again, key=lambda each: simplicity(each.probe))
        once = self._known[settings_text(configuration)][level]
        return replace(once, seen=f"{once.seen}, but not when tried again")


def _smallest(
    drawn: Draws[Configuration], is_wanted: Callable[[Configuration], bool]
) -> Configuration:
    """Return the smallest wanted configuration that the effort suffices to find."""
    drawn.shrink()
    smallest = drawn.wanted[-1]
    with suppress(Enough):
        for smaller in pruned(smallest, is_wanted):
            smallest = smaller
    return smallest

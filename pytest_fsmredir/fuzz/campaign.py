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
    key_of,
    simplicity,
)

SHRINK_EFFORT = 300
"""Limit of further configurations to try to find a smaller one."""

_EFFORT_OF_SILENCE = 20  # an unanswered flow takes as long as this many configurations


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignResult:
    """The result of a campaign.

    Attributes:
        seed: The seed of the draws.
        policies: Configurations drawn, up to the first that showed a disagreement.
        pods: Pods created, including those to shrink a disagreement.
        flows: Number of flows judged on them.
        seconds: How long it took.
        different: Number of different configurations among them that were accepted.
        proved: Number of those whose rules are proved for every flow.
        unproved: Why one is not proved; empty if all are.
        disagreement: The smallest found; None when implementation and specification agree.
    """

    seed: int
    policies: int
    pods: int
    flows: int
    seconds: float
    different: int
    proved: int
    unproved: str
    disagreement: Disagreement | None

    def __str__(self) -> str:
        how = "agreed" if self.disagreement is None else f"disagreed: {self.disagreement}"
        return (
            f"{self.policies} policies of seed {self.seed}, {self.proved} proved, {self.pods} pods,"
            f" {self.flows} flows in {self.seconds:.1f} s: {how}"
        )


class Campaign:
    """Generates configurations, and tries each once.

    A second search for another level reuses the results of the first. It creates pods only to
    shrink.
    """

    def __init__(
        self,
        new_network: NewTrialNetwork,
        *,
        features: frozenset[Feature] = ALL_FEATURES,
        families: tuple[int, ...] = (4, 6),
        shrink_effort: int = SHRINK_EFFORT,
    ) -> None:
        """Make a campaign.

        Args:
            new_network: Creates a pod for a configuration; the pod exists for a ``with`` block.
            features: The features that the implementation claims.
            families: IP versions of the ranges. An implementation that does not claim IPv6 may
                refuse IPv6 ranges, so none are drawn for it.
            shrink_effort: Limit of further configurations to try to find a smaller one.
        """
        if Feature.IPV6 not in features:
            families = tuple(family for family in families if family != 6)
        self._trials = Trials(new_network, features)
        self._strategy = configurations(families=families, features=features)
        self._shrink_effort = shrink_effort
        self._known: dict[bytes, dict[Level, Disagreement]] = {}
        self._effort_left: int | None = None

    @property
    def flows(self) -> int:
        """Flows judged in all searches."""
        return self._trials.flows

    def search(self, *, policies: int, seed: int, level: Level, without: int = 0) -> CampaignResult:
        """Try configurations until one shows a disagreement of a level, and shrink it.

        Args:
            policies: The most configurations to try. A seed always yields the same first ones.
            seed: The seed of the draws.
            level: Disagreements of other levels are ignored.
            without: How many of the first configurations are left out.

        Raises:
            KeyboardInterrupt: The user ended the search; the message says where it can go on.
        """
        started, pods, flows = time.monotonic(), self._trials.pods, self._trials.flows
        self._effort_left = None

        def shows_one(configuration: Configuration) -> bool:
            return level in self._tried(configuration)

        drawn = Draws(self._strategy, seed, shows_one)
        try:
            tried = drawn.first(policies, without=without)
        except KeyboardInterrupt as end:
            raise type(end)(
                f"{end}; "
                * bool(str(end))
                + f"{drawn.drawn} of {policies - without} policies of seed {seed} agree: go on with"
                f" --fsm-seed {seed} --fsm-fuzz {without + drawn.drawn + 1}-{policies}"
            ) from end
        unproved = [why for why in self._trials.unproved.values() if why]
        different = len(self._trials.unproved)
        proved = different - len(unproved)
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
            different=different,
            proved=proved,
            unproved=next(iter(unproved), ""),
            disagreement=found,
        )

    def _tried(self, configuration: Configuration) -> dict[Level, Disagreement]:
        """Return the first disagreement of each level, and none after one on a MUST."""
        key = key_of(configuration)
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
        """Return the simplest disagreement on a configuration, with every destination listening."""
        every = self._trials.disagreements(configuration, listening=True)
        again = [each for each in every if each.level is level]
        if again:
            return min(again, key=lambda each: (each.probe is None, simplicity(each.probe)))
        once = self._known[key_of(configuration)][level]
        return replace(once, seen=f"{once.seen}, but not when tried again")


def _smallest(
    drawn: Draws[Configuration], is_wanted: Callable[[Configuration], bool]
) -> Configuration:
    """Return the smallest wanted configuration that is found within the effort."""
    drawn.shrink()
    smallest = drawn.wanted[-1]
    with suppress(Enough):
        for smaller in pruned(smallest, is_wanted):
            smallest = smaller
    return smallest

"""Generated policies as checks, with outcome, waiver, verdict and report like any check."""

from __future__ import annotations

from contextlib import closing

from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.fuzz.campaign import Campaign, CampaignResult
from pytest_fsmredir.fuzz.network import NetnsTrialNetwork
from pytest_fsmredir.model.checks import Check, Level, Profile
from pytest_fsmredir.model.claims import Proven, Unmet
from pytest_fsmredir.model.features import Feature
from pytest_fsmredir.model.outcomes import IptablesVariant

_NEEDS = frozenset({Need.PROGRAMMING, Need.REMOTE_ADDRESSES, Need.SECOND_INTERFACE})


class GeneratedChecks:
    """Two checks, one for each level, that share their pods.

    They are not part of the shipped catalogue: the user decides how many policies they try.

    Attributes:
        checks: FUZ-001 for MUST sentences, FUZ-002 for SHOULD sentences.
    """

    def __init__(self, *, policies: range, seed: int, features: frozenset[Feature]) -> None:
        """Prepare checks.

        Args:
            policies: Which policies of the seed to try on each variant, counted from 0.
            seed: The seed of the generator.
            features: The features that the implementation claims; other lists stay empty.
        """
        self._policies, self._seed, self._features = policies, seed, features
        self._campaigns: dict[tuple[int, IptablesVariant], Campaign] = {}
        self.checks = (self._check("FUZ-001", Level.MUST), self._check("FUZ-002", Level.SHOULD))

    def _check(self, check_id: str, level: Level) -> Check:
        def test_generated_policies_are_followed(mesh: NetnsMesh) -> None:
            campaign = self._campaign(mesh)
            found = campaign.search(
                policies=self._policies.stop,
                seed=self._seed,
                level=level,
                without=self._policies.start,
            )
            mesh.observed += campaign.flows
            if found.disagreement is not None:
                raise Unmet(found.disagreement.claim)
            proof = _proven(found)
            if not proof:  # the question records the proof in the result of the check
                raise Unmet(proof)

        return Check(
            id=check_id,
            requirement=f"Under any valid configuration every flow {level} end where the sentences"
            " of that level say.",
            spec="SPEC-13.7",
            level=level,
            profile=Profile.CORE,
            features=frozenset(),
            needs=_NEEDS,
            families=(4, 6),
            function=test_generated_policies_are_followed,
        )

    def _campaign(self, mesh: NetnsMesh) -> Campaign:
        """Return the campaign of a variant, which both checks share."""
        key = mesh.family, mesh.iptables
        if key not in self._campaigns:
            self._campaigns[key] = campaign_on(mesh, self._features)
        return self._campaigns[key]


def _proven(found: CampaignResult) -> Proven:
    """Return the claim that the policies are followed, and how many of them are proved."""
    counts = f"{found.proved} of {found.different} different policies are proved for every flow"
    why = f", one not because: {found.unproved}" if found.unproved else ""
    return Proven(True, "every policy followed", "every policy followed", status=counts + why)


def campaign_on(mesh: NetnsMesh, features: frozenset[Feature]) -> Campaign:
    """Return a campaign on pods like those of a mesh; most ranges are of its family."""
    family, spare = mesh.family, mesh.another()  # the mesh itself ends with its check
    return Campaign(
        lambda configuration: closing(NetnsTrialNetwork(spare, configuration)),
        features=features,
        families=(family, family, 10 - family),
    )

"""The gate: an implementation that refuses a pod without lists is not judged any further.

Such a pod is the plainest there is. An implementation that refuses it, hangs on it or cannot be
started fails the check of the gate once, in its own words; the other checks do not run.
"""

from __future__ import annotations

import pytest

from pytest_fsmredir.backends.protocols import JudgedMesh
from pytest_fsmredir.model.checks import GATE
from pytest_fsmredir.model.claims import Unmet
from pytest_fsmredir.model.outcomes import Variant

SHUT = f"{GATE} failed: the implementation does not program a pod without lists"

_Key = tuple[str, str, str]


class Gate:
    """Remembers, for each kind of pod, whether the implementation programs one without lists."""

    def __init__(self) -> None:
        self._refusals: dict[_Key, Unmet | None] = {}

    def refusal(self, variant: Variant, mesh: JudgedMesh) -> Unmet | None:
        """Return how the implementation refuses a pod without lists; None where it does not.

        Args:
            variant: Where. A pod has both IP versions, so each kind of pod is tried once.
            mesh: Of that variant.
        """
        if _key(variant) not in self._refusals:
            self._refusals[_key(variant)] = _refusal(mesh)
        return self.shut_for(variant)

    def shut_for(self, variant: Variant) -> Unmet | None:
        """Return the refusal that was seen on a variant; None where none was seen so far."""
        return self._refusals.get(_key(variant))


def _key(variant: Variant) -> _Key:
    return (variant.backend, variant.iptables, variant.node)


def _refusal(mesh: JudgedMesh) -> Unmet | None:
    try:
        mesh.pod()
    except Unmet as unmet:
        return unmet
    except (KeyboardInterrupt, pytest.exit.Exception):
        raise
    except BaseException:
        return None  # an error of ours: the check that meets it next reports it
    return None

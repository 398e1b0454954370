"""The gate: an implementation that refuses a pod without lists is not tested any further.

A pod without lists is the simplest pod. An implementation that refuses it, hangs on it or cannot
start fails the check of the gate once, with its own message. The other checks do not run.
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
    """Records, for each kind of pod, whether the implementation programs a pod without lists."""

    def __init__(self) -> None:
        self._refusals: dict[_Key, Unmet | None] = {}

    def refusal(self, variant: Variant, mesh: JudgedMesh) -> Unmet | None:
        """Return the refusal of a pod without lists; None if the implementation programs it.

        Args:
            variant: The variant. A pod has both IP versions, so each kind of pod is tried once.
            mesh: The mesh of that variant.
        """
        if _key(variant) not in self._refusals:
            self._refusals[_key(variant)] = _refusal(mesh)
        return self.shut_for(variant)

    def shut_for(self, variant: Variant) -> Unmet | None:
        """Return the known refusal on a variant; None if there is none so far."""
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
        return None  # an error of ours: the next check that has the error reports it
    return None

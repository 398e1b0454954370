"""The page about what the self-check cannot see, from the kinds of mutants."""

from __future__ import annotations

from tests.mutants.collected import MUTANTS
from tests.mutants.unseen import KINDS, kind_of

_HEAD = """\
# What the self-check may not see

The [self-check](../how-to/selfcheck.md) runs without privileges and without another host. The
project measures it with its broken implementations (mutants): `python -m tests.mutants --selfcheck`
runs the check in pods of each, as user 1000 and as user 1500, in place of the sidecar. It has to
see {seen} of the {all} mutants. It may miss those of the kinds below, each for its reason; it sees
some of them. For these, judge the pod
[from outside](../how-to/debugging.md#a-pod-that-runs-already), or the implementation by the suite.

| what is broken | mutants | why the check may not see it |
| --- | --- | --- |
"""


def page() -> str:
    """Return the page."""
    killable = [mutant.name for mutant in MUTANTS if mutant.killable]
    kinds = [kind_of(name) for name in killable]
    rows = [f"| {kind.what} | {kinds.count(kind)} | {kind.why} |\n" for kind in KINDS]
    return _HEAD.format(seen=kinds.count(None), all=len(killable)) + "".join(rows)

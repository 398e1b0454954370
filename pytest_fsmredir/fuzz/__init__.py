"""Generate policies, judge the implementation on each, and shrink what fails.

Imported only when asked for, because it needs hypothesis (the extra ``fuzz``).
"""

from __future__ import annotations

from importlib.util import find_spec

from pytest_fsmredir.errors import PreflightError


def require_hypothesis() -> None:
    """See that policies can be generated here.

    Raises:
        PreflightError: hypothesis is not installed; the message holds the line that installs it.
    """
    if find_spec("hypothesis") is None:
        raise PreflightError(
            "--fsm-fuzz generates policies with hypothesis, which is not installed;"
            " install it: pip install 'pytest-fsmredir[fuzz]'"
        )

"""Generate policies, judge the implementation on each, and shrink what fails.

It is imported only on request, because it needs hypothesis (the extra ``fuzz``).
"""

from __future__ import annotations

from importlib.util import find_spec

from pytest_fsmredir.errors import PreflightError


def require_hypothesis() -> None:
    """Check that hypothesis is installed.

    Raises:
        PreflightError: hypothesis is not installed; the message contains the install command.
    """
    if find_spec("hypothesis") is None:
        raise PreflightError(
            "--fsm-fuzz generates policies with hypothesis, which is not installed;"
            " install it: pip install 'pytest-fsmredir[fuzz]'"
        )

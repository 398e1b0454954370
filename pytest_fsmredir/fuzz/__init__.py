"""Generate policies, judge the implementation on each, and shrink what fails.

It is imported only on request, because it needs hypothesis (the extra ``fuzz``).
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from pytest_fsmredir.errors import PreflightError

_ITS_OPTIONS = "--hypothesis-"
"""How the options of hypothesis's own plugin for pytest begin."""


def require_hypothesis(arguments: Iterable[str]) -> None:
    """Check that hypothesis is installed, and that no argument is meant for its own plugin.

    Args:
        arguments: Those of the command line. What the project's settings add is for its own tests.

    Raises:
        PreflightError: hypothesis is not installed, or an option would have no effect; the message
            contains the install command, or the option that has one.
    """
    for each in arguments:
        if each.startswith(_ITS_OPTIONS):
            raise PreflightError(
                f"{each.partition('=')[0]} has no effect on the policies of --fsm-fuzz, whose seed"
                " alone decides what is drawn: leave it out, and use --fsm-seed"
            )
    if find_spec("hypothesis") is None:
        raise PreflightError(
            "--fsm-fuzz generates policies with hypothesis, which is not installed;"
            " install it: pip install 'pytest-fsmredir[fuzz]'"
        )

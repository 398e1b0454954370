"""Declare the options to pytest. pytest imports this module in every run: it imports little."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pytest_fsmredir.config.option import Option
from pytest_fsmredir.config.options import OPTIONS

LISTING = ("table", "json")


def add_options(parser: pytest.Parser) -> None:
    """Declare every option, on the command line and as an ini key."""
    group = parser.getgroup("fsmredir", "conformance of sidecar traffic redirection")
    for option in OPTIONS:
        group.addoption(option.switch, **_keywords(option))
        # None distinguishes a missing option from an empty one.
        parser.addini(option.key, option.described, default=None)
    group.addoption(
        "--fsm-list",
        dest="fsm_list",
        nargs="?",
        const="table",
        choices=LISTING,
        help="list the checks as a table or as JSON, and exit",
    )
    group.addoption(
        "--fsm-explain",
        dest="fsm_explain",
        action="append",
        metavar="ID[,ID]",
        help="print what these checks require and send, and exit",
    )


def is_requested(config: pytest.Config) -> bool:
    """Whether an option or a variable requests a run or a benchmark; this reads no file."""
    return any(
        config.getoption(option.key) or os.environ.get(option.variable) or config.getini(option.key)
        for option in OPTIONS
        if option.name in ("conformance", "benchmark")
    )


def reject_unused(config: pytest.Config) -> None:
    """Reject options of the command line that have no effect, or are invalid.

    Raises:
        pytest.UsageError: There is such an option.
    """
    given = any(config.getoption(option.key) is not None for option in OPTIONS)
    if given and not config.option.help:
        from pytest_fsmredir.config.sources import reject_typed

        reject_typed(config)


def _keywords(option: Option) -> dict[str, Any]:
    common: dict[str, Any] = {"dest": option.key, "default": None, "help": option.described}
    if option.flag:
        return {**common, "action": "store_true"}
    # The parser of the row rejects values, not argparse, so that all sources have one message.
    action = {"action": "append"} if option.many else {}
    return {**common, "metavar": option.value_name, **action}

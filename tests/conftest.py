"""Fixtures and hooks for all tests."""

from __future__ import annotations

import signal
from importlib.util import find_spec

pytest_plugins = ["pytester"]

_MISSING = [name for name in ("kubernetes", "pytest_kind", "requests") if find_spec(name) is None]

collect_ignore = ["kube"] if _MISSING else []


def pytest_configure() -> None:
    """Let programs that the tests start react to Ctrl-C, even in a background job of a shell."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    """Report what cannot be tested on this machine."""
    if not _MISSING:
        return []
    return [f"tests/kube is left out, without {', '.join(_MISSING)}: pip install -e '.[kind]'"]

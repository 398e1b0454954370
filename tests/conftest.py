"""What all tests share."""

from __future__ import annotations

import signal
from importlib.util import find_spec

pytest_plugins = ["pytester"]

_MISSING = [name for name in ("kubernetes", "pytest_kind", "requests") if find_spec(name) is None]

collect_ignore = ["kube"] if _MISSING else []


def pytest_configure() -> None:
    """Have programs that the tests start obey Ctrl-C, though a shell's background job does not."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    """Say what cannot be tested here."""
    if not _MISSING:
        return []
    return [f"tests/kube is left out, without {', '.join(_MISSING)}: pip install -e '.[kind]'"]

"""What all tests share."""

from __future__ import annotations

from importlib.util import find_spec

pytest_plugins = ["pytester"]

_MISSING = [name for name in ("kubernetes", "pytest_kind", "requests") if find_spec(name) is None]

collect_ignore = ["kube"] if _MISSING else []


def pytest_report_header() -> list[str]:
    """Say what cannot be tested here."""
    if not _MISSING:
        return []
    return [f"tests/kube is left out, without {', '.join(_MISSING)}: pip install -e '.[kind]'"]

"""What the doctor prints."""

from __future__ import annotations

import io

import pytest

from pytest_fsmredir.cli import doctor
from pytest_fsmredir.cli.doctor import Finding


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_doctor_speaks_to_any_terminal(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """A traceback of an encoding error where somebody looks for what is wrong."""
    found = [
        Finding("python", present=True, detail="3.11"),
        Finding("program", present=False, detail="forbidden \u2014 run as root"),
    ]
    monkeypatch.setattr(doctor, "findings", lambda: found)
    written = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", written)

    assert doctor.main() == 1
    written.seek(0)
    first, second, last = written.read().splitlines()
    assert first.split() == ["ok", "python", "3.11"]
    assert second.startswith("MISSING  program ")
    assert last == "not ready: see MISSING above"

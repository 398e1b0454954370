"""The output of ``doctor``."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pytest_fsmredir.cli import doctor
from pytest_fsmredir.cli.doctor import Finding


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_doctor_prints_on_a_terminal_without_unicode(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """Catches: an encoding error from the command that is meant to find problems."""
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


def test_doctor_lists_the_installed_tools_of_other_meshes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Catches: an adapter that fails later because its tool is not on PATH."""
    (tmp_path / "kumactl").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    found = {finding.what: finding for finding in doctor.tools()}

    assert found["tool kumactl"].detail.startswith(f"{tmp_path}/kumactl: pytest ")
    assert found["tool istio-iptables"].detail == "not on PATH: needed only to judge it"
    assert not any(finding.required for finding in found.values())

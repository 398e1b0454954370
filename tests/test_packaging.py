"""The wheel: its contents, and that it works without a checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pytest_fsmredir.suite import catalogue

ROOT = Path(__file__).parents[1]
OLDEST_PYTEST = "8.2"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    target = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(target), str(ROOT)],
        check=True,
        timeout=300,
    )
    (built,) = target.glob("*.whl")
    return built


def tracked(folder: str) -> set[str]:
    """Return the files of a folder that a release contains."""
    files = (ROOT / folder).rglob("*")
    return {str(f.relative_to(ROOT)) for f in files if f.is_file() and "__pycache__" not in str(f)}


@pytest.mark.parametrize("folder", ["conformance", "fixtures"])
def test_wheel_holds_the_shipped_folders(wheel: Path, folder: str) -> None:
    """Catches: a wheel without its checks or its data."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"pytest_fsmredir/{name}" for name in tracked(folder)} <= names


def test_wheel_has_no_other_top_level_package(wheel: Path) -> None:
    """Catches: a top-level ``conformance`` or ``tests`` package in users' environments."""
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pytest_fsmredir"}


def test_wheel_lists_its_checks_from_an_empty_directory(wheel: Path, tmp_path: Path) -> None:
    """Catches: an installation that works only inside its checkout."""
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel],
        check=True,
        timeout=300,
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    script = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "import pytest_fsmredir.suite.catalogue as c\n"
        "print(c.layout.conformance(), len(c.load().checks))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=empty,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    folder, count = done.stdout.split()
    assert Path(folder) == site / "pytest_fsmredir" / "conformance"
    assert int(count) == len(catalogue.load().checks)


def test_oldest_declared_pytest_runs_the_suite(wheel: Path, tmp_path: Path) -> None:
    """Catches: a declared minimum version of pytest that does not work."""
    assert f'"pytest>={OLDEST_PYTEST}"' in (ROOT / "pyproject.toml").read_text()
    environment = tmp_path / "oldest"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True, timeout=300)
    python = environment / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "-q", str(wheel), f"pytest=={OLDEST_PYTEST}.*"]
    subprocess.run(install, check=True, timeout=300)
    done = subprocess.run(
        [python, "-m", "pytest", "--fsm-conformance", "--fsm-check=OUT-001", "--fsm-backend=netns"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode == pytest.ExitCode.USAGE_ERROR:
        pytest.skip(done.stderr)  # this machine has no network namespaces
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verdict: partial" in done.stdout

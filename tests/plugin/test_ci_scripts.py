"""The scripts that run on CI: the GitHub Action, and the check of submitted certificates."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

SCRIPTS = Path(__file__).parents[2] / ".ci"


def run(name: str, directory: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Return the exit status of a script and what it prints."""
    done = subprocess.run(
        [str(SCRIPTS / name), *arguments],
        cwd=directory,
        env={**os.environ, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def test_tests_run_with_optimised_python() -> None:
    """Catches: settings of the project that turn pytest's warning about -O into an error."""
    folder = SCRIPTS.parent
    done = subprocess.run(
        [sys.executable, "-O", "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "--co"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == pytest.ExitCode.OK, done.stdout + done.stderr


@pytest.mark.kernel
@pytest.mark.usefixtures("namespaces")
def test_action_shows_a_failure_and_its_verdict(project: Project) -> None:
    """Catches: a job that is green, or red without a reason, or that runs an input in a shell."""
    folder = project.path
    status, out = run(
        "action",
        folder,
        INPUT_INIT_CMD="true; touch in_the_pod",
        INPUT_ARGUMENTS="--fsm-check=OUT-001\n--fsm-ip=4\n\n-k not $(touch owned)",
        INPUT_REQUIRE="conformant",
        GITHUB_STEP_SUMMARY=str(folder / "summary.md"),
        GITHUB_OUTPUT=str(folder / "output"),
    )
    assert status == pytest.ExitCode.USAGE_ERROR, out  # pytest cannot parse that expression
    assert not (folder / "owned").exists()
    status, out = run(
        "action",
        folder,
        INPUT_INIT_CMD="true",
        INPUT_ARGUMENTS="--fsm-check=OUT-001\n--fsm-ip=4",
        GITHUB_STEP_SUMMARY=str(folder / "summary.md"),
        GITHUB_OUTPUT=str(folder / "output"),
    )
    assert status == pytest.ExitCode.TESTS_FAILED, out
    assert "::error title=OUT-001 remote address is captured::on netns-nft-v4: tcp from" in out
    assert "verdict=nonconformant\n" in (folder / "output").read_text()
    assert "| fail | OUT-001 remote address" in (folder / "summary.md").read_text()
    assert "nonconformant" in (folder / "conformance-report.svg").read_text()
    assert (folder / "conformance-report" / "SHA256SUMS").exists()


def test_action_leaves_no_old_report_behind_a_usage_error(tmp_path: Path) -> None:
    """Catches: a verdict of an earlier run, or an artifact whose name has a slash."""
    old = tmp_path / "out" / "fsm"
    old.mkdir(parents=True)
    (old / "report.json").write_text("{}")
    status, out = run(
        "action",
        tmp_path,
        INPUT_IMPL="reference",
        INPUT_ARGUMENTS="--no-such-option",
        INPUT_REPORT="out/fsm",
        GITHUB_OUTPUT=str(tmp_path / "output"),
    )
    assert status == pytest.ExitCode.USAGE_ERROR, out
    assert list(old.iterdir()) == []
    assert (tmp_path / "output").read_text() == "artifact=out-fsm\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_action_gives_its_files_to_the_user_of_the_job(project: Project) -> None:
    """Catches: a report that a later step of the job may not change or remove."""
    status, out = run(
        "action",
        project.path,
        INPUT_INIT_CMD="true",
        INPUT_ARGUMENTS="--fsm-check=OUT-001\n--fsm-ip=4",
        SUDO_UID="1000",
        SUDO_GID="1000",
    )
    assert status == pytest.ExitCode.TESTS_FAILED, out
    report = project.path / "conformance-report"
    assert {file.stat().st_uid for file in (report, *report.rglob("*"))} == {1000}


def test_action_without_an_implementation_fails(tmp_path: Path) -> None:
    """Catches: a job that certifies the reference because an input is misspelled."""
    status, out = run("action", tmp_path)
    assert status == 4
    assert out.startswith("::error title=Nothing to judge::")


def git(folder: Path, *arguments: str) -> None:
    names = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    argv = [shutil.which("git") or "git", *names, *arguments]
    subprocess.run(argv, cwd=folder, check=True, timeout=60)


@pytest.mark.kernel
@pytest.mark.usefixtures("namespaces")
def test_certificates_of_a_pull_request_are_verified(project: Project) -> None:
    """Catches: a certificate that nobody checks, or that brings the key that it is signed with."""
    certificate = project.path / "certificates" / "acme" / "mesh" / "1.0"
    ended = project.conform("--fsm-check=OUT-001", "--fsm-ip=4", f"--fsm-report={certificate}")
    assert ended.verdict == "partial", ended.output
    git(project.path, "init", "-q", "-b", "main")
    (project.path / "README").write_text("\n")
    git(project.path, "add", "README")
    git(project.path, "commit", "-qm", "base")
    git(project.path, "add", "certificates")
    git(project.path, "commit", "-qm", "certificate")

    for base in ({"BASE": "HEAD~1"}, {}):
        status, out = run("certificates", project.path, **base)
        assert status == 0, out
        assert "certificates/acme/allowed_signers is not in HEAD" in out
        assert "not signed" in out
        assert "nothing is wrong" in out
    assert run("certificates", project.path, BASE="HEAD") == (0, "")

    status, out = run("certificates", project.path, BASE="no-such-commit")
    assert status != 0, out
    hidden = certificate.with_name("1.0\u00e9")
    shutil.copytree(certificate, hidden)
    git(project.path, "add", "certificates")
    status, out = run("certificates", project.path, BASE="HEAD")
    assert status == 1
    assert "is not a file of a certificate" in out
    git(project.path, "reset", "-q")
    shutil.rmtree(hidden)

    text = (certificate / "report.yaml").read_text()
    (certificate / "report.yaml").write_text(text.replace("partial", "conformant", 1))
    status, out = run("certificates", project.path, BASE="HEAD~1")
    assert status == 1
    assert "report.yaml was changed" in out
    (certificate / "report.yaml").write_text(text)

    (project.path / "certificates" / "acme" / "allowed_signers").write_text("a@example.com x\n")
    git(project.path, "add", "certificates")
    git(project.path, "commit", "-qm", "key")
    status, out = run("certificates", project.path)
    assert status == 1
    assert "rejected   not signed" in out


@pytest.mark.kernel
@pytest.mark.usefixtures("namespaces")
def test_rerun_confirms_or_contradicts_a_report(project: Project) -> None:
    """Catches: a --rerun that compares nothing, or runs something else than the report says."""
    script = project.path / "init.sh"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    given = ["--fsm-init-cmd", "./init.sh", "--fsm-check=OUT-001", "--fsm-ip=4"]
    project.conform(*given, "--fsm-report", "out")
    argv = [sys.executable, "-m", "pytest_fsmredir", "verify", str(project.path / "out")]
    outs = []
    apply = f"exec {sys.executable} -m pytest_fsmredir reference apply"
    for command in ("exit 0", apply):
        script.write_text(f"#!/bin/sh\n{command}\n")
        done = subprocess.run(
            [*argv, "--rerun", "--rerun-in", str(project.path)],
            cwd="/", capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        outs.append((done.returncode, done.stdout))
    assert outs[0][0] == 0, outs[0]
    assert "run again: the results have the same digest" in outs[0][1]
    assert outs[1][0] == 1, outs[1]
    assert "run again: OUT-001 on netns-nft-v4 has pass, not fail" in outs[1][1]

"""The reviewer's check of a report: what it rejects, and what it tells."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from pytest_fsmredir import layout
from pytest_fsmredir.cli import verify
from pytest_fsmredir.config.options import OPTIONS
from pytest_fsmredir.config.waivers import Waiver
from pytest_fsmredir.errors import CatalogueError, ReportError
from pytest_fsmredir.model.outcomes import Outcome
from pytest_fsmredir.model.withdrawn import Withdrawn
from pytest_fsmredir.report.known import FOLDER, data_file, present, releases
from pytest_fsmredir.report.read import read_report
from pytest_fsmredir.report.sums import SIGNATURE, SUMS
from pytest_fsmredir.report.verify.circumstances import EFFECTS, check_withdrawn
from pytest_fsmredir.report.verify.files import check_digests
from pytest_fsmredir.report.verify.whole import findings
from pytest_fsmredir.report.write import prepare_directory
from tests.unit.conftest import Project
from tests.unit.reports import forge, row_of, seal, write

NOW = datetime(2026, 11, 29, tzinfo=UTC)
WAIVER = Waiver(
    id="OPX-005", reason="comes with 1.4", link="https://example.com/7", expires=date(2026, 12, 31)
)


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report in which one check fails."""
    project = Project(tmp_path_factory.mktemp("failing"))
    return write(project, outcomes={"OUT-001": Outcome.FAIL})


def rejected(directory: Path, signers: Path | None = None) -> list[str]:
    return [each.text for each in findings(directory, NOW, signers) if each.rejected]


def noted(directory: Path) -> list[str]:
    return [each.text for each in findings(directory, NOW) if not each.rejected]


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [({}, "conformant"), ({"OUT-001": Outcome.FAIL, "UID-002": Outcome.FAIL}, "nonconformant")],
)
def test_untouched_report_is_accepted(
    project: Project, outcomes: dict[str, Outcome], verdict: str
) -> None:
    """Catches: a check of reports that rejects what the suite writes."""
    directory = write(project, outcomes=outcomes)
    assert rejected(directory) == []
    assert read_report(directory).verdict == verdict


def test_reviewer_learns_what_could_have_had_a_say(project: Project) -> None:
    """Catches: a reviewer who does not see a waiver, an option or a plugin."""
    told = "\n".join(noted(write(project, outcomes={"OPX-005": Outcome.WAIVED}, waivers=(WAIVER,))))
    assert "OPX-005 is waived: comes with 1.4 (https://example.com/7)" in told
    assert "--fsm-timeout=9: changes after how many seconds a flow counts as lost" in told
    assert "other plugins were loaded: other 1" in told
    assert "claims of features are inferred" in told
    assert "the run was 8 days ago" in told
    assert "not signed" in told


@pytest.mark.parametrize("name", ["report.html", "report.json", "report.yaml", "junit.xml", SUMS])
def test_every_edited_byte_is_noticed(project: Project, name: str) -> None:
    """Catches: a report that somebody improved with an editor."""
    directory = write(project)
    file = directory / name
    original = file.read_bytes()
    for place in (0, len(original) // 3, len(original) // 2, len(original) - 1):
        changed = bytearray(original)
        changed[place] ^= 1
        file.write_bytes(changed)
        assert [each for each in check_digests(directory) if each.rejected]
    file.write_bytes(original + b"\n")
    assert [each for each in check_digests(directory) if each.rejected]
    file.unlink()
    assert verify.main([str(directory)]) == 1


def test_file_that_is_not_of_the_report_is_noticed(project: Project) -> None:
    """Catches: evidence that was added after the run, or a link to a file elsewhere."""
    directory = write(project)
    (directory / "more").mkdir()
    (directory / "more" / "notes.txt").write_text("we pass, honestly")
    (directory / "link").symlink_to("/etc/hostname")
    assert rejected(directory) == [
        "link is a symbolic link: a report has files only",
        f"more/notes.txt is not part of the report: {SUMS} does not list it",
    ]


FORGERIES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "verdict": (lambda d: d.update(verdict="conformant"), "the rows give nonconformant"),
    "row": (lambda d: row_of(d, "OUT-001").update(outcome="pass"), "does not follow|do not follow"),
    "level": (lambda d: row_of(d, "OUT-001").update(level="INFO"), "has the level 'INFO'"),
    "softened": (lambda d: row_of(d, "OUT-001").update(outcome="warn"), "its level is MUST"),
    "title": (lambda d: row_of(d, "OUT-001").update(title="all is well"), "has the title"),
    "left out": (lambda d: d["checks"].pop(0), "1 row of the catalogue missing"),
    "twice": (lambda d: d["checks"].append(d["checks"][0]), "has 2 rows on"),
    "invented": (lambda d: row_of(d, "OUT-001").update(id="OUT-999"), "OUT-999 is not a check of"),
    "no evidence": (lambda d: row_of(d, "OUT-001").update(reason=""), "without a reason"),
    "no fate": (lambda d: row_of(d, "OUT-001").update(seen=""), "not its expected and its actual"),
    "sent nothing": (lambda d: row_of(d, "OUT-002").update(probes=0), "passes, but sent nothing"),
    "excused": (
        lambda d: row_of(d, "OUT-001").update(outcome="unsupported"),
        "unsupported, but all that it needs is claimed",
    ),
    "waived": (lambda d: row_of(d, "OUT-001").update(outcome="waived"), "no waiver names it"),
    "counts": (lambda d: d["profiles"][0].update(total=1), "the profile core: its verdict or"),
    "proof": (lambda d: d["profiles"][0].update(proved=True), "the profile core: its verdict or"),
    "profile": (
        lambda d: d["profiles"].append({**d["profiles"][0], "name": "kubernetes"}),
        "no rows",
    ),
    "digest": (lambda d: d.update(resultsDigest="sha256:" + 64 * "0"), "resultsDigest is not"),
    "vendor": (lambda d: d["implementation"].update(version="2.0"), "resultsDigest is not"),
    "catalogue": (lambda d: d["suite"].update(catalogue="sha256:" + 64 * "0"), "known release"),
    "version": (lambda d: d["suite"].update(version="0.0.1"), "the report names 0.0.1"),
    "number": (lambda d: d["suite"].update(checks=3), "the report counts 3 checks"),
    "schema": (lambda d: d.update(note="trust us"), "does not follow its schema: the document"),
    "unfinished": (lambda d: d["run"].update(ended="interrupted"), "the run did not finish"),
    "future": (lambda d: d["run"].update(started="2027-01-01T00:00:00Z"), "in the future"),
    "stale": (lambda d: d["staleWaivers"].append("OUT-001"), "the stale waivers are"),
    "hidden feature": (
        lambda d: d["features"]["claimed"].remove("inbound-port-exclusion"),
        "inbound-port-exclusion is neither claimed nor named as not claimed",
    ),
    "unknown feature": (lambda d: d["features"]["claimed"].append("x"), "x is not a feature"),
    "one family": (lambda d: d["run"]["options"].update(ip="both"), "no row is about IPv6"),
    "one variant": (
        lambda d: d["run"]["options"].update(iptables="both"),
        "no row is about the variant legacy",
    ),
    "expired": (
        lambda d: d["waivers"].append({**WAIVER.as_dict(), "expires": "2026-11-19"}),
        "on the day of the run: waiver OPX-005 expired on 2026-11-19",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forgery_with_fresh_digests_is_rejected(project: Project, failing: Path, name: str) -> None:
    """Catches: a forger who also computes the digests of the files."""
    change, reason = FORGERIES[name]
    directory = project.path / "report"
    shutil.copytree(failing, directory)
    forge(directory, change)
    assert re.search(reason, "\n".join(rejected(directory)))


def test_files_that_tell_different_stories_are_rejected(project: Project) -> None:
    """Catches: a good report.json next to the report.yaml that people read, and the reverse."""
    directory = write(project, outcomes={"OUT-001": Outcome.FAIL})
    for name, old, new in [
        ("report.yaml", "verdict: nonconformant", "verdict: conformant"),
        ("junit.xml", "<failure", "<skipped"),
    ]:
        text = (directory / name).read_text()
        (directory / name).write_text(text.replace(old, new).replace("</failure", "</skipped"))
        seal(directory)
        (found,) = rejected(directory)
        assert found.startswith(f"{name} and report.json differ in")
        (directory / name).write_text(text)


def test_junit_with_entities_is_not_expanded(project: Project) -> None:
    """Catches: a report that fills the memory of its reviewer."""
    directory = write(project)
    file = directory / "junit.xml"
    file.write_text('<!DOCTYPE x [<!ENTITY a "b">]>' + file.read_text().partition("?>")[2])
    seal(directory)
    assert rejected(directory) == ["junit.xml cannot be read as XML without a document type"]


def test_evidence_belongs_to_the_report(project: Project) -> None:
    """Catches: evidence that is edited or lost after the run."""
    directory = write(project, outcomes={"OUT-001": Outcome.FAIL})
    folder = directory / "evidence" / "OUT-001-netns-nft-v4"
    folder.mkdir(parents=True)
    (folder / "README.yaml").write_text("check: OUT-001\n")
    forge(
        directory, lambda document: document["run"].update(evidence=[f"x/evidence/{folder.name}/"])
    )
    assert rejected(directory) == []
    (folder / "README.yaml").write_text("check: OUT-002\n")
    assert "README.yaml was changed" in rejected(directory)[0]
    prepare_directory(directory)
    assert not folder.exists()


def test_lost_evidence_is_noticed(project: Project) -> None:
    """Catches: a failure whose evidence is left out of the submission."""
    directory = write(project, outcomes={"OUT-001": Outcome.FAIL})
    forge(directory, lambda document: document["run"].update(evidence=["r/evidence/OUT-001-x/"]))
    assert rejected(directory) == [
        "the evidence r/evidence/OUT-001-x/ is named, but it is not in evidence/"
    ]


def test_withdrawn_check_is_named(project: Project) -> None:
    """Catches: an old report that is rejected because a later version withdrew a check."""
    report = read_report(write(project, outcomes={"OUT-001": Outcome.FAIL}))
    (found,) = check_withdrawn(report, (Withdrawn("OUT-001", "0.2.0", "the document changed"),))
    assert not found.rejected
    assert found.text.startswith("OUT-001 (fail) was withdrawn in 0.2.0: the document changed")


def test_effect_of_every_option_is_known() -> None:
    """Catches: a new option that can change a verdict, and that no reviewer hears of."""
    assert EFFECTS.keys() == {option.name for option in OPTIONS} - {"conformance"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two keys."""
    folder = tmp_path_factory.mktemp("keys")
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    for name in ("vendor", "other"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(argv, check=True, timeout=60)
        public = (folder / f"{name}.pub").read_text()
        (folder / f"{name}.signers").write_text(f"{name}@example.com {public}")
    return folder


def sign(directory: Path, key: Path) -> None:
    argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", "fsmredir", "-f", str(key), SUMS]
    subprocess.run(argv, check=True, timeout=60, cwd=directory, capture_output=True)


def test_signature_names_its_signer(project: Project, keys: Path) -> None:
    """Catches: a signature by any key that counts as the vendor's."""
    directory = write(project)
    assert "not signed" in rejected(directory, keys / "vendor.signers")[0]
    sign(directory, keys / "vendor")
    assert rejected(directory) == []
    assert rejected(directory, keys / "vendor.signers") == []
    assert any('Good "fsmredir" signature' in each for each in noted(directory))
    assert "is not in" in rejected(directory, keys / "other.signers")[0]


def test_changed_signature_or_signed_text_is_rejected(project: Project, keys: Path) -> None:
    """Catches: fresh digests under an old signature."""
    directory = write(project)
    sign(directory, keys / "vendor")
    signature = (directory / SIGNATURE).read_text()
    middle = signature.splitlines()[2]
    (directory / SIGNATURE).write_text(signature.replace(middle, middle[::-1]))
    assert "signature" in rejected(directory)[0]
    (directory / SIGNATURE).write_text(signature)
    forge(directory, lambda document: document["run"].update(seconds=1))
    for signers in (None, keys / "vendor.signers"):
        (found,) = rejected(directory, signers)
        assert found.startswith(f"the signature does not fit {SUMS}: ")


def test_command_prints_why_and_what_it_cannot_know(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: a reviewer who takes an accepted report for an honest one."""
    directory = write(project)
    assert verify.main([str(directory), "--require", "conformant"]) == 0
    out = capsys.readouterr().out
    assert "report     sh init.sh: conformant, judged by pytest-fsmredir" in out
    assert "not known  whether the run was honest" in out
    assert out.endswith("result     nothing is wrong\n")
    failing = write(project, "failing", {"OUT-001": Outcome.FAIL})
    assert verify.main([str(failing), "--require=partial", "--max-age=0"]) == 1
    assert "rejected   the verdict is nonconformant, and --require asks for partial" in (
        capsys.readouterr().out
    )


def test_what_cannot_be_checked_is_no_verdict(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: a misspelled directory that counts as a rejected report."""
    assert verify.main([str(project.path / "nowhere")]) == 2
    assert "name one that --fsm-report wrote" in capsys.readouterr().err
    assert verify.main(["--nonsense"]) == 2


def test_reports_are_read_without_pytest() -> None:
    """Catches: a reviewer's tool that needs pytest, or the backends."""
    code = (
        "import sys\n"
        "import pytest_fsmredir.cli.verify\n"
        "print([n for n in sys.modules if n in ('pytest', 'pytest_fsmredir.backends.netns')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


def test_released_catalogues_stay_as_they_were() -> None:
    """Catches: a check that changes after its release, so that old reports no longer verify."""
    released = {each.version: each for each in releases()}
    assert released.get(present().version, present()).digest == present().digest


def test_data_file_of_a_release_holds_its_catalogue(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Catches: a data file that a later version cannot read, or that was edited."""
    (tmp_path / FOLDER).mkdir()
    file = tmp_path / FOLDER / "0.0.1.json"
    file.write_text(data_file(replace(present(), version="0.0.1")))
    monkeypatch.setattr(layout, "fixtures", lambda: tmp_path)
    found = releases.__wrapped__()
    assert [(each.version, each.digest) for each in found] == [("0.0.1", present().digest)]
    file.write_text(file.read_text().replace("SHOULD", "MUST", 1))
    with pytest.raises(CatalogueError, match=r"0\.0\.1\.json does not match its digest"):
        releases.__wrapped__()


def test_start_without_a_time_zone_is_refused(project: Project) -> None:
    """Catches: a reviewer's command that ends in a traceback."""
    directory = write(project)
    forge(directory, lambda document: document["run"].update(started="2026-11-20T00:00:00"))
    with pytest.raises(ReportError, match="no time zone"):
        read_report(directory)

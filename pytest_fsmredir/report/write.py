"""Write the files of a report."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.model.outcomes import EVIDENCE
from pytest_fsmredir.report.benchmark import FIGURES, FOLDER, write_plots
from pytest_fsmredir.report.document import canonical, document
from pytest_fsmredir.report.junit import junit
from pytest_fsmredir.report.page.page import PAGE, page
from pytest_fsmredir.report.read import REPORT, Report
from pytest_fsmredir.report.sums import SIGNATURE, SUMS, digests_of, sums_text
from pytest_fsmredir.suite.judgement import Judgement
from pytest_fsmredir.suite.plan import Plan

_FILES = ("report.yaml", "report.json", "junit.xml")


def prepare_directory(directory: Path) -> None:
    """Make the directory of a report, and require that files can be made there.

    This removes the files of an earlier run, so that they do not look like the result of a killed
    run.

    Raises:
        SettingsError: The directory or the files cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in (*_FILES, PAGE, SUMS, SIGNATURE, FIGURES):
            (directory / name).touch()
            (directory / name).unlink()
        for readme in (directory / EVIDENCE).glob("*/README.yaml"):  # leaves what is not ours
            shutil.rmtree(readme.parent)
        for plot in (directory / FOLDER).glob("*.svg"):
            plot.unlink()
    except OSError as error:
        raise SettingsError(f"--fsm-report: {directory}: {error.strerror}") from None


def write_report(
    plan: Plan, judgement: Judgement, facts: Mapping[str, Any], directory: Path
) -> list[Path]:
    """Write the report of a run and return its files.

    A file that is there is replaced at once, so that a reader never sees half of one.

    Raises:
        OSError: A file cannot be written.
    """
    made = document(plan, judgement, facts)
    texts = (
        _yaml(made),
        canonical(made) + "\n",
        junit(plan.catalogue, judgement.rows, facts.get("trouble", "")),
    )
    pairs = zip(_FILES, texts, strict=True)
    files = [_written(directory / name, text) for name, text in pairs]
    files.insert(0, _written(directory / PAGE, page(Report(directory / REPORT, made))))
    if measured := facts.get("benchmark"):
        files += write_plots(measured, directory)
    evidence = [each for each in (directory / EVIDENCE).rglob("*") if each.is_file()]
    sums = sums_text(digests_of([*files, *evidence], directory))
    return [*files, _written(directory / SUMS, sums)]


def _yaml(value: Mapping[str, Any]) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the C version if libyaml is present
    text: str = yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


def _written(path: Path, text: str) -> Path:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return path

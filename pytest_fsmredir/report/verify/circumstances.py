"""Name what could have had a say in a verdict: waivers, options, other plugins, the run's end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from pytest_fsmredir.config.waivers import read_waivers, reject_unusable
from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.model.checks import Catalogue
from pytest_fsmredir.model.withdrawn import WITHDRAWN, Withdrawn
from pytest_fsmredir.report.read import Report
from pytest_fsmredir.report.verify.finding import Finding, note

EFFECTS = {
    "agent": "changes where the probe runs",
    "app-image": "changes the application next to the probe",
    "backend": "chooses the backends",
    "benchmark": "measures after the checks",
    "benchmark-entries": "changes what is measured after the checks",
    "benchmark-rounds": "changes what is measured after the checks",
    "benchmark-time": "changes what is measured after the checks",
    "check": "selects checks: the others were not run",
    "context": "chooses the cluster",
    "evidence": "decides which checks leave evidence",
    "exhaustive": "tries whole ranges instead of samples",
    "features": "changes what is claimed: a check of an unclaimed feature was not run",
    "fuzz": "adds generated policies",
    "impl": "names the implementation",
    "init-cmd": "names the implementation",
    "init-image": "names the implementation",
    "init-privileged": "gives the init command more than an unprivileged init container has",
    "init-timeout": "changes how long the init command may take",
    "inject": "chooses who injects the pods",
    "ip": "chooses the IP versions: the other one was not tested",
    "iptables": "chooses the iptables variants: the others were not tested",
    "keep": "keeps the pods",
    "kind-config": "changes the kind cluster",
    "kubeconfig": "chooses the cluster",
    "mesh-name": "names the mesh that injects the pods",
    "mesh-namespace": "names the mesh that injects the pods",
    "nodes": "chooses the nodes",
    "options": "names the options file",
    "pause-on-fail": "opens a shell in the pod of a failed check, before other checks use it",
    "pipy-bin": "changes the sidecar",
    "pipy-image": "changes the sidecar",
    "pod-image": "changes the image of the pods",
    "privilege": "chooses how the run gets its privileges",
    "profile": "selects profiles: the checks of the others were not run",
    "replay": "judges one pod, rebuilt from a file: no implementation was run, so the verdict is at"
    " best partial",
    "report": "names the directory of the report",
    "require": "decides the exit status, not the verdict",
    "rules": "names the implementation",
    "seed": "changes the generated policies",
    "sidecar": "changes the sidecar",
    "strict": "counts a violated SHOULD as a failure",
    "timeout": "changes after how many seconds a flow counts as lost",
    "waivers": "names a file of accepted failures",
}
"""What each option can do to a verdict."""

_SILENT = {
    "benchmark",
    "benchmark-entries",
    "benchmark-rounds",
    "benchmark-time",
    "keep",
    "options",
    "report",
    "require",
}
"""Options with no say in the verdict."""


def check_waivers(report: Report, catalogue: Catalogue) -> Iterator[Finding]:
    """Check that each waiver was valid on the day of the run, and name it."""
    where = report.file.name
    for document in report.document["waivers"]:
        try:
            (waiver,) = read_waivers([document], where)
            reject_unusable([waiver], catalogue, report.started.date())
        except SettingsError as error:
            yield Finding(f"on the day of the run: {error}")
        else:
            yield note(f"{waiver.id} is waived: {waiver.reason} ({waiver.link})")


def check_withdrawn(
    report: Report, withdrawn: tuple[Withdrawn, ...] = WITHDRAWN
) -> Iterator[Finding]:
    """Name the checks of a report that a later version has withdrawn."""
    there = {row.check for _, row in report.rows}
    for each in withdrawn:
        if each.id in there:
            outcomes = sorted({row.outcome for _, row in report.rows if row.check == each.id})
            yield note(
                f"{each.id} ({', '.join(outcomes)}) was withdrawn in {each.since}: {each.why};"
                " its result no longer counts"
            )


def check_run(report: Report, now: datetime) -> Iterator[Finding]:
    """Check how the run ended and when it started."""
    if report.run["ended"] != "finished":
        why = report.run.get("trouble", "")
        yield Finding(f"the run did not finish: {report.run['ended']}{f': {why}' if why else ''}")
    if report.started > now + timedelta(days=1):
        yield Finding(f"the run starts in the future: {report.run['started']}")
    age = (now - report.started).days
    if age > 0:
        yield note(f"the run was {age} days ago")


def name_options(report: Report) -> Iterator[Finding]:
    """Name the options, and what else could have had a say in the verdict."""
    for name, text in sorted(report.run["options"].items()):
        if text and name not in _SILENT:
            effect = EFFECTS.get(name, "is an option that this version does not know")
            yield note(f"--fsm-{name}={text}: {effect}")
    if report.document["features"]["source"] == "inferred":
        yield note("the claims of features are inferred, not declared")
    if unclaimed := report.document["features"]["notClaimed"]:
        yield note(f"not claimed: {', '.join(unclaimed)}")
    yield from _name_hygiene(report)
    if missing := report.run["host"].get("undenied"):
        yield note(f"unlike in an init container of Kubernetes: {'; '.join(missing)}")


def _name_hygiene(report: Report) -> Iterator[Finding]:
    hygiene = report.run["hygiene"]
    numbers = {
        "deselected": "selected checks were deselected by pytest or a plugin",
        "reruns": "checks ran again; the worst outcome counts",
    }
    for key, text in numbers.items():
        if hygiene[key]:
            yield note(f"{hygiene[key]} {text}")
    if hygiene["reordered"]:
        yield note("a plugin changed the order of the checks")
    for key, text in (("plugins", "other plugins"), ("foreignConftests", "conftest files")):
        if hygiene[key]:
            yield note(f"{text} were loaded: {', '.join(hygiene[key])}")
    for key, value in hygiene["settings"].items():
        yield note(f"pytest setting {key}: {value}")

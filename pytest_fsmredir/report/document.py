"""Build the report as plain values; schema.json describes it."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.implementations.rules_file import RulesFile
from pytest_fsmredir.implementations.select import ClaimSource
from pytest_fsmredir.model.checks import Check, Profile
from pytest_fsmredir.model.features import Feature
from pytest_fsmredir.model.followed import Delivery, RuleWalk
from pytest_fsmredir.model.outcomes import Outcome, Row
from pytest_fsmredir.report.rules import rules_document, variant_document
from pytest_fsmredir.report.version import suite_version
from pytest_fsmredir.suite.judgement import Judgement, NodeResult, ProfileResult
from pytest_fsmredir.suite.plan import Plan
from pytest_fsmredir.text import printable

API_VERSION = "fsmredir/v1"

# The kernel chooses the client's port, which differs between otherwise equal runs.
# A rule can name one, too.
_SOURCE_PORT = re.compile(r"(source [^\s(),]+:|(?<!--)(?<!tcp )(?<!udp )(?<!th )\bsport )\d+")

_CLIENT_PORT = re.compile(r"(?<=[\d\]]):\d+$")


def document(plan: Plan, judgement: Judgement, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report of a run; reports of equal runs differ only under the key ``run``."""
    rows = judgement.rows
    suite = {
        "name": "pytest-fsmredir",
        "version": suite_version(),
        "catalogue": f"sha256:{plan.packaged.digest}",
        "checks": len(plan.packaged.checks),
        **({"generated": [check.id for check in plan.generated]} if plan.generated else {}),
    }
    subject = _implementation(plan)
    made = {
        "apiVersion": API_VERSION,
        "kind": "ConformanceReport",
        "suite": suite,
        "implementation": subject,
        "verdict": judgement.verdict.value,
        "strict": plan.settings.strict,
        "profiles": [profile_document(result) for result in judgement.profiles],
        **({"nodes": nodes} if (nodes := nodes_document(judgement.nodes)) else {}),
        "features": _features(plan.claims.features, plan.claims.source),
        "waivers": [waiver.as_dict() for waiver in plan.settings.waivers],
        "staleWaivers": [waiver.id for waiver in judgement.stale_waivers],
        **({"rules": rules} if (rules := rules_document(row for _, row in rows)) else {}),
        "checks": [_row(plan.catalogue[row.check], profile, row) for profile, row in rows],
        "resultsDigest": results_digest(suite, subject, (row for _, row in rows)),
        "run": dict(facts),
    }
    return {key: _writable(value) for key, value in made.items()}


def results_digest(
    suite: Mapping[str, Any], implementation: Mapping[str, Any], rows: Iterable[Row]
) -> str:
    """Return a digest that is equal for equal results on any machine.

    It covers the suite's version and catalogue, the implementation, and the outcome of every check
    on every variant.
    """
    named = ("organization", "project", "version", "mode", "rulesDigest")
    material = {
        "suite": {key: suite[key] for key in ("version", "catalogue")},
        "implementation": {key: implementation.get(key, "") for key in named},
        "rows": sorted([row.check, str(row.variant), row.outcome.value] for row in rows),
    }
    return f"sha256:{hashlib.sha256(canonical(material).encode()).hexdigest()}"


def canonical(value: object) -> str:
    """Return the canonical JSON text of a value: sorted keys, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _implementation(plan: Plan) -> dict[str, Any]:
    judged, identity = plan.implementation, plan.settings.identity
    told = {
        "name": judged.name,
        "organization": identity.organization,
        "project": identity.project or judged.name,
        "url": identity.url,
        "version": identity.version or str(getattr(judged, "version", "")),
        "contact": list(identity.contact),
        "mode": identity.mode,
        "command": judged.command if isinstance(judged, InitCommand) else "",
        "rulesDigest": f"sha256:{judged.digest}" if isinstance(judged, RulesFile) else "",
    }
    if plan.settings.init_privileged:
        told["initContainer"] = "privileged"
    return {key: value for key, value in told.items() if value}


def profile_document(result: ProfileResult) -> dict[str, Any]:
    """Return the result of a profile as plain values."""
    return {
        "name": result.profile.value,
        "verdict": result.verdict.value,
        "proved": result.proved,
        "total": result.total,
        **_counts(result.counts),
    }


def nodes_document(results: Iterable[NodeResult]) -> list[dict[str, Any]]:
    """Return the results of the named nodes as plain values; empty if none is named."""
    return [
        {
            "backend": result.backend,
            "name": result.node,
            "verdict": result.verdict.value,
            "total": result.counts.total(),
            **_counts(result.counts),
        }
        for result in results
    ]


def _counts(counts: Counter[Outcome]) -> dict[str, int]:
    return {_camel(outcome): counts[outcome] for outcome in Outcome}


def _features(claimed: frozenset[Feature], source: ClaimSource) -> dict[str, Any]:
    return {
        "claimed": sorted(claimed),
        "notClaimed": sorted(frozenset(Feature) - claimed),
        "source": source.value,
    }


def _row(check: Check, profile: Profile, row: Row) -> dict[str, Any]:
    return {
        "id": check.id,
        "title": check.title,
        **variant_document(row.variant),
        "profile": profile.value,
        "level": check.level.value,
        "features": sorted(check.features_for(row.variant.family)),
        "spec": check.spec,
        "outcome": row.outcome.value,
        "outOfReach": row.out_of_reach,
        "reason": _stable(row.reason),
        "flow": row.flow,
        "expected": row.expected,
        "seen": _stable(row.seen),
        **({"symptom": list(row.symptom)} if row.symptom else {}),
        **({"path": _stable(row.path)} if row.path else {}),
        **({"why": _stable(row.why)} if row.why else {}),
        **({"proof": _stable(row.proof)} if row.proof else {}),
        **({"walk": _walk(row.walk)} if row.walk else {}),
        **({"delivery": _delivery(row.delivery)} if row.delivery else {}),
        "probes": row.probes,
        "attempts": row.attempts,
    }


def _walk(walk: RuleWalk) -> dict[str, Any]:
    steps = [
        {**step._asdict(), "part": step.part.value, "note": _stable(step.note)}
        for step in walk.steps
    ]
    return {"end": walk.end, "wanted": walk.wanted, "steps": steps}


def _delivery(delivery: Delivery) -> dict[str, Any]:
    hops = [{**hop._asdict(), "peer": _masked(hop.peer)} for hop in delivery.hops]
    told = {**delivery._asdict(), "client": _masked(delivery.client), "hops": hops}
    return {key: value for key, value in told.items() if value not in (None, "")}


def _writable(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value without control bytes, which foreign texts in it may contain."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(key)): _writable(item) for key, item in value.items()}
    return [_writable(item) for item in value] if isinstance(value, list) else value


def _stable(text: str) -> str:
    return _SOURCE_PORT.sub(r"\1*", text)


def _masked(client: str) -> str:
    return _CLIENT_PORT.sub(":*", client)


def _camel(outcome: Outcome) -> str:
    return "notRun" if outcome is Outcome.NOT_RUN else outcome.value

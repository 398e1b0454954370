"""Finished runs that the tests of reports are about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple, cast

import pytest

from pytest_fsmredir.config.identity import Identity
from pytest_fsmredir.config.options import OPTIONS
from pytest_fsmredir.config.reading import read_settings
from pytest_fsmredir.config.settings import Settings
from pytest_fsmredir.config.waivers import Waiver
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.implementations.select import claims
from pytest_fsmredir.model.checks import MUST, Catalogue, Check, Profile
from pytest_fsmredir.model.features import Feature
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.suite.plan import Plan
from pytest_fsmredir.suite.results import Results

V4, V6 = Variant("netns", "nft", 4), Variant("netns", "nft", 6)


def default_settings() -> Settings:
    """Return the settings when only ``--fsm-init-cmd`` is given."""
    given = {"fsm_conformance": True, "fsm_init_cmd": "sh init.sh"}
    config = SimpleNamespace(
        getoption=given.get,
        getini=dict.fromkeys(option.key for option in OPTIONS).__getitem__,
        rootpath=Path("/nowhere"),
        invocation_params=SimpleNamespace(dir=Path("/nowhere"), args=()),
    )
    return read_settings(cast("pytest.Config", config))


SETTINGS = default_settings()
WAIVER = Waiver(id="OUT-002", reason="known", link="https://example.com/2")
IDENTITY = Identity(
    organization="ACME", project="acme-mesh", url="https://example.com", version="1.3.0",
    contact=("a@example.com",),
)  # fmt: skip


def does_this_and_that(_mesh: object) -> None:
    """The name of a check's function is its title."""


def check(check_id: str) -> Check:
    return Check(
        id=check_id,
        requirement="It MUST work.",
        spec="SPEC-1.1",
        level=MUST,
        profile=Profile.CORE,
        features=frozenset({Feature.OUTBOUND_PORT_EXCLUSION} if check_id == "OUT-003" else ()),
        needs=frozenset(),
        families=(4, 6) if check_id == "OUT-001" else (4,),
        function=does_this_and_that,
    )


CATALOGUE = Catalogue([check("OUT-001"), check("OUT-002"), check("OUT-003"), check("OUT-004")])


class Run(NamedTuple):
    """A plan and its results."""

    plan: Plan
    results: Results


def run_of(*rows: Row, settings: Settings = SETTINGS) -> Run:
    implementation = InitCommand(settings.init_cmd)
    said = {"--fsm-features": ("-outbound-port-exclusion",)}
    claimed = claims(implementation, said, inferred=True)
    plan = Plan(
        settings=settings,
        catalogue=CATALOGUE,
        implementation=implementation,
        variants=(V4, V6),
        claims=claimed,
    )
    run = Run(plan, Results("root"))
    for row in rows:
        run.results.record(row)
    return run


def row(check_id: str, outcome: Outcome, variant: Variant = V4, reason: str = "") -> Row:
    return Row(check=check_id, variant=variant, outcome=outcome, reason=reason, probes=1)


def run_on_nodes() -> Run:
    """Return a run on two nodes, of which the second one fails."""
    good, bad = (Variant("kind", "nft", 4, node) for node in ("a.b", "c"))
    run = run_of()
    run = run._replace(plan=replace(run.plan, variants=(good, bad)))
    for each in CATALOGUE.checks:
        run.results.record(row(each.id, Outcome.PASS, good))
    run.results.record(row("OUT-001", Outcome.FAIL, bad))
    return run

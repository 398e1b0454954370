"""Prepare a conformance session, and print the catalogue, which needs no session."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_fsmredir import layout
from pytest_fsmredir.backends.netns import preflight, privileges
from pytest_fsmredir.backends.netns.programs import search_path
from pytest_fsmredir.config import parsing
from pytest_fsmredir.config.parsing import NETNS
from pytest_fsmredir.config.reading import read_settings
from pytest_fsmredir.config.settings import Settings
from pytest_fsmredir.config.waivers import reject_unusable
from pytest_fsmredir.errors import FsmRedirError, SettingsError
from pytest_fsmredir.fuzz import require_hypothesis
from pytest_fsmredir.implementations.base import Implementation, IptablesVariant
from pytest_fsmredir.implementations.in_cluster import InCluster
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.implementations.replayed.pod import ReplayedPod
from pytest_fsmredir.implementations.select import claims, select
from pytest_fsmredir.model.checks import Catalogue, Check, Profile
from pytest_fsmredir.model.features import Feature
from pytest_fsmredir.model.outcomes import Variant
from pytest_fsmredir.model.withdrawn import reject_withdrawn
from pytest_fsmredir.plugin.hooks import NODES, ConformanceHooks, is_worker
from pytest_fsmredir.suite import catalogue
from pytest_fsmredir.suite.backends import nodes_to_run_on
from pytest_fsmredir.suite.plan import Plan
from pytest_fsmredir.suite.results import Results
from pytest_fsmredir.suite.runner import RUNNER, Runner
from pytest_fsmredir.text import nearest

if TYPE_CHECKING:
    from pytest_fsmredir.plugin.benchmark import BenchmarkHooks


def describe(config: pytest.Config) -> int:
    """Print the catalogue, or some checks in full, and return the exit status."""
    from pytest_fsmredir.report.describe import listing

    try:
        if config.getoption("fsm_list"):
            given = config.getoption("fsm_check") or ()
            globs = [glob for each in given for glob in parsing.split(each)]
            chosen = Catalogue(
                _matching(globs, "--fsm-check") if globs else catalogue.load().checks
            )
            text = listing(chosen, config.getoption("fsm_list"))
        else:
            asked = [id for each in config.getoption("fsm_explain") for id in parsing.split(each)]
            text = _explained(asked)
    except FsmRedirError as error:
        raise pytest.UsageError(str(error)) from None
    sys.stdout.write(text + "\n")
    return pytest.ExitCode.OK


def _explained(asked: Sequence[str]) -> str:
    if not asked:
        raise SettingsError("--fsm-explain: name a check; see --fsm-list")
    from pytest_fsmredir.report.describe import explanation

    checks = catalogue.load()
    found = _matching(asked, "--fsm-explain")
    return "\n\n".join(explanation(checks, check.id) for check in found)


def _matching(globs: Sequence[str], where: str) -> list[Check]:
    """Return the checks that some ids or patterns such as ``RES-*`` name, each once.

    Raises:
        SettingsError: One of them matches no check.
    """
    checks = catalogue.load().checks
    found: dict[str, Check] = {}
    for glob in globs:
        reject_withdrawn(where, glob)
        named = {check.id: check for check in checks if fnmatchcase(check.id, glob)}
        if not named:
            known = [check.id for check in checks]
            raise SettingsError(
                f"{where}: no check is called {glob!r}{nearest(glob, known)}; see --fsm-list"
            )
        found |= named
    return list(found.values())


def prepare(config: pytest.Config) -> list[ConformanceHooks | BenchmarkHooks]:
    """Return the hooks of the requested run, with its privileges; none if none is requested.

    Raises:
        pytest.UsageError: A setting is invalid, or the machine lacks a prerequisite.
    """
    try:
        settings = read_settings(config)
        if not settings.conformance:
            return [_measuring(settings, config)] if settings.benchmark else []
        if config.getoption("forked", False):
            raise SettingsError(
                "--forked: checks share pods and one event loop, which a process for each check"
                " cannot; leave it out (-p no:forked), or run in parallel with -n 2"
            )
        privilege = "not acquired" if NETNS in settings.backends else "not needed"
        plan = _planned(settings, config)
        versions = preflight.iptables_versions(plan.variants)
        runner = Runner(plan, Results(privilege, versions))
        hooks = ConformanceHooks(config, runner)
        if settings.pause_on_fail:
            from pytest_fsmredir.plugin.pause import Pause, require_terminal

            require_terminal(config)
            runner.pause = Pause(config)
        if not config.option.collectonly and not is_worker(config):
            _make_ready(hooks)
    except FsmRedirError as error:
        raise pytest.UsageError(str(error)) from None
    _collect_suite(config)
    config.stash[RUNNER] = hooks.runner
    if not settings.benchmark or is_worker(config):
        return [hooks]
    from pytest_fsmredir.plugin.benchmark import BenchmarkHooks

    return [hooks, BenchmarkHooks(config, plan, hooks.runner.results, alone=False)]


def _measuring(settings: Settings, config: pytest.Config) -> BenchmarkHooks:
    """Return the hooks of a run that measures and judges nothing, with its privileges.

    Raises:
        FsmRedirError: A setting is invalid, or the machine lacks a prerequisite.
    """
    if is_worker(config) or config.getoption("numprocesses", None):
        raise SettingsError("-n: parallel tests would disturb the benchmark: leave it out")
    from pytest_fsmredir.plugin.benchmark import BenchmarkHooks

    plan = _planned(settings, config)
    results = Results("not acquired", preflight.iptables_versions(plan.variants))
    if not config.option.collectonly:
        if settings.report is not None:
            from pytest_fsmredir.report.write import prepare_directory

            prepare_directory(settings.report)
        results.privilege = privileges.acquire(settings.privilege)
        preflight.default_iptables(settings.iptables)
        results.sidecar = preflight.sidecar(settings.pipy)
        preflight.probe(variant for variant in plan.variants if not variant.in_kubernetes)
    return BenchmarkHooks(config, plan, results, alone=True)


def _planned(settings: Settings, config: pytest.Config) -> Plan:
    """Return the plan of the run. This does not change the machine.

    Raises:
        SettingsError: A setting names something that does not exist.
    """
    implementation = judged(settings, config.invocation_params.dir)
    undeclared = (InitCommand, InCluster, ReplayedPod)
    inferred = isinstance(implementation, undeclared) or settings.rules is not None
    claimed = claims(implementation, settings.features, inferred=inferred)
    generated = _generated(settings, implementation, claimed.features, config)
    checks = Catalogue([*catalogue.load().checks, *generated])
    _reject_unknown(settings, checks)
    reject_unusable(settings.waivers, checks, datetime.now(UTC).date())
    plan = Plan(
        settings=settings,
        catalogue=checks,
        implementation=implementation,
        variants=_variants(settings, implementation, config),
        claims=claimed,
        generated=generated,
        is_worker=is_worker(config),
    )
    _require_runnable_check(plan)
    _reject_iptables_settings(plan)
    return plan


def _variants(
    settings: Settings, implementation: Implementation, config: pytest.Config
) -> tuple[Variant, ...]:
    """Return the points of the matrix; a captured pod has its own variant and IP versions.

    Raises:
        SettingsError: The captured pod has no address of the IP versions to run on.
    """
    default = _default_iptables(settings)
    if not isinstance(implementation, ReplayedPod):
        return settings.variants(default, _nodes(settings, config))
    families = implementation.capture.families
    found = settings.variants(implementation.iptables or default)
    kept = tuple(variant for variant in found if variant.family in families)
    if not kept:
        raise SettingsError(
            f"{settings.where['ip']}: the captured pod has addresses of IPv{families[0]} alone:"
            " leave the option out"
        )
    return kept


def _nodes(settings: Settings, config: pytest.Config) -> Mapping[str, Sequence[str]]:
    """Return the names of the nodes to run on, by backend; empty if the options name no nodes.

    The controller gives the names to its workers, because test ids must not differ among them.

    Raises:
        SettingsError: A named node does not exist.
        PreflightError: The nodes cannot be listed, or one of them cannot run pods.
    """
    if is_worker(config):
        given: dict[str, list[str]] = getattr(config, "workerinput")[NODES]  # noqa: B009
        return given
    return nodes_to_run_on(settings, ready=not config.option.collectonly)


def judged(settings: Settings, directory: Path) -> Implementation:
    """Return the implementation under test.

    Args:
        settings: The user's settings.
        directory: Where to look for modules, in addition to the import path of Python.

    Raises:
        SettingsError: No implementation has that name, or it cannot run on a selected backend.
    """
    asked, by_default = settings.kubernetes, settings.names_no_implementation
    by_webhook = [name for name in settings.backends if asked.by_webhook(name)]
    if by_webhook:
        if set(by_webhook) != set(settings.backends) or not by_default or asked.init_image:
            raise SettingsError(
                f"the backend {by_webhook[0]} tests the mesh that is installed in the cluster and"
                " cannot be combined with another implementation or backend: use --fsm-inject"
                " manual, or run the backends separately"
            )
        if settings.init_privileged:
            raise SettingsError(
                f"{settings.where['init-privileged']} does not apply to the backend"
                f" {by_webhook[0]}, where the installed mesh makes the init container: leave it out"
            )
        return InCluster("the mesh of the cluster")
    if asked.init_image and by_default:
        if NETNS in settings.backends:
            raise SettingsError(
                f"{settings.where['init-image']}: the image {asked.init_image} cannot run on netns:"
                " add --fsm-backend kind, or give the image's command as --fsm-init-cmd as well"
            )
        return InCluster(asked.init_image)
    found = select(
        settings.impl,
        where=settings.where.get("impl", ""),
        init_cmd=settings.init_cmd,
        init_cmd_base=settings.init_cmd_base,
        rules=settings.rules,
        replay=settings.replay,
        directory=directory,
    )
    if NETNS in settings.backends and isinstance(found, InitCommand):
        _require_program(found, settings.where.get("init-cmd", "--fsm-init-cmd"))
    return found


def _require_program(command: InitCommand, where: str) -> None:
    """Require that the program of an init command is on this machine.

    Raises:
        SettingsError: The program is missing.
    """
    if missing := command.missing(search_path()):
        raise SettingsError(f"{where}: {command.command!r} cannot be run: {missing}")


def _generated(
    settings: Settings,
    implementation: Implementation,
    features: frozenset[Feature],
    config: pytest.Config,
) -> tuple[Check, ...]:
    if isinstance(implementation, ReplayedPod):
        from pytest_fsmredir.fuzz.replay import ReplayChecks

        return ReplayChecks(implementation.capture, features).checks
    if not settings.fuzz:
        return ()
    require_hypothesis(map(str, config.invocation_params.args))
    from pytest_fsmredir.fuzz.checks import GeneratedChecks

    return GeneratedChecks(policies=settings.fuzz, seed=settings.seed, features=features).checks


def _make_ready(hooks: ConformanceHooks) -> None:
    """Get the privileges, and require what the run needs; a failure also writes a report.

    Raises:
        SettingsError: The report cannot be written.
        PreflightError: The machine lacks a prerequisite.
    """
    hooks.prepare_report()
    plan, results = hooks.runner.plan, hooks.runner.results
    if NETNS not in plan.settings.backends:
        return
    try:
        results.privilege = privileges.acquire(plan.settings.privilege)
        preflight.default_iptables(plan.settings.iptables)
        results.sidecar = preflight.sidecar(plan.settings.pipy)
        preflight.probe(variant for variant in plan.variants if not variant.in_kubernetes)
        if not plan.settings.init_privileged:
            results.undenied = preflight.undenied()
    except Exception as error:
        results.trouble = f"set-up failed: {error}"
        hooks.write_report()
        raise


def _default_iptables(settings: Settings) -> str:
    try:
        return preflight.default_iptables(settings.iptables)
    except FsmRedirError:
        return "nft"  # good enough to list the checks; a run reports the missing programs later


def _reject_unknown(settings: Settings, checks: Catalogue) -> None:
    for glob in settings.checks:
        where = settings.where["check"]
        reject_withdrawn(where, glob)
        if not any(fnmatchcase(check.id, glob) for check in checks.checks):
            known = [check.id for check in checks.checks]
            raise SettingsError(
                f"{where}: no check is called {glob!r}{nearest(glob, known)}; see --fsm-list"
            )


def _require_runnable_check(plan: Plan) -> None:
    """Require that at least one selected check can run on a selected variant."""
    checks, settings = plan.catalogue.checks, plan.settings
    if any(plan.variants_of(check) for check in checks):
        return
    given = {"check": settings.checks, "profile": settings.profiles}
    asked = " and ".join(
        f"{settings.where[name]} {','.join(names)}" for name, names in given.items() if names
    )
    chosen = [
        (check.profile, family)
        for check in checks
        for family in check.families
        if settings.selects(check.id, check.profile_for(family))
    ]
    if not chosen:
        raise SettingsError(f"{asked}: no check is in both")
    in_pods = all(profile is Profile.KUBERNETES for profile, _ in chosen)
    elsewhere = in_pods and not any(variant.in_kubernetes for variant in plan.variants)
    raise SettingsError(
        f"{asked}: no such check is for {', '.join(map(str, plan.variants))}: add "
        + ("--fsm-backend kind or cluster" if elsewhere else f"--fsm-ip {chosen[0][1]}")
    )


def _reject_iptables_settings(plan: Plan) -> None:
    """Require that the variant without iptables supports the other settings.

    Raises:
        SettingsError: A setting needs iptables.
    """
    native = [each for each in plan.variants if each.iptables == IptablesVariant.NATIVE]
    if native and plan.settings.rules is not None:
        raise SettingsError(
            f"{plan.settings.where['rules']}: a rules file is input of iptables-restore, and the"
            " variant native has no iptables: install iptables, or give --fsm-iptables nft"
        )
    asked = plan.settings.kubernetes
    in_pods = any(each.in_kubernetes for each in native)
    if in_pods and not (asked.init_image or asked.pod_image):
        raise SettingsError(
            f"{plan.settings.where['iptables']}: native: our own image of pods has no nft: name one"
            " that has it with --fsm-init-image or --fsm-pod-image"
        )


def _collect_suite(config: pytest.Config) -> None:
    """Collect the suite alone, or in addition to the user's paths."""
    suite = str(layout.conformance())
    given = config.args_source is pytest.Config.ArgsSource.ARGS
    config.args = [*config.args, suite] if given else [suite]
    if not given and "hypothesis" not in sys.modules:
        # The summary of its plugin imports all of Hypothesis, which no test of this session uses
        # and which takes longer than most checks.
        config.pluginmanager.unregister(name="hypothesispytest")

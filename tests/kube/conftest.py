"""A real kind cluster for the tests of this folder; they are skipped where it cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_fsmredir import catalogue
from pytest_fsmredir.backends.kubernetes.kind import KindOptions, preflight
from pytest_fsmredir.backends.kubernetes.kind_backend import KindBackend
from pytest_fsmredir.deciding import decide
from pytest_fsmredir.errors import FsmRedirError, PreflightError
from pytest_fsmredir.implementations.base import Implementation, IptablesVariant
from pytest_fsmredir.outcomes import Outcome, Row, Variant
from pytest_fsmredir.spec.checks import Check

NFT = IptablesVariant.NFT
VARIANT = Variant("kind", NFT.value, 4)
TIMEOUT_S = 5.0


def pytest_configure() -> None:
    """Have failing assertions of checks explained, as in a conformance run."""
    pytest.register_assert_rewrite(catalogue.PACKAGE)


@pytest.fixture(scope="session")
def kind_options(pytestconfig: pytest.Config) -> KindOptions:
    """What pytest-kind's options say."""
    pytest.importorskip("pytest_kind", reason="needs pytest-kind")
    given = pytestconfig.getoption("kubeconfig")
    options = KindOptions(
        name=pytestconfig.getoption("cluster_name"),
        keep=pytestconfig.getoption("keep_cluster"),
        image=pytestconfig.getoption("kind_image") or "",
        kind=pytestconfig.getoption("kind_bin") or "",
        kubectl=pytestconfig.getoption("kind_kubectl_bin") or "",
        kubeconfig=Path(given) if given else None,
    )
    try:
        preflight(options)
    except PreflightError as error:
        pytest.skip(str(error))
    return options


@pytest.fixture(scope="session")
def kind(kind_options: KindOptions) -> Iterator[KindOptions]:
    """A cluster that lives as long as the session, so that each backend finds it running."""
    from pytest_fsmredir.backends.kubernetes.kind import kind_site

    try:
        with kind_site(kind_options):
            yield kind_options
    except FsmRedirError as error:
        pytest.fail(str(error))


def backend_of(options: KindOptions, implementation: Implementation | None) -> KindBackend:
    """Return a backend on the session's cluster."""
    return KindBackend(implementation, options=options, timeout_s=TIMEOUT_S)


def rows_of(backend: KindBackend, ids: tuple[str, ...]) -> dict[str, Row]:
    """Run checks of the catalogue as a conformance run does, and return their rows."""
    checks = [catalogue.load()[check_id] for check_id in ids]
    backend.prepare((check.function, 4, NFT) for check in checks)
    return {check.id: _row(backend, check) for check in checks}


def outcomes_of(rows: dict[str, Row]) -> dict[str, Outcome]:
    """Return the outcomes alone, by check id."""
    return {check_id: row.outcome for check_id, row in rows.items()}


def _row(backend: KindBackend, check: Check) -> Row:
    mesh = backend.mesh(4, NFT, exhaustive=False)
    try:
        return decide(check, VARIANT, mesh).row
    finally:
        mesh.close()

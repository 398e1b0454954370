"""Reject options that exclude each other, or that need each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_fsmredir.config.parsing import NETNS, Given
from pytest_fsmredir.config.settings import Settings
from pytest_fsmredir.errors import SettingsError


def reject_conflicts(settings: Settings, given: Mapping[str, Given]) -> None:
    """Require that the settings fit together.

    Args:
        settings: The settings.
        given: The effective value of each option.

    Raises:
        SettingsError: Two options exclude each other, or one needs another.
    """
    where, asked = settings.where, settings.kubernetes
    on_netns_alone = settings.backends == (NETNS,)
    if settings.replay is not None:
        _reject_beside_replay(settings)
    if asked.nodes and on_netns_alone:
        raise SettingsError(
            f"{where['nodes']}: the backend netns has no nodes: add --fsm-backend kind or cluster"
        )
    if asked.keep and given["keep"].transient and on_netns_alone:
        raise SettingsError(
            f"{where['keep']}: a pod on network namespaces ends with the process and cannot"
            " be kept; leave the option out, or add --fsm-backend kind"
        )
    if asked.app_image and asked.agent != "ephemeral":
        raise SettingsError(
            f"{where['app-image']} requires --fsm-agent=ephemeral: the probe agent cannot run"
            " inside another image"
        )
    _reject_benchmark(settings, given)
    if asked.sidecar == "pipy" and NETNS in settings.backends and settings.pipy_bin is None:
        raise SettingsError(f"{where['sidecar']}: pipy on netns requires --fsm-pipy-bin PATH")


def _reject_benchmark(settings: Settings, given: Mapping[str, Given]) -> None:
    """Require that a benchmark can measure, and that its options are given for one.

    Raises:
        SettingsError: It cannot, or an option would have no effect.
    """
    where = settings.where
    if settings.benchmark and NETNS not in settings.backends:
        raise SettingsError(
            f"{where['benchmark']}: it measures on the backend netns only: add it, as in"
            f" --fsm-backend netns,{settings.backends[0]}, or leave the option out"
        )
    for name in ("benchmark-entries", "benchmark-rounds", "benchmark-time"):
        if not settings.benchmark and name in where and given[name].transient:
            raise SettingsError(
                f"{where[name]} has an effect in a benchmark only: add --fsm-benchmark"
            )


def _reject_beside_replay(settings: Settings) -> None:
    """Require that no option contradicts the file of a captured pod.

    Raises:
        SettingsError: An option does.
    """
    where = settings.where
    if settings.backends != (NETNS,):
        raise SettingsError(
            f"{where['replay']}: a captured pod is rebuilt on the backend netns alone: leave"
            f" {where['backend']} out"
        )
    for name, given in (
        ("iptables", settings.iptables != "auto"),
        ("fuzz", bool(settings.fuzz)),
        ("benchmark", settings.benchmark),
        ("init-privileged", settings.init_privileged),
    ):
        if given:
            raise SettingsError(
                f"{where[name]} does not apply to {where['replay']}, whose file has the rules of"
                " one pod: leave it out"
            )
    if settings.require == "conformant":
        raise SettingsError(
            f"{where['require']} cannot be met by {where['replay']}: a replay judges one pod, so"
            " its verdict is at best partial; use --fsm-require partial"
        )


def require_complete_identity(settings: Settings, file: Path, *, named: bool) -> None:
    """Require that an options file which states a vendor also says what to run.

    Args:
        settings: The settings.
        file: Path of the options file.
        named: Whether an option names the implementation under test.

    Raises:
        SettingsError: A report would lack a fact about the vendor, or name the vendor but test the
            reference implementation.
    """
    identity = settings.identity
    if settings.report is not None:
        identity.require_complete(str(file))
    named = named or settings.kubernetes.names_one(settings.backends)
    if settings.conformance and identity.stated and not named:
        raise SettingsError(
            f"{file}: the implementation block describes {identity.project} but not how"
            " to run it: add init-cmd, rules or impl"
        )

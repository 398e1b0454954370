"""Command line, environment and ini settings become one :class:`Settings`.

The only module that reads :class:`pytest.Config`. Every option is also an ini key (``fsm_impl``)
and an environment variable (``FSM_IMPL``); the command line wins, then the environment, then ini.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pytest

from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.outcomes import Variant


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its name without ``--fsm-``, and how it is given."""

    name: str
    help: str
    default: str = ""
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    flag: bool = False

    @property
    def key(self) -> str:
        """Name of the ini key, and of the attribute on the command line namespace."""
        return "fsm_" + self.name.replace("-", "_")


OPTIONS = (
    Option("conformance", "collect the packaged conformance suite", flag=True),
    Option("impl", "implementation under test: reference", "reference", "NAME"),
    Option("init-cmd", "implementation under test: a shell command run in each pod", "", "COMMAND"),
    Option("features", "change what the implementation claims: +a,-b", "", "+A,-B"),
    Option("check", "run only these check ids; globs, comma separated", "", "ID[,ID]"),
    Option("profile", "run only these profiles, comma separated", "", "P[,P]"),
    Option("iptables", "iptables variant", "auto", choices=("auto", "nft", "legacy", "both")),
    Option("ip", "IP versions", "both", choices=("4", "6", "both")),
    Option("exhaustive", "every TCP port and every edge, instead of samples", flag=True),
    Option("strict", "a violated SHOULD fails too", flag=True),
    Option(
        "require",
        "exit with an error unless the verdict is at least this",
        "none",
        choices=("none", "partial", "conformant"),
    ),
    Option(
        "privilege",
        "how to get the privileges the network namespaces need",
        "auto",
        choices=("auto", "rootless", "root"),
    ),
    Option("timeout", "seconds after which a flow counts as unanswered", "5", "S"),
    Option("init-timeout", "seconds an init command may take", "30", "S"),
)

LISTING = ("table", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the user asked for.

    Attributes:
        conformance: Run the packaged suite.
        impl: Name of the implementation under test.
        init_cmd: A shell command that is the implementation under test instead; may be empty.
        features: Changes to what it claims, such as ``("+ipv6", "-removal")``.
        checks: Globs of check ids; empty for all.
        profiles: Names of profiles; empty for all.
        iptables: ``auto``, ``nft``, ``legacy`` or ``both``.
        families: IP versions.
        exhaustive: Whole ranges instead of samples.
        strict: A violated SHOULD fails.
        require: The verdict that the exit status asks for.
        privilege: ``auto``, ``rootless`` or ``root``.
        timeout_s: When a flow counts as unanswered.
        init_timeout_s: When an init command is killed.
    """

    conformance: bool
    impl: str
    init_cmd: str
    features: tuple[str, ...]
    checks: tuple[str, ...]
    profiles: tuple[str, ...]
    iptables: str
    families: tuple[int, ...]
    exhaustive: bool
    strict: bool
    require: str
    privilege: str
    timeout_s: float
    init_timeout_s: float

    def selects(self, check_id: str, profile: str) -> bool:
        """Whether a check is asked for by id and by profile."""
        by_id = not self.checks or any(fnmatchcase(check_id, glob) for glob in self.checks)
        return by_id and (not self.profiles or profile in self.profiles)

    def variants(self, backend: str, default_iptables: str) -> tuple[Variant, ...]:
        """Return the points of the matrix."""
        kinds = {"auto": (default_iptables,), "both": ("nft", "legacy")}
        iptables = kinds.get(self.iptables, (self.iptables,))
        return tuple(Variant(backend, kind, f) for kind in iptables for f in self.families)


def add_options(parser: pytest.Parser) -> None:
    """Declare every option, on the command line and as an ini key."""
    group = parser.getgroup("fsmredir", "conformance of sidecar traffic redirection")
    for option in OPTIONS:
        keywords: dict[str, Any] = {"dest": option.key, "default": None, "help": option.help}
        if option.flag:
            keywords["action"] = "store_true"
        else:
            keywords["metavar"] = option.metavar
        if option.choices:
            keywords["choices"] = option.choices
            del keywords["metavar"]
        group.addoption(f"--fsm-{option.name}", **keywords)
        parser.addini(option.key, option.help, default=option.default)
    group.addoption(
        "--fsm-list",
        dest="fsm_list",
        nargs="?",
        const="table",
        choices=LISTING,
        help="list the checks and exit",
    )
    group.addoption(
        "--fsm-explain", dest="fsm_explain", metavar="ID", help="explain one check and exit"
    )


def read_settings(config: pytest.Config) -> Settings:
    """Return the settings of this run.

    Raises:
        SettingsError: A value cannot be used; the message names the option and the value.
    """
    raw = {option.key: _value(config, option) for option in OPTIONS}
    ip = raw["fsm_ip"]
    if raw["fsm_init_cmd"] and raw["fsm_impl"] != "reference":
        raise SettingsError("--fsm-init-cmd and --fsm-impl both name an implementation: give one")
    return Settings(
        conformance=_truth("conformance", raw["fsm_conformance"]),
        impl=raw["fsm_impl"],
        init_cmd=raw["fsm_init_cmd"],
        features=_items(raw["fsm_features"]),
        checks=_items(raw["fsm_check"]),
        profiles=_items(raw["fsm_profile"]),
        iptables=raw["fsm_iptables"],
        families=(4, 6) if ip == "both" else (int(ip),),
        exhaustive=_truth("exhaustive", raw["fsm_exhaustive"]),
        strict=_truth("strict", raw["fsm_strict"]),
        require=raw["fsm_require"],
        privilege=raw["fsm_privilege"],
        timeout_s=_seconds("timeout", raw["fsm_timeout"]),
        init_timeout_s=_seconds("init-timeout", raw["fsm_init_timeout"]),
    )


def _value(config: pytest.Config, option: Option) -> str:
    given = config.getoption(option.key)
    if given is None:
        given = os.environ.get(option.key.upper()) or config.getini(option.key)
    text = str(given)
    if option.choices and text not in option.choices:
        raise SettingsError(
            f"--fsm-{option.name}: {text!r} is not one of {', '.join(option.choices)}"
        )
    return text


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _truth(name: str, text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"": False, "false": False, "0": False, "no": False, "off": False}
    try:
        return words[text.lower()]
    except KeyError:
        raise SettingsError(f"--fsm-{name}: {text!r} is neither true nor false") from None


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise SettingsError(f"--fsm-{name}: {text!r} is not a number of seconds from 0 to 3600")
    return seconds



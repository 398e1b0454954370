"""The options, and what was given for them on the command line, in the environment and in ini.

The only module that reads :class:`pytest.Config`. Every option is also an ini key (``fsm_impl``),
an environment variable (``FSM_IMPL``) and, but for a few, a key of the options file (``impl``).
The command line wins, then the options file, then the environment, then ini. What the texts mean
is for :mod:`pytest_fsmredir.config.settings` to say.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its name without ``--fsm-``, and how it is given.

    Attributes:
        name: As on the command line.
        help: One line.
        default: What stands when nobody says anything.
        metavar: What its value is called.
        choices: The values it takes; empty for any.
        flag: Takes no value on the command line.
        many: May be given several times, and each time hold several values with commas between.
        in_file: May stand in the options file.
        again: Whether the line that runs a failed check again has to repeat it.
        suite: Means something in a conformance run only; the others are for fixtures, too.
    """

    name: str
    help: str
    default: str = ""
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    flag: bool = False
    many: bool = False
    in_file: bool = True
    again: bool = False
    suite: bool = False

    @property
    def is_path(self) -> bool:
        """Whether its value is the path of a file or a directory."""
        return self.metavar in ("FILE", "PATH", "DIR")

    @property
    def key(self) -> str:
        """Name of the ini key, and of the attribute on the command line namespace."""
        return "fsm_" + self.name.replace("-", "_")


OPTIONS = (
    Option("conformance", "collect the packaged conformance suite", flag=True, in_file=False),
    Option(
        "options",
        "file of options, metadata, features and waivers (fsmredir.yaml where there is one)",
        metavar="FILE",
        in_file=False,
        again=True,
    ),
    Option(
        "backend",
        "where the checks are run, several for a matrix: netns, kind, cluster",
        "netns",
        "B[,B]",
        many=True,
    ),
    Option(
        "nodes",
        "nodes of the backends kind and cluster to run the checks on, each with a verdict of its"
        " own: all, or names (wherever the scheduler puts pods)",
        metavar="all|N[,N]",
        many=True,
    ),
    Option(
        "impl",
        "implementation under test: a built-in name, module:attribute, or an entry point",
        "reference",
        "NAME",
        again=True,
    ),
    Option(
        "init-cmd",
        "implementation under test: a shell command run in each pod",
        metavar="COMMAND",
        again=True,
    ),
    Option(
        "rules",
        "implementation under test: a template of iptables-restore input",
        metavar="FILE",
        again=True,
    ),
    Option(
        "init-image",
        "implementation under test in Kubernetes: an init container's image",
        metavar="IMAGE",
        again=True,
    ),
    Option(
        "inject",
        "who puts init container and sidecar into pods of Kubernetes: the suite (manual, as on"
        " kind) or the cluster's mesh (webhook, as on cluster)",
        "auto",
        choices=("auto", "manual", "webhook"),
        again=True,
    ),
    Option(
        "features",
        "what the implementation claims: a,b or, as a change, +a,-b (with =: --fsm-features=-b)",
        metavar="+A,-B",
        many=True,
        again=True,
    ),
    Option("check", "run only these check ids; globs", metavar="ID[,ID]", many=True, suite=True),
    Option("profile", "run only these profiles", metavar="P[,P]", many=True, suite=True),
    Option(
        "waivers",
        "file of waivers: id, reason, link, expires",
        metavar="FILE",
        again=True,
        suite=True,
    ),
    Option("iptables", "iptables variant", "auto", choices=("auto", "nft", "legacy", "both")),
    Option("ip", "IP versions", "both", choices=("4", "6", "both")),
    Option(
        "exhaustive",
        "every TCP port and every edge, instead of samples",
        flag=True,
        again=True,
        suite=True,
    ),
    Option("strict", "a violated SHOULD fails too", flag=True, again=True, suite=True),
    Option(
        "require",
        "exit with an error unless the verdict is at least this",
        "none",
        choices=("none", "partial", "conformant"),
        suite=True,
    ),
    Option(
        "sidecar",
        "who plays the sidecar; auto is the recorder, but on kind Pipy where its image is here",
        "auto",
        choices=("auto", "recorder", "pipy"),
        again=True,
    ),
    Option("pipy-bin", "the Pipy program, on network namespaces", metavar="PATH", again=True),
    Option("pipy-image", "Pipy's image, in Kubernetes (FSM's own)", metavar="IMAGE", again=True),
    Option(
        "pod-image",
        "image of pods in Kubernetes, with Python and iptables; built for kind if none is named",
        metavar="IMAGE",
        again=True,
    ),
    Option("kubeconfig", "of the backend cluster (its usual place)", metavar="FILE", again=True),
    Option("context", "in that kubeconfig (the current one)", metavar="NAME", again=True),
    Option(
        "agent",
        "where the probing code runs in pods of the mesh: as the application's container, or in an"
        " ephemeral container beside any application",
        "container",
        choices=("container", "ephemeral"),
        again=True,
    ),
    Option(
        "app-image", "the application's, with --fsm-agent=ephemeral", metavar="IMAGE", again=True
    ),
    Option("mesh-name", "the mesh whose webhook injects pods", "fsm", "NAME", again=True),
    Option("mesh-namespace", "where it is installed", "fsm-system", "NAME", again=True),
    Option("kind-config", "of a kind cluster that is made (our own)", metavar="FILE", again=True),
    Option("keep", "leave the pods of Kubernetes behind", flag=True),
    Option(
        "report", "write report.yaml, report.json and junit.xml here", metavar="DIR", suite=True
    ),
    Option(
        "privilege",
        "how to get the privileges the network namespaces need",
        "auto",
        choices=("auto", "rootless", "root"),
        again=True,
    ),
    Option("timeout", "seconds after which a flow counts as unanswered", "5", "S", again=True),
    Option("init-timeout", "seconds an init command may take", "30", "S", again=True),
    Option(
        "init-privileged",
        "the implementation needs a privileged init container: /proc/sys can be written, and no"
        " capability and no system call is denied",
        flag=True,
        again=True,
    ),
    Option(
        "fuzz",
        "generated policies to try on each variant as well",
        "0",
        "N",
        again=True,
        suite=True,
    ),
    Option("seed", "seed of all that is generated", "0", "N", again=True, suite=True),
)

IMPLEMENTATION = ("impl", "init-cmd", "rules")
"""Options that name the implementation under test; one of them at a time."""

NEVER_EMPTY = (*IMPLEMENTATION, "init-image", "options")
"""Options that say what is judged. An empty one is a mistake, such as a variable without a value:
something else would be judged in its place.
"""

_PYTEST_KIND = (
    "cluster_name", "keep_cluster", "kubeconfig", "kind_image", "kind_bin", "kind_kubectl_bin",
)  # fmt: skip

DEFAULT_CLUSTER = "pytest-kind"
"""The name that pytest-kind gives its cluster."""

DEFAULT_FILE = "fsmredir.yaml"
LISTING = ("table", "json")


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was given.

    Attributes:
        text: The value.
        where: Who gave it, for messages: ``--fsm-ip``, ``fsmredir.yaml: ip``, ``FSM_IP``; empty
            for a default, which nobody gave.
        base: The directory that a relative path starts from.
        fleeting: Whether pytest would not find it again by itself, run in the same directory.
    """

    text: str
    where: str
    base: Path
    fleeting: bool = False


Layer = Mapping[str, Given]
"""What one source gave, by name of the option."""


def add_options(parser: pytest.Parser) -> None:
    """Declare every option, on the command line and as an ini key."""
    group = parser.getgroup("fsmredir", "conformance of sidecar traffic redirection")
    for option in OPTIONS:
        group.addoption(f"--fsm-{option.name}", **_keywords(option))
        # None tells what nobody wrote from what somebody left empty.
        parser.addini(option.key, option.help, default=None)
    group.addoption(
        "--fsm-list",
        dest="fsm_list",
        nargs="?",
        const="table",
        choices=LISTING,
        help="list the checks and exit",
    )
    group.addoption(
        "--fsm-explain",
        dest="fsm_explain",
        action="append",
        metavar="ID[,ID]",
        help="explain some checks and exit",
    )


def is_asked_for(config: pytest.Config) -> bool:
    """Whether anybody said anything about running the suite; decided without reading a file."""
    option = OPTIONS[0]
    return bool(
        config.getoption(option.key)
        or os.environ.get(option.key.upper())
        or config.getini(option.key)
    )


def reject_stray(config: pytest.Config) -> None:
    """See to it that nobody asks in vain for what only a conformance run does.

    What stands in ``addopts`` or in the environment may be meant for another run.

    Raises:
        pytest.UsageError: The command line has an option that would mean nothing.
    """
    typed = {argument.partition("=")[0] for argument in arguments(config)}
    for option in OPTIONS:
        asked = f"--fsm-{option.name}" in typed and config.getoption(option.key) is not None
        if option.suite and asked and not config.option.help:
            raise pytest.UsageError(
                f"--fsm-{option.name} means something in a conformance run only: add"
                " --fsm-conformance"
            )


def command_line(config: pytest.Config) -> Layer:
    """Return what the command line says."""
    base = config.invocation_params.dir
    given = {option.name: config.getoption(option.key) for option in OPTIONS}
    return {
        name: Given(_as_text(value), f"--fsm-{name}", base, fleeting=True)
        for name, value in given.items()
        if value is not None
    }


def pytest_kind(config: pytest.Config) -> dict[str, Any]:
    """Return what pytest-kind's own options say, by its names for them; none without it."""
    given = {name: config.getoption(name, None) for name in _PYTEST_KIND}
    return {name: value for name, value in given.items() if value is not None}


def repeat_pytest_kind(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a command line says to pytest-kind to have the same cluster.

    Args:
        given: As :func:`pytest_kind` returns it.
    """
    for name, value in given.items():
        if value and (name, value) != ("cluster_name", DEFAULT_CLUSTER):
            yield f"--{name.replace('_', '-')}"
            if value is not True:
                yield str(value)


def environment(config: pytest.Config) -> Layer:
    """Return what the environment says; an empty variable says nothing, where it may be empty."""
    base = config.invocation_params.dir
    given = {option.name: option.key.upper() for option in OPTIONS}
    return {
        name: Given(os.environ[variable], variable, base, fleeting=True)
        for name, variable in given.items()
        if os.environ.get(variable) or (name in NEVER_EMPTY and variable in os.environ)
    }


def ini(config: pytest.Config) -> Layer:
    """Return what the project's pytest settings say."""
    given = {option: config.getini(option.key) for option in OPTIONS}
    overridden = {each.partition("=")[0] for each in config.getoption("override_ini", None) or ()}
    lasting = _is_found_again(config)
    return {
        option.name: Given(
            str(value),
            f"ini {option.key}",
            config.rootpath,
            fleeting=not lasting or option.key in overridden,
        )
        for option, value in given.items()
        if value is not None
    }


def defaults(config: pytest.Config) -> Layer:
    """Return what stands when nobody says anything: a value of every option."""
    return {option.name: Given(option.default, "", config.rootpath) for option in OPTIONS}


def default_file(config: pytest.Config) -> Given:
    """Return the options file of the root directory; empty if it has none."""
    exists = (config.rootpath / DEFAULT_FILE).is_file()
    fleeting = exists and not _is_found_again(config)
    return Given(DEFAULT_FILE if exists else "", "", config.rootpath, fleeting)


def arguments(config: pytest.Config) -> list[str]:
    """Return the command line as it was given."""
    return [str(argument) for argument in config.invocation_params.args]


def command(config: pytest.Config) -> list[str]:
    """Return the command that started the session, of which a worker of pytest-xdist is told."""
    given = getattr(config, "workerinput", {"mainargv": sys.argv})["mainargv"]
    by_module = Path(given[0]).name == "__main__.py"  # which cannot be run by that name
    return [*([sys.executable, "-m", "pytest"] if by_module else given[:1]), *given[1:]]


def _is_found_again(config: pytest.Config) -> bool:
    """Whether pytest has the same root directory when it is only run in the same directory."""
    told = config.getoption("inifilename", None) or config.getoption("rootdir", None)
    here = config.invocation_params.dir
    return not told and config.rootpath in (here, *here.parents)


def _keywords(option: Option) -> dict[str, Any]:
    common: dict[str, Any] = {"dest": option.key, "default": None, "help": option.help}
    if option.flag:
        return {**common, "action": "store_true"}
    if option.choices:
        return {**common, "choices": option.choices}
    if option.many:
        return {**common, "metavar": option.metavar, "action": "append"}
    return {**common, "metavar": option.metavar}


def _as_text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "true" if value is True else str(value)

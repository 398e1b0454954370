"""The options, and their values on the command line, in the environment and in ini-files.

The only module that reads :class:`pytest.Config`. Every option is also an ini key (``fsm_impl``),
an environment variable (``FSM_IMPL``) and, with few exceptions, a key of the options file
(``impl``). The precedence is: command line, options file, environment, ini-file.
:mod:`pytest_fsmredir.config.settings` interprets the texts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_fsmredir.config.default_file import project_file


@dataclass(frozen=True, slots=True)
class Option:
    """One option, and how the user gives it.

    Attributes:
        name: Its name on the command line, without ``--fsm-``.
        help: The help text, in one line.
        default: The default value.
        metavar: The name of its value in the help.
        choices: The allowed values; empty for any.
        flag: Whether it takes no value on the command line.
        many: Whether it can be repeated, each time with several values separated by commas.
        in_file: Whether the options file can contain it.
        again: Whether the command that re-runs a failed check must repeat it.
        suite: Whether it applies to conformance runs only; other options apply to fixtures too.
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
    Option("conformance", "run the conformance suite", flag=True, in_file=False),
    Option(
        "options",
        "options file: options, implementation, features, waivers (default: fsmredir.yaml in the"
        " root directory, if there is one)",
        metavar="FILE",
        in_file=False,
        again=True,
    ),
    Option(
        "backend",
        "backends to run on: netns (network namespaces), kind, cluster; several make a matrix"
        " (default: netns)",
        "netns",
        "B[,B]",
        many=True,
    ),
    Option(
        "nodes",
        "nodes of kind and cluster to run on, with a verdict for each: 'all' or names (default:"
        " any node)",
        metavar="all|N[,N]",
        many=True,
    ),
    Option(
        "impl",
        "implementation under test: a built-in name, module:attribute, or an entry point"
        " (default: reference)",
        "reference",
        "NAME",
        again=True,
    ),
    Option(
        "init-cmd",
        "implementation under test: a shell command that runs in each pod",
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
        "implementation under test on kind and cluster: the image of an init container",
        metavar="IMAGE",
        again=True,
    ),
    Option(
        "inject",
        "who injects pods on kind and cluster: the suite (manual) or the installed mesh (webhook);"
        " auto is manual on kind and webhook on cluster",
        "auto",
        choices=("auto", "manual", "webhook"),
        again=True,
    ),
    Option(
        "features",
        "features that the implementation claims: a,b for these alone; +a,-b to change the"
        " defaults (write --fsm-features=-b, with =)",
        metavar="+A,-B",
        many=True,
        again=True,
    ),
    Option(
        "check",
        "run only checks with these ids; * and ? are wildcards",
        metavar="ID[,ID]",
        many=True,
        suite=True,
    ),
    Option(
        "profile",
        "run only these profiles: core, exclusions, inclusions, ipv6, lifecycle, kubernetes",
        metavar="P[,P]",
        many=True,
        suite=True,
    ),
    Option(
        "waivers",
        "file of accepted failures: a list of id, reason, link, expires",
        metavar="FILE",
        again=True,
        suite=True,
    ),
    Option(
        "iptables",
        "iptables variants to run on; auto is the default of this machine, both is nft and legacy,"
        " native is nft without iptables",
        "auto",
        choices=("auto", "nft", "legacy", "native", "both"),
    ),
    Option("ip", "IP versions to run on", "both", choices=("4", "6", "both")),
    Option(
        "exhaustive",
        "try every TCP port and every edge of a range instead of samples",
        flag=True,
        again=True,
        suite=True,
    ),
    Option("strict", "count a violated SHOULD as a failure", flag=True, again=True, suite=True),
    Option(
        "require",
        "exit with status 1 unless the verdict is at least this",
        "none",
        choices=("none", "partial", "conformant"),
        suite=True,
    ),
    Option(
        "sidecar",
        "sidecar of the pods: our recorder or Pipy; auto is Pipy on kind if Docker has its image,"
        " else the recorder",
        "auto",
        choices=("auto", "recorder", "pipy"),
        again=True,
    ),
    Option("pipy-bin", "Pipy program for --fsm-sidecar pipy on netns", metavar="PATH", again=True),
    Option(
        "pipy-image", "Pipy image on kind and cluster (default: FSM's)", metavar="IMAGE", again=True
    ),
    Option(
        "pod-image",
        "image of pods on kind and cluster, with Python 3.11 or newer and iptables (default on"
        " kind: built on first use)",
        metavar="IMAGE",
        again=True,
    ),
    Option(
        "kubeconfig",
        "kubeconfig of --fsm-backend cluster (default: KUBECONFIG or ~/.kube/config)",
        metavar="FILE",
        again=True,
    ),
    Option("context", "kubeconfig context (default: current)", metavar="NAME", again=True),
    Option(
        "agent",
        "where the probe agent runs in pods of the mesh: as the application (container) or next to"
        " any application (ephemeral)",
        "container",
        choices=("container", "ephemeral"),
        again=True,
    ),
    Option(
        "app-image",
        "image of the application, for --fsm-agent ephemeral",
        metavar="IMAGE",
        again=True,
    ),
    Option(
        "mesh-name",
        "name of the mesh that injects pods in webhook mode (default: fsm)",
        "fsm",
        "NAME",
        again=True,
    ),
    Option(
        "mesh-namespace",
        "namespace of that mesh (default: fsm-system)",
        "fsm-system",
        "NAME",
        again=True,
    ),
    Option(
        "kind-config",
        "configuration of the kind cluster that the run makes (default: ours)",
        metavar="FILE",
        again=True,
    ),
    Option("keep", "keep the pods of kind and cluster after the run", flag=True),
    Option(
        "report",
        "write report.yaml, report.json and junit.xml into this directory",
        metavar="DIR",
        suite=True,
    ),
    Option(
        "privilege",
        "how netns gets its privileges: a user namespace (rootless) or root; auto uses what works",
        "auto",
        choices=("auto", "rootless", "root"),
        again=True,
    ),
    Option(
        "timeout",
        "seconds without an answer after which a flow counts as lost (default: 5)",
        "5",
        "S",
        again=True,
    ),
    Option(
        "init-timeout",
        "seconds after which an init command is killed (default: 30)",
        "30",
        "S",
        again=True,
    ),
    Option(
        "init-privileged",
        "run the init command as a privileged init container: it can write /proc/sys and has every"
        " capability and system call",
        flag=True,
        again=True,
    ),
    Option(
        "fuzz",
        "number of generated policies to try on each variant (default: 0; needs the extra fuzz)",
        "0",
        "N",
        again=True,
        suite=True,
    ),
    Option("seed", "seed of the generated policies (default: 0)", "0", "N", again=True, suite=True),
)

IMPLEMENTATION = ("impl", "init-cmd", "rules")
"""Options that name the implementation under test; they exclude each other."""

NEVER_EMPTY = (*IMPLEMENTATION, "init-image", "options")
"""Options that select what the run tests. An empty value is a mistake, such as an unset variable,
and would make the run test something else.
"""

_PYTEST_KIND = (
    "cluster_name", "keep_cluster", "kubeconfig", "kind_image", "kind_bin", "kind_kubectl_bin",
)  # fmt: skip

DEFAULT_CLUSTER = "pytest-kind"
"""The name that pytest-kind gives its cluster."""

LISTING = ("table", "json")


@dataclass(frozen=True, slots=True)
class Given:
    """The value of an option as text, and its source.

    Attributes:
        text: The value.
        where: The source, for messages: ``--fsm-ip``, ``fsmredir.yaml: ip``, ``FSM_IP``; empty for
            a default.
        base: The directory that a relative path starts from.
        transient: Whether a later pytest command in the same directory would not find the value.
    """

    text: str
    where: str
    base: Path
    transient: bool = False


Layer = Mapping[str, Given]
"""The values of one source, by name of the option."""


def add_options(parser: pytest.Parser) -> None:
    """Declare every option, on the command line and as an ini key."""
    group = parser.getgroup("fsmredir", "conformance of sidecar traffic redirection")
    for option in OPTIONS:
        group.addoption(f"--fsm-{option.name}", **_keywords(option))
        # None distinguishes a missing option from an empty one.
        parser.addini(option.key, option.help, default=None)
    group.addoption(
        "--fsm-list",
        dest="fsm_list",
        nargs="?",
        const="table",
        choices=LISTING,
        help="list the checks as a table or as JSON, and exit",
    )
    group.addoption(
        "--fsm-explain",
        dest="fsm_explain",
        action="append",
        metavar="ID[,ID]",
        help="print what these checks require and send, and exit",
    )


def is_requested(config: pytest.Config) -> bool:
    """Whether an option or a variable requests a conformance run; this reads no file."""
    option = OPTIONS[0]
    return bool(
        config.getoption(option.key)
        or os.environ.get(option.key.upper())
        or config.getini(option.key)
    )


def reject_unused(config: pytest.Config) -> None:
    """Reject options of the command line that have no effect without a conformance run.

    Options in ``addopts`` or in the environment are accepted, because another run may need them.

    Raises:
        pytest.UsageError: The command line has an option that would have no effect.
    """
    typed = {argument.partition("=")[0] for argument in arguments(config)}
    for option in OPTIONS:
        asked = f"--fsm-{option.name}" in typed and config.getoption(option.key) is not None
        if option.suite and asked and not config.option.help:
            raise pytest.UsageError(
                f"--fsm-{option.name} has an effect in a conformance run only: add"
                " --fsm-conformance"
            )


def command_line(config: pytest.Config) -> Layer:
    """Return the values on the command line."""
    base = config.invocation_params.dir
    given = {option.name: config.getoption(option.key) for option in OPTIONS}
    return {
        name: Given(_as_text(value), f"--fsm-{name}", base, transient=True)
        for name, value in given.items()
        if value is not None
    }


def pytest_kind(config: pytest.Config) -> dict[str, Any]:
    """Return the options of pytest-kind, by their names there; empty without pytest-kind."""
    given = {name: config.getoption(name, None) for name in _PYTEST_KIND}
    return {name: value for name, value in given.items() if value is not None}


def repeat_pytest_kind(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield the arguments that make pytest-kind use the same cluster.

    Args:
        given: As :func:`pytest_kind` returns it.
    """
    for name, value in given.items():
        if value and (name, value) != ("cluster_name", DEFAULT_CLUSTER):
            yield f"--{name.replace('_', '-')}"
            if value is not True:
                yield str(value)


def environment(config: pytest.Config) -> Layer:
    """Return the values in the environment; an empty variable is ignored if it may be empty."""
    base = config.invocation_params.dir
    given = {option.name: option.key.upper() for option in OPTIONS}
    return {
        name: Given(os.environ[variable], variable, base, transient=True)
        for name, variable in given.items()
        if os.environ.get(variable) or (name in NEVER_EMPTY and variable in os.environ)
    }


def ini(config: pytest.Config) -> Layer:
    """Return the values in the project's pytest settings."""
    given = {option: config.getini(option.key) for option in OPTIONS}
    overridden = {each.partition("=")[0] for each in config.getoption("override_ini", None) or ()}
    lasting = _is_found_again(config)
    return {
        option.name: Given(
            str(value),
            f"ini {option.key}",
            config.rootpath,
            transient=not lasting or option.key in overridden,
        )
        for option, value in given.items()
        if value is not None
    }


def defaults(config: pytest.Config) -> Layer:
    """Return the default value of every option."""
    return {option.name: Given(option.default, "", config.rootpath) for option in OPTIONS}


def default_file(config: pytest.Config) -> Given:
    """Return the options file of the project; an empty value if it has none."""
    file = project_file(config.rootpath)
    if file is None:
        return Given("", "", config.rootpath)
    return Given(file.name, "", file.parent, transient=not _is_found_again(config))


def arguments(config: pytest.Config) -> list[str]:
    """Return the arguments of the command line, unchanged."""
    return [str(argument) for argument in config.invocation_params.args]


def command(config: pytest.Config) -> list[str]:
    """Return the command that started the session; the xdist controller sends it to its workers."""
    given = getattr(config, "workerinput", {"mainargv": sys.argv})["mainargv"]
    by_module = Path(given[0]).name == "__main__.py"  # which is not a program name
    return [*([sys.executable, "-m", "pytest"] if by_module else given[:1]), *given[1:]]


def _is_found_again(config: pytest.Config) -> bool:
    """Whether pytest finds the same root directory if it runs in the same directory."""
    elsewhere = config.getoption("inifilename", None) or config.getoption("rootdir", None)
    here = config.invocation_params.dir
    return not elsewhere and config.rootpath in (here, *here.parents)


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

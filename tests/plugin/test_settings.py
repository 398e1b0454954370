"""Settings that are refused, and commands that print something, before any check runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

LINK = "https://example.com/1"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--fsm-check=OUT-0001", "no check is called 'OUT-0001'; did you mean 'OUT-001'?"),
        ("--fsm-check=opx-001", "no check is called 'opx-001'; did you mean 'OPX-001'?"),
        ("--fsm-profile=cor", "no profile is called 'cor'; did you mean 'core'?"),
        ("--fsm-impl=referense", "no implementation is called 'referense'; did you mean"),
        ("--fsm-init-cmd=", "--fsm-init-cmd: the value is empty"),
        ("--fsm-waivers=own.yaml", "waiver OUT-001 expired on 2020-01-01"),
        ("--fsm-options=bad.yaml", "iptable: no such key; did you mean 'iptables'?"),
    ],
)
def test_bad_setting_ends_in_a_usage_error(project: Project, option: str, message: str) -> None:
    """Catches: a traceback, a silent default, or an exit status that means failed checks."""
    project.write(
        own__yaml=f"- {{id: OUT-001, reason: r, link: '{LINK}', expires: 2020-01-01}}",
        bad__yaml="iptable: nft",
    )
    ended = project.conform(option)
    assert ended.status == pytest.ExitCode.USAGE_ERROR
    assert message in ended.output


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("check", "OUT-0001", "no check is called 'OUT-0001'"),
        ("profile", "cor", "no profile is called 'cor'"),
        ("features", "ipv7", "there is no feature 'ipv7'"),
        ("impl", "referense", "no implementation is called 'referense'"),
    ],
)
def test_message_names_the_source(project: Project, name: str, value: str, message: str) -> None:
    """Catches: a user who looks for an option on a command line without options."""
    variable = f"FSM_{name.upper()}"
    assert f"ERROR: {variable}: {message}" in project.conform(**{variable: value}).output
    project.write(fsmredir__yaml=f"{name}: {value}")
    assert f"fsmredir.yaml: {name}: {message}" in project.conform().output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--fsm-check=OUT-001,OUT-002", "--fsm-profile=exclusions"],
            "--fsm-check OUT-001,OUT-002 and --fsm-profile exclusions: no check is in both",
        ),
        (
            ["--fsm-profile=kubernetes", "--fsm-iptables=nft"],
            "--fsm-profile kubernetes: no such check is for netns-nft-v4, netns-nft-v6: add"
            " --fsm-backend kind or cluster",
        ),
        (
            ["--fsm-profile=ipv6", "--fsm-check=OUT-001", "--fsm-ip=4", "--fsm-iptables=nft"],
            "--fsm-check OUT-001 and --fsm-profile ipv6: no such check is for netns-nft-v4: add"
            " --fsm-ip 6",
        ),
        (
            ["--fsm-check=LO-001", "--fsm-ip=6", "--fsm-iptables=nft"],
            "--fsm-check LO-001: no such check is for netns-nft-v6: add --fsm-ip 4",
        ),
    ],
)
def test_selection_without_checks_names_the_option(
    project: Project, options: list[str], message: str
) -> None:
    """Catches: an unexplained "invalid" verdict of a run without checks."""
    ended = project.conform(*options)
    assert ended.status == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: {message}" in ended.output


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("opx-001", "no check is called 'opx-001'; did you mean 'OPX-001'?; see --fsm-list"),
        ("OPX-001,OPX", "no check is called 'OPX'"),
        ("", "name a check; see --fsm-list"),
        (" , ", "name a check; see --fsm-list"),
    ],
)
def test_unknown_check_cannot_be_explained(project: Project, asked: str, message: str) -> None:
    """Catches: a run of the user's tests in place of an error, or an unknown id without a hint."""
    ended = project.pytest(f"--fsm-explain={asked}")
    assert ended.status == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: --fsm-explain: {message}" in ended.output


def test_several_checks_are_explained(project: Project) -> None:
    """Catches: silence about all requested checks except the last one."""
    ended = project.pytest("--fsm-explain=OPX-002, OUT-001", "--fsm-explain", "IN-001")
    assert ended.status == pytest.ExitCode.OK
    runs = [line.split()[-1] for line in ended.output.splitlines() if line.startswith("run it")]
    assert runs == ["OPX-002", "OUT-001", "IN-001"]


def test_collecting_only_needs_no_privilege(project: Project) -> None:
    """Catches: a list of tests that needs root, or that writes a report."""
    ended = project.conform("--co", "-q", "--fsm-check=OUT-001", "--fsm-report=out")
    assert ended.status == pytest.ExitCode.OK
    assert [line.split("::")[-1][:8] for line in ended.output.splitlines()[:2]] == 2 * ["OUT-001["]
    assert not (project.path / "out").exists()


def test_run_without_the_suite_ignores_the_options_file(project: Project) -> None:
    """Catches: a project whose own tests fail, or start slowly, because of an options file."""
    project.write(
        fsmredir__yaml="nonsense: [",
        test_own__py="import sys\n"
        "def test_light():\n"
        "    ours = {name for name in sys.modules if name.startswith('pytest_fsmredir.')}\n"
        "    rows = 'declaring', 'option', 'options', 'pod_options'\n"
        "    light = {'plugin', 'plugin.fixtures', 'config', *(f'config.{row}' for row in rows)}\n"
        "    assert ours == {f'pytest_fsmredir.{name}' for name in light}\n",
    )
    ended = project.pytest()
    assert ended.status == pytest.ExitCode.OK
    assert "fsm-redir" not in ended.output


def test_suite_alone_does_not_import_hypothesis(project: Project) -> None:
    """Catches: a run that spends its last second on the import of a library that it never uses."""
    project.write(
        conftest__py="import sys\n"
        "def pytest_unconfigure():\n"
        "    print('imported' if 'hypothesis' in sys.modules else 'not imported')\n"
    )
    ended = project.conform("--fsm-check=OUT-001", "--fsm-ip=4")
    assert "not imported" in ended.output


@pytest.mark.parametrize(
    "option",
    ["--fsm-require=conformant", "--fsm-report=out", "--fsm-check=OUT-001", "--fsm-strict"],
)
def test_option_of_the_suite_needs_the_suite(project: Project, option: str) -> None:
    """Catches: CI that requires a verdict, gets none, and is green."""
    project.write(test_own__py="def test_own(): pass")
    needed = f"{option.partition('=')[0]} has an effect in a conformance run only"
    for environment in ({}, {"FSM_CONFORMANCE": "0"}):
        ended = project.pytest(option, **environment)
        assert ended.status == pytest.ExitCode.USAGE_ERROR
        assert f"{needed}: add --fsm-conformance" in ended.output


def test_option_of_the_suite_is_ignored_in_addopts(project: Project) -> None:
    """Catches: a project that cannot keep the options of its conformance job in its ini file."""
    project.write(
        test_own__py="def test_own(): pass",
        pytest__ini="[pytest]\naddopts = --fsm-strict\nfsm_require = conformant\n",
        fsmredir__yaml="check: OUT-001",
    )
    ended = project.pytest("--fsm-ip=4", "--fsm-init-cmd=true", FSM_REPORT="out")
    assert ended.status == pytest.ExitCode.OK
    for option in ("--fsm-list", "--fsm-explain=OUT-001", "--help"):
        assert project.pytest(option, "--fsm-check=OUT-001").status == pytest.ExitCode.OK


def test_backend_without_its_packages_names_the_install_command(project: Project) -> None:
    """Catches: an ImportError traceback for users who installed the plugin without extras."""
    project.write(conftest__py="import sys; sys.modules['requests'] = None")
    done = project.conform("--fsm-backend", "kind")

    assert done.status == 4
    assert "pip install 'pytest-fsmredir[kind]'" in done.output
    assert "Traceback" not in done.output


def test_explain_takes_patterns(project: Project) -> None:
    """Catches: "no check is called 'RES-*'", although ``--fsm-check`` accepts the pattern."""
    ended = project.pytest("--fsm-explain=RES-00[12],RES-001")
    heads = [line[:7] for line in ended.output.splitlines() if line.startswith("RES-")]
    assert (ended.status, heads) == (0, ["RES-001", "RES-002"])


def test_list_shows_the_selected_checks(project: Project) -> None:
    """Catches: a ``--fsm-check`` that ``--fsm-list`` ignores."""
    ended = project.pytest("--fsm-list", "--fsm-check=UID-00[12]")
    heads = [line[:7] for line in ended.output.splitlines() if line.startswith(("UID", "OUT"))]
    assert (ended.status, heads) == (0, ["UID-001", "UID-002"])
    wrong = project.pytest("--fsm-list", "--fsm-check=UDI-001")
    assert wrong.status == pytest.ExitCode.USAGE_ERROR
    assert "--fsm-check: no check is called 'UDI-001'" in wrong.output


def test_pods_on_network_namespaces_cannot_be_kept(project: Project) -> None:
    """Catches: an option that is accepted and does nothing."""
    ended = project.conform("--fsm-keep", "--fsm-check=OUT-001")
    assert ended.status == pytest.ExitCode.USAGE_ERROR
    assert "--fsm-keep: a pod on network namespaces ends with the process" in ended.output


def test_forked_checks_are_refused(project: Project) -> None:
    """Catches: a wrong verdict, or a crash, because pytest-forked runs each check in a process."""
    project.write(
        conftest__py="def pytest_addoption(parser):\n"
        "    parser.addoption('--forked', action='store_true')\n"
    )
    ended = project.conform("--forked", "--fsm-check=OUT-001")
    assert ended.status == pytest.ExitCode.USAGE_ERROR
    assert "--forked: checks share pods" in ended.output


def test_mesh_of_a_cluster_is_not_judged_by_several_processes(project: Project) -> None:
    """Catches: a worker whose checks all end in an error, as another one has the mesh's lists."""
    ended = project.conform(
        "--fsm-backend=kind", "--fsm-inject=webhook", "-n2", "--fsm-check=OUT-001"
    )
    assert ended.status == pytest.ExitCode.USAGE_ERROR
    assert "several processes would disturb each other; run it without -n" in ended.output


def test_invalid_choice_is_refused_in_a_run_of_own_tests(project: Project) -> None:
    """Catches: a value that only a conformance run rejects, although fixtures use it too."""
    project.write(test_own__py="def test_own(): pass")
    ended = project.pytest("--fsm-iptables=nftt")
    assert ended.status == pytest.ExitCode.USAGE_ERROR
    assert "--fsm-iptables: 'nftt' is not one of auto, nft" in ended.output
    assert "did you mean 'nft'" in ended.output


def test_value_of_an_option_does_not_choose_the_root_directory(project: Project) -> None:
    """Catches: a run that ignores the project's waivers, or takes another project's settings."""
    own, other = project.path / "own", project.path / "other"
    for folder in (own, other):
        folder.mkdir()
        (folder / "my.rules").write_text("*nat\nCOMMIT\n")
    (own / "fsmredir.yaml").write_text("ip: 4\nwaivers: []\n")
    (own / "pytest.ini").write_text("[pytest]\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(own)
        spaced = project.conform("--co", "-q", "--fsm-rules", "../other/my.rules")
        joined = project.conform("--co", "-q", "--fsm-rules=../other/my.rules")
        (own / "pytest.ini").unlink()
        without = project.conform("--co", "-q", "--fsm-rules", "../other/my.rules")
        here = project.conform("--co", "-q", "--fsm-rules", "my.rules")

    assert spaced.status == pytest.ExitCode.USAGE_ERROR
    assert "write --fsm-rules=../other/my.rules, with =" in spaced.output
    for ended in (joined, without, here):
        assert ended.status == pytest.ExitCode.OK
        assert "OUT-001[netns-nft-v4]" in ended.output
        assert "OUT-001[netns-nft-v6]" not in ended.output

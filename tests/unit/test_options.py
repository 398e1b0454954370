"""Settings from the command line, the options file, the environment and the ini file."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_fsmredir.config.option import Option
from pytest_fsmredir.config.options import OPTIONS
from pytest_fsmredir.config.parsing import Given
from pytest_fsmredir.config.settings import KubernetesSettings, Settings
from pytest_fsmredir.errors import SettingsError

if TYPE_CHECKING:
    from tests.unit.conftest import Project

METADATA = """\
implementation:
  organization: ACME
  project: acme-mesh
  url: https://example.com
  version: 1.30
  contact: [someone@example.com]
"""


def test_defaults_judge_the_reference(project: Project) -> None:
    """Catches: a first run that needs options."""
    settings = project.settings()
    assert (settings.impl, settings.init_cmd, settings.rules) == ("reference", "", None)
    assert settings.families == (4, 6)
    assert settings.texts == {}


def test_every_layer_wins_over_the_next(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a file that overrides the command line, or an ini file that overrides variables."""
    seen = [project.settings().timeout_s]
    project.ini["fsm_timeout"] = "1"
    seen.append(project.settings().timeout_s)
    monkeypatch.setenv("FSM_TIMEOUT", "2")
    seen.append(project.settings().timeout_s)
    project.write("timeout: 3")
    seen.append(project.settings().timeout_s)
    seen.append(project.settings(timeout="4").timeout_s)
    assert seen == [5, 1, 2, 3, 4]


def test_generated_policies_are_a_number_or_a_part(project: Project) -> None:
    """Catches: a resumed run leaves out a policy, or tries one twice."""
    assert project.settings(fuzz="0").fuzz == range(0)
    assert project.settings(fuzz="200").fuzz == range(200)
    assert project.settings(fuzz="58-200").fuzz == range(57, 200)
    for wrong in ("-5", "0-3", "5-3", "3-", "many", "1-2-3", "1.5"):
        with pytest.raises(SettingsError, match="write 50, or 21-50"):
            project.settings(fuzz=wrong)


def test_options_file_accepts_all_options_except_a_few(project: Project) -> None:
    """Catches: an option that the file does not accept."""
    project.write(
        "init-cmd: sh init.sh\ncheck: [OUT-*, IN-001]\nprofile: core\niptables: both\nip: 4\n"
        "exhaustive: yes\nstrict: true\nrequire: none\nreport: out\nprivilege: root\n"
        "timeout: 1.5\ninit-timeout: 9\nseed: 7\nfeatures: [ipv6]\nwaivers: []\n"
    )
    settings = project.settings()
    assert settings.init_cmd == "sh init.sh"
    assert settings.checks == ("OUT-*", "IN-001")
    assert (settings.iptables, settings.families) == ("both", (4,))
    assert (settings.exhaustive, settings.strict, settings.seed) == (True, True, 7)
    assert settings.report == project.path / "out"
    assert settings.features == {f"{project.path}/fsmredir.yaml: features": ("ipv6",)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iptable: nft", "iptable: no such key; did you mean 'iptables'"),
        ("init_cmd: x", "init_cmd: no such key; did you mean 'init-cmd'"),
        ("iptables: nftt", r"fsmredir.yaml: iptables: 'nftt' is not one of .*; did you mean 'nft'"),
        ("strict: maybe", "fsmredir.yaml: strict: 'maybe' is neither true nor false"),
        ("timeout: soon", "'soon' is not a number of seconds"),
        ("seed: -1", "'-1' is not a whole number"),
        ("timeout: [1]", "timeout: .* must be a string"),
        ("check: {a: b}", "check: .* must be a string or a list of strings"),
        ("conformance: true", "give this one as --fsm-conformance, not in this file"),
        ("- a\n- b", "the file must be a mapping"),
        ("strict: true\nstrict: false", "line 2, column 1: the key 'strict' is given twice"),
        ("a: [b", "line 1, column"),
        ("a: &x [*x]", "recursive"),
        ("check: " + 500 * "[" + 500 * "]", "nested too deeply"),
    ],
)
def test_bad_options_file_is_refused(project: Project, text: str, message: str) -> None:
    """Catches: a misspelled key that is ignored, or an error that does not say where."""
    file = project.write(text)
    with pytest.raises(SettingsError, match=message) as caught:
        project.settings()
    assert str(caught.value).startswith(str(file))


def test_options_file_cannot_create_python_objects(project: Project) -> None:
    """Catches: a file from an untrusted source that runs code when it is read."""
    project.write("init-cmd: !!python/object/apply:os.system ['touch owned']")
    with pytest.raises(SettingsError):
        project.settings()
    assert not (project.path / "owned").exists()


def test_named_options_file_must_exist(project: Project) -> None:
    """Catches: a misspelled ``--fsm-options`` that means "no options"."""
    with pytest.raises(SettingsError, match=r"nowhere\.yaml: No such file"):
        project.settings(options="nowhere.yaml")


def test_binary_options_file_is_refused(project: Project) -> None:
    """Catches: a traceback for a binary file."""
    (project.path / "fsmredir.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="not UTF-8"):
        project.settings()


def test_options_file_is_read_only_if_the_suite_runs(project: Project) -> None:
    """Catches: a broken options file that stops a project's own tests."""
    project.write("nonsense: [")
    assert not project.settings(conformance=False).conformance


def test_paths_in_the_options_file_are_relative_to_it(project: Project) -> None:
    """Catches: a rules file that is found from one directory only."""
    (project.path / "sub").mkdir()
    project.write("rules: rules.v4", "sub/own.yaml")
    assert project.settings(options="sub/own.yaml").rules == project.path / "sub" / "rules.v4"


def test_higher_layer_selects_the_implementation(project: Project) -> None:
    """Catches: a command on the command line that loses to, or conflicts with, one in the file."""
    project.write("rules: rules.v4")
    settings = project.settings(init_cmd="true")
    assert (settings.init_cmd, settings.rules, settings.impl) == ("true", None, "")


def test_two_implementations_of_one_layer_are_refused(project: Project) -> None:
    """Catches: a run that judges another implementation than the user expects."""
    with pytest.raises(SettingsError, match="--fsm-impl and --fsm-init-cmd each name"):
        project.settings(impl="reference", init_cmd="true")
    with pytest.raises(SettingsError, match="--fsm-init-cmd and --fsm-rules each name"):
        project.settings(init_cmd="true", rules="x")
    project.write("init-cmd: 'true'\nrules: x")
    with pytest.raises(SettingsError, match=r"yaml: init-cmd and .*yaml: rules each name"):
        project.settings()


@pytest.mark.parametrize("name", ["impl", "init-cmd", "rules", "init-image"])
def test_empty_implementation_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Catches: an empty shell variable, so that the run certifies the reference instead."""
    key = "fsm_" + name.replace("-", "_")
    empty = "the value is empty, and does not say what is to be judged"
    with pytest.raises(SettingsError, match=f"^--fsm-{name}: {empty}"):
        project.settings({key[4:]: ""})
    project.ini[key] = ""
    with pytest.raises(SettingsError, match=f"^ini {key}: {empty}"):
        project.settings()
    monkeypatch.setenv(key.upper(), " ")
    with pytest.raises(SettingsError, match=f"^{key.upper()}: {empty}"):
        project.settings()
    project.write(f"{name}:")
    with pytest.raises(SettingsError, match=rf"fsmredir.yaml: {name}: {empty}"):
        project.settings()
    assert project.settings({key[4:]: "reference"}).conformance


def test_empty_name_of_the_options_file_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: a run without the file that names the implementation."""
    monkeypatch.setenv("FSM_OPTIONS", "")
    with pytest.raises(SettingsError, match=r"^FSM_OPTIONS: the value is empty"):
        project.settings()


def test_reference_is_not_judged_under_a_vendors_name(project: Project) -> None:
    """Catches: a certificate that says ACME for a run that judged the reference."""
    project.write(METADATA)
    with pytest.raises(SettingsError, match="describes acme-mesh but not how to run it"):
        project.settings()
    assert not project.settings(conformance=False).conformance
    named = [
        {"init_cmd": "true"},
        {"impl": "reference"},
        {"init_image": "acme/init", "backend": "kind"},
        {"backend": "cluster"},
    ]
    for given in named:
        assert project.settings(given).identity.project == "acme-mesh"


def test_features_are_collected_from_the_lowest_layer_up(project: Project) -> None:
    """Catches: a change on the command line that drops what the file declares."""
    project.write("features: [ipv6, hairpin]")
    assert list(project.settings(features="-hairpin").features.values()) == [
        ("ipv6", "hairpin"),
        ("-hairpin",),
    ]


def test_empty_list_of_features_claims_nothing(project: Project) -> None:
    """Catches: an empty list that is read as a claim of every feature."""
    assert project.settings().features == {}
    project.write("features: []")
    assert list(project.settings().features.values()) == [()]


def test_metadata_is_taken_as_written(project: Project) -> None:
    """Catches: a version 1.30 that YAML turns into 1.3."""
    project.write(METADATA)
    identity = project.settings(init_cmd="true").identity
    assert (identity.project, identity.version, identity.mode) == ("acme-mesh", "1.30", "default")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("implementation: acme", "must be a mapping"),
        ("implementation: {projct: x}", "projct: no such key; did you mean 'project'"),
        ("implementation: {project: x}", "implementation.version is missing"),
        ("implementation: {version: 1}", "implementation.project is missing"),
        ("implementation: {project: x, version: main}", "'main' is a branch"),
        ("implementation: {project: x, version: 1, url: acme}", "must be an http or https URL"),
        ("implementation: {project: x, version: 1, contact: []}", "contact"),
        ("implementation: {project: [x], version: 1}", "must be a string"),
    ],
)
def test_bad_metadata_is_refused(project: Project, text: str, message: str) -> None:
    """Catches: a report without a vendor, or about a moving target such as "latest"."""
    project.write(text)
    with pytest.raises(SettingsError, match=message):
        project.settings()


def test_report_needs_complete_metadata_before_the_run(project: Project) -> None:
    """Catches: a vendor who learns after the run that the report cannot be submitted."""
    project.write("implementation: {project: x, version: 1}")
    assert project.settings(init_cmd="true").identity.project == "x"
    with pytest.raises(SettingsError, match="also needs organization, url and contact"):
        project.settings(report="out", init_cmd="true")


def test_waivers_of_both_files_are_used(project: Project) -> None:
    """Catches: waivers that are dropped because another file has some too."""
    listed = "[{id: OUT-001, reason: r, link: 'https://example.com/1'}]"
    project.write(f"waivers: {listed}")
    project.write(listed.replace("001", "002"), "list.yaml")
    project.write(f"waivers: {listed.replace('001', '003')}", "keyed.yaml")
    seen = [
        project.settings(),
        project.settings(waivers="list.yaml"),
        project.settings(waivers="keyed.yaml"),
    ]
    assert [[waiver.id for waiver in each.waivers] for each in seen] == [
        ["OUT-001"], ["OUT-002"], ["OUT-003"],
    ]  # fmt: skip


def test_backends_make_a_matrix(project: Project) -> None:
    """Catches: a named backend that is left out, or a variant that the mesh does not have."""
    settings = project.settings(backend="netns, kind,netns", iptables="both", ip="4")

    assert list(map(str, settings.variants("nft"))) == [
        "netns-nft-v4", "netns-legacy-v4", "kind-nft-v4", "kind-legacy-v4",
    ]  # fmt: skip
    assert list(map(str, project.settings(backend="cluster", ip="4").variants("legacy"))) == [
        "cluster-webhook-v4"
    ]
    manual = project.settings(backend="cluster", inject="manual", ip="4")
    assert list(map(str, manual.variants("legacy"))) == ["cluster-nft-v4"]


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("kid", "--fsm-backend: no backend is called 'kid'; did you mean 'kind'"),
        (" , ", "--fsm-backend: name a backend: netns, kind, cluster"),
    ],
)
def test_unknown_backend_is_refused(project: Project, backend: str, message: str) -> None:
    """Catches: a misspelled backend that is replaced by the default one."""
    with pytest.raises(SettingsError, match=message):
        project.settings(backend=backend)


def test_nodes_are_points_of_the_matrix(project: Project) -> None:
    """Catches: two nodes that share an id, or an id that ``-k`` cannot select."""
    settings = project.settings(backend="netns,kind", nodes="a.b,c", iptables="nft", ip="4")
    variants = settings.variants("nft", {"kind": ["a.b", "c"]})

    assert settings.kubernetes.nodes == ("a.b", "c")
    assert list(map(str, variants)) == ["netns-nft-v4", "kind:a.b-nft-v4", "kind:c-nft-v4"]
    assert settings.again("OUT-001", variants[1]).endswith(
        "--fsm-backend kind --fsm-nodes a.b --fsm-iptables nft --fsm-ip 4 --fsm-check OUT-001"
    )


def test_options_file_accepts_a_list_of_nodes(project: Project) -> None:
    """Catches: an option that works on the command line only."""
    project.write("backend: kind\nnodes: [a, b]\n")
    assert project.settings().kubernetes.nodes == ("a", "b")


@pytest.mark.parametrize(
    ("backend", "nodes", "message"),
    [
        ("netns", "w-1", "the backend netns has no nodes: add --fsm-backend kind or cluster"),
        ("kind", "all,w-1", "'all' cannot be combined with node names"),
    ],
)
def test_meaningless_nodes_are_refused(
    project: Project, backend: str, nodes: str, message: str
) -> None:
    """Catches: an option that is silently ignored."""
    with pytest.raises(SettingsError, match=message):
        project.settings(backend=backend, nodes=nodes)


def test_node_named_twice_is_judged_once(project: Project) -> None:
    """Catches: two items with the same id."""
    assert project.settings(backend="kind", nodes="b,a,b").kubernetes.nodes == ("b", "a")


def test_each_field_of_the_settings_has_one_source() -> None:
    """Catches: a field that two rows set, or a row whose field does not exist."""
    set_by_rows = sorted(option.field for option in OPTIONS if option.field)
    made = {"kubernetes", "init_cmd_base", "identity", "where", "texts", "repeat"}
    plain = {field.name for field in fields(Settings)} - made
    in_pods = {field.name for field in fields(KubernetesSettings)} - {"pytest_kind"}
    assert set_by_rows == sorted(plain | {f"kubernetes.{name}" for name in in_pods})


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_default_of_each_option_is_valid(option: Option) -> None:
    """Catches: a row that names a parser that does not exist, or whose own default is invalid."""
    option.read(Given(option.default, "", Path()))


INVALID = {"ip": "5", "require": "perfect", "timeout": "soon", "seed": "-1", "profile": "cor"}


@pytest.mark.parametrize("name", INVALID)
def test_message_is_the_same_for_every_source(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Catches: a value that one source rejects in other words, or accepts."""
    key = f"fsm_{name}"
    messages = []

    def refused(**typed: str) -> None:
        with pytest.raises(SettingsError) as caught:
            project.settings(typed)
        messages.append(str(caught.value))

    refused(**{name: INVALID[name]})
    project.ini[key] = INVALID[name]
    refused()
    monkeypatch.setenv(key.upper(), INVALID[name])
    refused()
    file = project.write(f"{name}: '{INVALID[name]}'")
    refused()
    sources = [f"--fsm-{name}", f"ini {key}", key.upper(), f"{file}: {name}"]
    (text,) = {
        message.removeprefix(source) for message, source in zip(messages, sources, strict=True)
    }
    assert text.startswith(": ")
    assert repr(INVALID[name]) in text

"""The fixtures in a user's project."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.plugin.conftest import Project

EXAMPLE = Path(__file__).parents[2] / "docs" / "example"

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("namespaces")]


@pytest.fixture
def example(project: Project) -> Project:
    """A copy of the example of the documentation."""
    shutil.copytree(EXAMPLE, project.path, dirs_exist_ok=True)
    return project


def test_example_passes_with_the_reference(example: Project) -> None:
    """Catches: an example that does not run."""
    done = example.pytest("-q", "-W", "error")

    assert "7 passed" in done.output


def test_example_fails_without_redirection(example: Project) -> None:
    """Catches: fixtures that make every implementation pass."""
    done = example.pytest("-q", "--fsm-init-cmd", "true")

    assert "5 failed, 2 passed" in done.output
    assert "expected captured outbound; seen accepted by the destination itself" in done.output


def test_implementation_is_one_fixture(project: Project) -> None:
    """Catches: a user's implementation that needs registration before a test can use it."""
    project.write(
        conftest__py="""
        import pytest

        class Mine:
            name, features = "mine", frozenset()

            def program(self, target):
                rule = "OUTPUT -t nat -p tcp --dport 81 -j REDIRECT --to-ports 15001"
                assert target.run(["iptables", "-A", *rule.split()]).status == 0

        @pytest.fixture(scope="session")
        def fsm_implementation():
            return Mine()
        """.replace("\n        ", "\n"),
        test_mine__py="""
        def test_port(fsm_pod, fsm_mesh):
            assert fsm_pod.connect(fsm_mesh.server, 81).captured_outbound
            assert fsm_pod.connect(fsm_mesh.server, 80).direct
        """.replace("\n        ", "\n"),
    )
    assert "1 passed" in project.pytest("-q").output


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("mesh_config={'nope': [1]}", "MeshConfig spec.traffic.nope: no such list"),
        ("mesh_config={'outboundPortExclusionList': '5432'}", "'5432' is not a list"),
        ("annotations={'flomesh.io/outbound-port-exclusion-list': 5432}", "5432 must be a string"),
        (
            "annotations={'flomesh.io/outbound-port-exclusion': '5432'}",
            "did you mean flomesh.io/outbound-port-exclusion-list?",
        ),
    ],
)
def test_invalid_pod_settings_are_an_error_of_the_test(
    project: Project, settings: str, words: str
) -> None:
    """Catches: a wrong setting that is changed silently, or that is blamed on the command."""
    project.write(
        test_it__py=f"""
        import pytest

        @pytest.mark.fsm_pod({settings})
        def test_marker(fsm_pod): pass

        def test_call(fsm_mesh): fsm_mesh.try_pod({settings})
        """.replace("\n        ", "\n"),
    )
    done = project.pytest("-q", "--fsm-init-cmd", "false")

    assert "1 failed, 1 error" in done.output
    assert words in done.output
    assert "refused" not in done.output


def test_marker_accepts_the_example_of_its_help(project: Project) -> None:
    """Catches: positional annotations of the marker that are silently dropped."""
    project.write(
        test_it__py="""
        import pytest

        LIST = {"flomesh.io/outbound-port-exclusion-list": "5432"}

        @pytest.mark.fsm_pod(LIST, {"outboundPortExclusionList": [5433]})
        def test_both(fsm_pod, fsm_mesh):
            assert fsm_pod.connect(fsm_mesh.server, 5432).direct
            assert fsm_pod.connect(fsm_mesh.server, 5433).direct

        @pytest.mark.fsm_pod(LIST, fresh=True, second_interface=True)
        def test_rest(fsm_pod, fsm_mesh, fsm_second_interface):
            assert fsm_pod.connect(fsm_mesh.server, 5432).direct
            assert fsm_second_interface.interface_address(fsm_pod)
        """.replace("\n        ", "\n")
    )
    assert "2 passed" in project.pytest("-q").output


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("anotations={}", "got an unexpected keyword argument 'anotations'; it takes annotations,"),
        ("{}, annotations={}", "multiple values for argument 'annotations'; it takes annotations,"),
        ("{}, {}, True", "too many positional arguments; it takes annotations, mesh_config, fresh"),
    ],
)
def test_marker_with_other_arguments_is_refused(project: Project, said: str, words: str) -> None:
    """Catches: a traceback from inside the plugin for a misspelled argument of the marker."""
    project.write(
        test_it__py=f"import pytest\n@pytest.mark.fsm_pod({said})\ndef test_it(fsm_pod): pass"
    )
    assert f"ConfigurationError: marker fsm_pod: {words}" in project.pytest("-q").output


def test_families_and_variants_have_plain_ids(project: Project) -> None:
    """Catches: a parameter with an ambiguous id, or one that only the first test's mesh accepts."""
    project.write(
        test_it__py="""
        import pytest

        @pytest.mark.parametrize("fsm_iptables", ["nft", "legacy"])
        def test_plain(fsm_iptables, fsm_mesh, fsm_pod):
            assert fsm_mesh.iptables.name == fsm_iptables.upper()

        @pytest.mark.parametrize("fsm_iptables", ["nft", "legacy"], indirect=True)
        @pytest.mark.parametrize("fsm_family", [4, 6], indirect=True)
        def test_indirect(request, fsm_mesh, fsm_pod):
            assert request.node.name == f"test_indirect[{fsm_mesh.family}-{fsm_mesh.iptables}]"
            assert fsm_pod.connect(fsm_mesh.server, 80).captured_outbound
        """.replace("\n        ", "\n")
    )
    assert "6 passed" in project.pytest("-q").output


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("fsm_family", "5", "5 is not an IP version of the pods, which have 4 and 6"),
        ("fsm_family", "'4'", "'4' is not an IP version of the pods, which have 4 and 6"),
        ("fsm_iptables", "'ntf'", "'ntf' is not a variant of iptables; those are nft and legacy"),
        ("fsm_iptables", "None", "None is not a variant of iptables; those are nft and legacy"),
    ],
)
def test_family_or_variant_that_does_not_exist_is_named(
    project: Project, name: str, value: str, words: str
) -> None:
    """Catches: ``KeyError: 5`` from inside the plugin."""
    project.write(
        test_it__py="def test_it(fsm_pod): pass",
        conftest__py=f"import pytest\n@pytest.fixture\ndef {name}(): return {value}",
    )
    assert f"SettingsError: {name}: {words}" in project.pytest("-q").output


def test_family_that_is_left_out_is_named(project: Project) -> None:
    """Catches: ``StopIteration`` for an IPv6 test in a run of IPv4 only."""
    project.write(
        test_it__py="""
        import pytest

        @pytest.mark.parametrize("fsm_family", [6])
        def test_it(fsm_family, fsm_pod): pass
        """.replace("\n        ", "\n")
    )
    done = project.pytest("-q", "--fsm-ip", "4")

    assert "fsm_family: 6 is not an IP version of the pods, which have 4" in done.output


def test_unprivileged_worker_suggests_a_command_for_the_same_tests(project: Project) -> None:
    """Catches: a suggested command that runs the suite in place of the user's tests."""
    project.write(
        conftest__py="""
        from pytest_fsmredir.backends.netns import privileges

        privileges.find = lambda *_: ""
        privileges.id_range = lambda *_: (100000, 65536)
        """.replace("\n        ", "\n"),
        test_it__py="def test_it(fsm_pod): pass",
    )
    arguments = ["-n2", "--fsm-privilege=rootless", "-k", "it or that"]
    line = "run: unshare --user --map-auto --map-root-user .*pytest .*-n2 .* -k 'it or that'"

    assert re.search(line, project.pytest(*arguments).output)


def test_missing_prerequisite_is_an_error_with_its_remedy(project: Project) -> None:
    """Catches: a skipped test that looks like a passed one."""
    project.write(test_it__py="def test_it(fsm_pod): pass")
    done = project.pytest("--fsm-backend", "cluster", "--fsm-inject", "manual")

    assert "1 error" in done.output
    assert "--fsm-pod-image IMAGE" in done.output


USES_A_POD = """
def test_something(fsm_pod):
    pass
"""
BUILT_IN = "fsm-redir fixtures: pods are programmed by reference, which is built in: nothing names"


@pytest.mark.parametrize("workers", ["0", "2"])
def test_built_in_implementation_is_named(project: Project, workers: str) -> None:
    """Catches: a user's tests that silently judge the reference implementation."""
    if workers != "0":
        pytest.importorskip("xdist")
    project.write(test_it__py=USES_A_POD)
    assert project.pytest("--collect-only", "-n", workers).output.count(BUILT_IN) == 1


def test_selected_implementation_is_named(project: Project) -> None:
    """Catches: a header that names the built-in implementation although another one is judged."""
    project.write(test_it__py=USES_A_POD)
    ended = project.pytest("--collect-only", "--fsm-init-cmd", "true")
    assert "fsm-redir fixtures: pods are programmed by true" in ended.output
    project.write(
        conftest__py="import pytest\n@pytest.fixture\ndef fsm_implementation(): ...\n",
    )
    ended = project.pytest("--collect-only")
    assert "programmed by the fixture fsm_implementation of conftest" in ended.output


def test_tests_without_pods_name_no_implementation(project: Project) -> None:
    """Catches: a header line in every run of an environment that has the plugin."""
    project.write(test_it__py="def test_it(): ...\n")
    assert "fsm-redir" not in project.pytest("--collect-only").output


def test_options_file_of_the_project_applies_in_a_subdirectory(project: Project) -> None:
    """Catches: no options in a subdirectory, which pytest takes as root without an ini file."""
    project.write(fsmredir__yaml="init-cmd: 'true'\n")
    below = project.path / "tests" / "unit"
    below.mkdir(parents=True)
    (below / "test_it.py").write_text(USES_A_POD)
    ended = project.pytest("--collect-only", "--rootdir", str(below), str(below))
    assert "fsm-redir fixtures: pods are programmed by true" in ended.output


MANY_THREADS = """
from concurrent.futures import ThreadPoolExecutor

def test_threads(fsm_mesh):
    pods = [fsm_mesh.pod(fresh=True), fsm_mesh.pod(fresh=True)]

    def connect(thread):
        pod = pods[thread % 2]
        fates = [pod.connect(fsm_mesh.server, 8000 + n) for n in range(50)]
        fates += [fsm_mesh.client.connect(pod, 9000 + n) for n in range(48)]
        with pod.open(fsm_mesh.server, 8080) as connection:
            assert connection.echoes(b"hello", 10)
        assert pod.datagram(fsm_mesh.server, 53).direct
        return [bool(fate.captured_outbound) for fate in fates[:50]] + [
            bool(fate.captured_inbound) for fate in fates[50:]
        ]

    with ThreadPoolExecutor(32) as threads:
        results = list(threads.map(connect, range(32)))
    assert [len(each) for each in results] == [98] * 32
    assert all(map(all, results))
"""


def test_threads_may_share_pods(project: Project) -> None:
    """Catches: "Address already in use", or a path with hops of another thread's flows."""
    project.write(test_threads__py=MANY_THREADS)
    assert "1 passed" in project.pytest("-q").output


USES_FACETS = """
from pytest_fsmredir import Address, forge

def test_programmer(fsm_mesh, fsm_programmer):
    pod = fsm_mesh.bare_pod()
    assert pod.connect(fsm_mesh.server, 8080).direct
    fsm_programmer.program(pod)
    assert pod.connect(fsm_mesh.server, 8080).captured_outbound

def test_sidecars(fsm_pod, fsm_mesh, fsm_sidecars):
    with fsm_sidecars.stopped(fsm_pod):
        assert fsm_pod.connect(fsm_mesh.server, 8080).unanswered

def test_packets(fsm_pod, fsm_mesh, fsm_taps, fsm_forged_packets):
    sent = forge.udp(Address(fsm_pod.address, 7), Address(fsm_mesh.server.address, 9), b"x")
    with fsm_taps.of(fsm_pod) as tap:
        fsm_forged_packets.inject(fsm_pod, sent)
        tap.expect_unchanged("the datagram", sent)

def test_programs(fsm_pod, fsm_foreign_programs, fsm_kernel_settings):
    with fsm_kernel_settings.changed(fsm_pod, {"ipv4/tcp_ecn": "1"}):
        done = fsm_foreign_programs.run(fsm_pod, ["cat", "/proc/sys/net/ipv4/tcp_ecn"])
        assert done.stdout == "1\\n"

def test_cluster(fsm_workloads): ...
"""


def test_facets_are_fixtures(project: Project) -> None:
    """Catches: a facet that only the checks get, or a missing one without a name."""
    project.write(test_facets__py=USES_FACETS)
    ended = project.pytest("-q")
    assert "4 passed, 1 error" in ended.output, ended.output
    assert "this backend does not offer Workloads: workloads, services and probes" in ended.output

"""The agent, its link and the plan of pods; needs no cluster."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from pytest_fsmredir.agent.commands import Commands
from pytest_fsmredir.agent.forms import SPAN, Report, acceptance_form, sighting_of
from pytest_fsmredir.agent.pod import NumberedEngine
from pytest_fsmredir.agent.preparation import preparation_form, prepared_by
from pytest_fsmredir.backends.base import Mesh
from pytest_fsmredir.backends.kubernetes.agents.acceptance_log import AcceptanceLog
from pytest_fsmredir.backends.kubernetes.agents.access import BOOTSTRAP, added_container, pieces
from pytest_fsmredir.backends.kubernetes.agents.archive import agent_archive
from pytest_fsmredir.backends.kubernetes.agents.link import AgentLink, Command
from pytest_fsmredir.backends.kubernetes.mesh.planning import UNKNOWN, is_final, plan
from pytest_fsmredir.backends.kubernetes.pods.states import PodStage, state_of
from pytest_fsmredir.backends.protocols import Wanted
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.flow import Acceptance, Acceptor, Address
from pytest_fsmredir.traffic.socket_options import with_number

NFT = IptablesVariant.NFT
LIST = "flomesh.io/outbound-ip-range-exclusion-list"


@pytest.fixture
def agent() -> Iterator[Commands]:
    commands = Commands(NumberedEngine())
    commands.hello(number=7, timeout_s=2.0)
    yield commands
    commands.engine.close()


def lingering(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def test_flow_is_reported_with_the_agents_own_serial_number(agent: Commands) -> None:
    """Catches: acceptances of two agents are confused."""
    listening = agent.listen(["127.0.0.1", 18111])
    _, form = agent.open(["127.0.0.1", 18111])
    agent.unlisten(listening)
    report = Report.of(form)

    assert report.lost is None
    assert report.answered_by is not None
    assert report.answered_by.by is Acceptor.ORIGIN
    assert report.answered_by.serial == 7 * SPAN


def test_kept_connection_carries_bytes(agent: Commands) -> None:
    """Catches: a kept connection is closed before the check uses it."""
    listening = agent.listen(["127.0.0.1", 18112])
    number, _ = agent.open(["127.0.0.1", 18112], keep=True)
    echoed, _ = agent.exchange(number, "aGVsbG8=", within_s=2.0)
    agent.close(number)
    agent.unlisten(listening)

    assert echoed == "aGVsbG8="


def test_preparation_travels_as_text() -> None:
    """Catches: a socket option of the check is not set in the pod."""
    prepare = prepared_by(preparation_form(lingering))
    with socket.socket() as sock:
        assert prepare is not None
        prepare(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def setting(option: int, value: int, sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, option, value)


def preparing(what: object, sock: socket.socket) -> None:
    del what, sock


def test_arguments_of_a_preparation_travel() -> None:
    """Catches: a socket option has another value in the pod than in the check."""
    prepare = prepared_by(preparation_form(partial(setting, socket.SO_PRIORITY, 5)))
    with socket.socket() as sock:
        assert prepare is not None
        prepare(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY) == 5


def unusual(sock: socket.socket) -> None:
    with_number(socket.SO_PRIORITY, 6, sock)


def test_preparation_may_use_a_function_of_the_package() -> None:
    """Catches: a check that shares a function with others has no fate in a cluster."""
    prepare = prepared_by(json.loads(json.dumps(preparation_form(unusual))))
    with socket.socket() as sock:
        assert prepare is not None
        prepare(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY) == 6


def test_preparation_that_cannot_travel_is_refused() -> None:
    """Catches: a preparation silently does something else in the pod."""
    with pytest.raises(ValueError, match="is not a plain function"):
        preparation_form(lambda sock: None)
    with pytest.raises(ValueError, match="cannot be sent"):
        preparation_form(partial(preparing, object()))


def test_archive_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    """Catches: the agent starts only where this package's dependencies are installed."""
    archive = tmp_path / "agent.pyz"
    archive.write_bytes(agent_archive())
    for arguments in (["stdio", "app"], ["reference", "print"]):
        argv = [sys.executable, "-I", "-S", str(archive), *arguments]
        done = subprocess.run(  # run the archive and not the installed package
            argv, input=b"", capture_output=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr


def test_commands_for_another_agent_are_passed_on(tmp_path: Path) -> None:
    """Catches: the sidecar of a pod gets no commands, or its replies are taken for the agent's."""
    code = """
import sys
from pytest_fsmredir.agent import server
server.SOCKETS = sys.argv[1]
agent = server.Server()
agent.attend("app", {})
agent.run()
"""
    argv = [sys.executable, "-c", code, str(tmp_path)]
    with (
        socket.socket(socket.AF_UNIX) as sidecar,
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as agent,
    ):
        sidecar.bind(str(tmp_path / "sidecar.sock"))
        sidecar.listen()
        assert agent.stdin is not None
        assert agent.stdout is not None
        agent.stdin.write(b'sidecar\t["stop", {}]\napp\t["nothing", {}]\n')
        agent.stdin.flush()
        caller, _ = sidecar.accept()
        with caller:
            assert caller.recv(100) == b'["stop", {}]\n'
            assert agent.stdout.readline().startswith(b'app\t{"error"')
            caller.sendall(b'{"result": 1}\n')
            assert agent.stdout.readline() == b'sidecar\t{"result": 1}\n'
        assert agent.wait(30) == 1  # the sidecar has ended


def test_port_of_another_program(agent: Commands) -> None:
    """Catches: a port in use by the user's application ends the check, or is not served."""
    with socket.create_server(("127.0.0.1", 18113)):
        assert agent.listen(["127.0.0.1", 18113], unless_taken=True) == 0
        with pytest.raises(OSError, match="already in use"):
            agent.listen(["127.0.0.1", 18113])
    agent.unlisten(0)


def test_silent_connection_is_held_until_the_witness_has_looked(agent: Commands) -> None:
    """Catches: a flow to a server that waits for a request is lost before the witness looks."""
    with socket.create_server(("127.0.0.1", 18114)):
        ((number, form, seen),) = agent.hold([["127.0.0.1", 18114]], 0.0, ["10.0.0.1"])
        assert (Report.of(form).lost, Report.of(form).connected) == (None, True)
        assert not sighting_of(seen).accepted  # the server belongs to this process

        agent.hello(number=7, timeout_s=0.1)
        ((_, form, _),) = agent.wait([number])
        assert Report.of(form).lost == "no answer"
        agent.close_all([number])


def test_agent_can_be_streamed_in() -> None:
    """Catches: a streamed agent needs a file in the image, or loses its first command."""
    argv = [sys.executable, "-I", "-S", "-c", BOOTSTRAP, "no-container", "stdio", "app"]
    hello = json.dumps(["hello", {"number": 3, "timeout_s": 1.0}])
    text = "".join(pieces(agent_archive())) + f"app\t{hello}\napp\t{json.dumps(['no', {}])}\n"
    done = subprocess.run(argv, input=text.encode(), capture_output=True, timeout=30, check=False)
    replies = [line.partition("\t") for line in done.stdout.decode().splitlines()]

    assert [name for name, _, _ in replies] == ["app", "app"], done.stderr
    assert json.loads(replies[0][2]) == {"result": None}
    assert json.loads(replies[1][2]) == {"error": "KeyError: 'no'"}
    assert done.returncode == 0


def test_archive_that_ends_early_is_reported() -> None:
    """Catches: after a cut stream the agent runs half of its archive."""
    argv = [sys.executable, "-I", "-S", "-c", BOOTSTRAP, "no-container", "stdio", "app"]
    text = pieces(agent_archive())[0]
    done = subprocess.run(argv, input=text.encode(), capture_output=True, timeout=30, check=False)

    assert (done.returncode, done.stderr) == (1, b"the archive ended early\n")


class Cut(AgentLink):
    """A link whose reply comes too late."""

    def _reply(self, within_s: float) -> tuple[str, Any]:
        raise BackendError(f"nothing came in {within_s:.0f} s")


def test_late_reply_is_not_taken_for_the_next_one() -> None:
    """Catches: a late reply becomes the fate of the next flow."""
    stream = io.StringIO()
    link = Cut("pod-3", stream, ("app",))  # type: ignore[arg-type]

    with pytest.raises(BackendError, match="the line to pod pod-3 was lost: nothing came in 20 s"):
        link.ask("app", "log", since=0)
    with pytest.raises(BackendError, match="there is no line to pod-3 any more"):
        link.ask("app", "log", since=0)
    assert stream.closed


class OneEntry(AgentLink):
    """A link to an agent whose log has one entry."""

    def ask_all(self, commands: Iterable[Command], *, wait_s: float = 0.0) -> list[Any]:
        return [
            [[5, acceptance_form(accepted(SPAN + 0))], [9, acceptance_form(accepted(SPAN + 1))]]
            if command.name == "log"
            else None
            for command in commands
        ]


def accepted(serial: int) -> Acceptance:
    return Acceptance(serial, Acceptor.ORIGIN, Address("10.0.0.1", 80), Address("10.0.0.2", 5))


def test_acceptance_log_notices_what_a_banner_skips() -> None:
    """Catches: an acceptance that no banner reported is missing in the log."""
    acceptance_log = AcceptanceLog()
    link = OneEntry("pod", None, ("app",))  # type: ignore[arg-type]
    acceptance_log.enrol(link, 1.0)

    assert not acceptance_log.note(accepted(SPAN + 1))
    acceptance_log.fetch([link])
    assert [each.serial for each in acceptance_log.log] == [SPAN, SPAN + 1]
    assert acceptance_log.note(accepted(SPAN + 1))
    assert len(acceptance_log.log) == 2


def wants_pods(mesh: Mesh) -> None:
    pod = mesh.pod(annotations={LIST: f"{mesh.server.address}/32"})
    assert pod.connect(mesh.server, 80).direct
    assert mesh.pod().connect(mesh.client, 80).captured_outbound
    mesh.pod(fresh=True)


WANTED = Wanted(wants_pods, 4, NFT)


def test_plan_finds_every_pod_of_a_check() -> None:
    """Catches: pods are made one at a time in the middle of a run."""
    orders = plan([WANTED] * 2, lambda _node: {"server": {4: "10.0.0.9"}}, 1.0)

    assert len(orders.shared) == 2
    assert len(orders.fresh) == 2
    assert next(iter(orders)).configuration.annotations == {LIST: "10.0.0.9/32"}


def test_order_with_an_unknown_address_waits() -> None:
    """Catches: a pod is made with a placeholder address in its lists."""
    orders = plan([WANTED], lambda _node: {}, 1.0)

    assert [is_final(order) for order in orders] == [False, True, True]
    assert UNKNOWN[4] in repr(orders)


@pytest.mark.parametrize(
    ("state", "stage"),
    [
        ({"terminated": {"exitCode": 2}}, PodStage.REFUSED),
        ({"waiting": {"reason": "ErrImageNeverPull"}}, PodStage.BROKEN),
        ({"waiting": {"reason": "PodInitializing"}}, PodStage.WAITING),
        ({"running": {"startedAt": "2020-01-01T00:00:00Z"}}, PodStage.REFUSED),
    ],
)
def test_state_of_the_init_container(state: dict[str, Any], stage: PodStage) -> None:
    """Catches: a missing image counts as a refusal, or a refusal as a fault of the cluster."""
    pod = {"status": {"initContainerStatuses": [{"name": "fsm-init", "state": state}]}}

    assert state_of(pod, init_timeout_s=30.0).stage is stage


def test_ephemeral_container_ends_with_its_agent() -> None:
    """Catches: a process stays in the user's pod for hours."""
    name = f"fsmredir-test-{os.getpid()}"
    waiting = subprocess.Popen(added_container(name, "image")["command"])
    _await_address(name)
    argv = [sys.executable, "-I", "-S", "-c", BOOTSTRAP, name, "stdio", "app"]
    subprocess.run(argv, input=b"", capture_output=True, timeout=30, check=False)

    assert waiting.wait(timeout=30) == 0


def _await_address(name: str) -> None:
    """Wait until a socket is bound to an abstract address."""
    retrying = Retrying(
        stop=stop_after_delay(20.0), wait=wait_fixed(0.05), retry=retry_if_result(lambda it: not it)
    )
    retrying(lambda: f"@{name}" in Path("/proc/net/unix").read_text())

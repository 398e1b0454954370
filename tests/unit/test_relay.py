"""A relay waits for the agents of its pod, which may start after it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from pytest_fsmredir.agent import relay
from pytest_fsmredir.agent.server import Server


def test_relay_reaches_an_agent_that_starts_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: a relay that misses the socket of an agent which starts after it."""
    watching, path, watch = threading.Event(), tmp_path / "app.sock", relay._watch

    def watched(directory: str) -> int:
        found = watch(directory)
        watching.set()
        return found

    monkeypatch.setattr(relay, "_watch", watched)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(relay._reached, str(path))
        assert watching.wait(60)
        server = Server()
        server.listen(path)
        with closing(server._sock), closing(server.engine), closing(coming.result(60)) as sock:
            assert sock.getpeername() == str(tmp_path / "app.coming")
    assert [file.name for file in tmp_path.iterdir()] == ["app.sock"]


def test_relay_names_an_agent_that_never_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: a relay that waits for ever, or that ends without a word."""
    monkeypatch.setattr(relay, "_APPEAR_S", 0.0)
    monkeypatch.setattr(relay, "SOCKETS", str(tmp_path))
    assert relay.relay(["app"]) == 1
    assert "an agent did not come up" in capsys.readouterr().err

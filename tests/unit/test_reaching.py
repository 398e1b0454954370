"""An agent waits for the other agents of its pod, which may start after it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from pytest_fsmredir.agent import reaching
from pytest_fsmredir.agent.server import Server


def test_agent_reaches_another_that_starts_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: an agent that misses the socket of another which starts after it."""
    watching, path, watch = threading.Event(), tmp_path / "app.sock", reaching._watch

    def watched(directory: str) -> int:
        found = watch(directory)
        watching.set()
        return found

    monkeypatch.setattr(reaching, "_watch", watched)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(reaching.reached, str(path))
        assert watching.wait(60)
        server = Server()
        server.listen(path)
        with closing(server._sock), closing(server.engine), closing(coming.result(60)) as sock:
            assert sock.getpeername() == str(tmp_path / "app.coming")
    assert [file.name for file in tmp_path.iterdir()] == ["app.sock"]


def test_agent_that_never_starts_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: an agent that waits for another one for ever."""
    monkeypatch.setattr(reaching, "_APPEAR_S", 0.0)
    with pytest.raises(OSError, match="No such file"):
        reaching.reached(str(tmp_path / "app.sock"))

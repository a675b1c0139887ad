"""What a module asks while it is imported: kept until there is a recording, answered from it, or refused."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rollout_local.domain.run import RunConfig
from rollout_local.errors import InputError
from rollout_local.planning.module_import import asked_at_import, importing
from rollout_local.recordings import Memory, is_open, open_recording, show
from rollout_local.targets.registry import load_modules
from tests.conftest import fresh_targets

ASKS = """\
import httpx

TOKEN = httpx.post("{url}/oauth/token", json={{"grant": "x"}}).text
"""
SWALLOWS = """\
import socket

try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except BaseException:
    pass
"""


class Service(http.server.ThreadingHTTPServer):
    """Counts, and says how often it was asked."""

    asked = 0


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        self.server.asked += 1
        self.rfile.read(int(self.headers["content-length"]))
        body = f"token {self.server.asked}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def imported(tmp_path: Path, service: Service) -> Callable[..., str]:
    """Import a module with this text from the folder, as one that was not imported before; returns its TOKEN."""

    def load(text: str, **config: object) -> str:
        (tmp_path / "asking.py").write_text(text.format(url=f"http://127.0.0.1:{service.server_port}"))
        with fresh_targets(tmp_path), importing(RunConfig(modules=["asking"], **config), tmp_path):
            load_modules(["asking"], tmp_path)
            import asking  # type: ignore[import-not-found]

            return str(getattr(asking, "TOKEN", ""))

    return load


def test_what_is_asked_while_a_module_is_imported_is_recorded_and_replayed(
    tmp_path: Path, service: Service, imported: Callable[..., str]
) -> None:
    first = imported(ASKS)
    for _ in range(2):  # of two runs in one process, and when a run goes on
        with open_recording(tmp_path / "recording.yaml") as recording:
            recording.adopt(asked_at_import(tmp_path))
    assert [item.scope for item in show(tmp_path / "recording.yaml").interactions] == ["import"]
    for _ in range(2):
        assert imported(ASKS, recording="recording.yaml", record_mode="none") == first
    with open_recording(tmp_path / "recording.yaml", "none", strict=True):
        pass  # it was answered where it was asked
    assert service.asked == 1


@pytest.mark.parametrize("text", [ASKS, SWALLOWS])
@pytest.mark.parametrize("recording", ["recording.yaml", None])
def test_what_was_not_recorded_is_not_asked_in_a_replay(
    tmp_path: Path, service: Service, imported: Callable[..., str], text: str, recording: str | None
) -> None:
    with open_recording(tmp_path / "recording.yaml"):
        pass
    with pytest.raises(InputError, match=r"a module asks the network while it is imported, and .* has no answer to it"):
        imported(text, recording=recording, record_mode="none")
    assert service.asked == 0
    assert not is_open()


def test_what_passes_by_is_told_by_the_run(tmp_path: Path, imported: Callable[..., str]) -> None:
    imported("import subprocess\nsubprocess.run(['true'], check=True)\n")
    with open_recording(tmp_path / "recording.yaml") as recording:
        recording.adopt(asked_at_import(tmp_path))
        assert "the program 'true'" in recording.bypasses.news()[0]
    with pytest.raises(InputError, match=r"stopped while it was imported \(offline: the target started the program"):
        imported("import subprocess\nsubprocess.run(['true'], check=True)\n", offline=True)


def test_an_import_in_an_open_recording_is_that_recordings(tmp_path: Path, imported: Callable[..., str]) -> None:
    with open_recording(tmp_path / "mine.yaml") as recording:
        imported(ASKS)
        assert recording.stats().recorded == 1
    assert asked_at_import(tmp_path) == Memory()

"""A browser, a server in this process, and a finished run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rollout_local.ui import launch
from tests.browser.chromium import Chromium, Tab, found
from tests.children import nursery
from tests.unit.ui.conftest import copy, empty, finished, program

__all__ = ["copy", "empty", "finished", "nursery", "program"]


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The browser; tests are skipped where there is none."""
    program = found()
    if program is None:
        pytest.skip("there is no Chromium on this machine (apt-get install chromium)")
    browser = Chromium(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@dataclass
class Served:
    """Where a server answers, and the link that signs in."""

    root: str
    link: str


@contextmanager
def served(*paths: Path) -> Iterator[Served]:
    """Files under a real server."""
    datasette, state, _ = launch.build(paths)
    ready, servers = threading.Event(), list[Any]()
    with launch.listening("127.0.0.1", 0) as sockets:
        port = sockets[0].getsockname()[1]
        link = launch.address("127.0.0.1", port, "/", state.key)
        thread = threading.Thread(
            target=launch.serve, args=(datasette, state),
            kwargs={"sockets": sockets, "ready": ready.set, "started": servers.append},
        )  # fmt: skip
        thread.start()
        try:
            assert ready.wait(20)
            yield Served(f"http://127.0.0.1:{port}", link)
        finally:
            servers[0].should_exit = True
            thread.join(10)
            for database in datasette.databases.values():
                database.close()
            datasette.executor.shutdown()


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Serve files: `serve(path, …)`; the servers end with the test."""
    with ExitStack() as stack:
        yield lambda *paths: stack.enter_context(served(*paths))


@pytest.fixture
def tab(chromium: Chromium) -> Iterator[Callable[..., Tab]]:
    """Open tabs; a test fails if anything went wrong in one, or it asked anybody but loopback."""
    opened: list[Tab] = []

    def open_tab(**given: Any) -> Tab:
        opened.append(chromium.open_tab(**given))
        return opened[-1]

    yield open_tab
    for found_tab in opened:
        assert found_tab.wrong == []
        elsewhere = [url for url in found_tab.asked if not url.startswith(("http://127.0.0.1:", "data:"))]
        assert elsewhere == []
        found_tab.send("Page.close")

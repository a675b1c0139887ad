"""`--on-end`: a command or a URL is told how a run ended."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.conftest import Project

SMALL = ("--max-metric-calls", "4")


@pytest.fixture
def project(simulate: Any, make_project: Any) -> Project:
    made: Project = make_project(simulate().url, train=2, val=2, holdout=2)
    return made


@pytest.fixture
def posted() -> Iterator[tuple[str, list[Any]]]:
    """The address of a server, and what was posted to it."""
    heard: list[Any] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_given: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", heard
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_command_gets_json_and_variables_and_no_rerun_forgets_it(project: Project) -> None:
    command = 'cat > told.json; echo "$ROLLOUT_RUN $ROLLOUT_STATUS $ROLLOUT_VERDICT" > told.txt'
    done = project.rollout("optimize", "run", *project.flags, *SMALL, "--name", "first", "--on-end", command)
    assert done.returncode == 0, done.stderr
    told = json.loads((project.folder / "told.json").read_text())
    assert (told["name"], told["status"], told["message"]) == ("first", "completed", "the budget is spent")
    assert told["sentence"] in " ".join(done.stdout.split())
    words = (project.folder / "told.txt").read_text().split()
    assert words == [told["run_id"], "completed", told["verdict"]]
    stored = project.document("optimize", "show", told["run_id"])
    assert "on_end" not in stored["config"], "it is the caller's, not the run's"


def test_a_url_is_posted_to_by_a_worker_and_by_watch(project: Project, posted: tuple[str, list[Any]]) -> None:
    url, heard = posted
    run = project.document("optimize", "submit", *project.flags, *SMALL)["run_id"]
    project.document("worker", "--once", "--on-end", url)
    project.rollout("optimize", "watch", run, "--on-end", url)
    assert [(one["run_id"], one["status"]) for one in heard] == [(run, "completed")] * 2


@pytest.mark.parametrize("command", ["exit 3", "http://127.0.0.1:1/"])
def test_one_that_fails_is_a_warning(project: Project, command: str) -> None:
    run = project.document("optimize", "create", *project.flags, *SMALL)["run_id"]
    done = project.rollout("optimize", "run", run, "--on-end", command)
    assert done.returncode == 0
    assert f"warning: --on-end {command}: " in done.stderr

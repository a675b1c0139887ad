"""The command and the server: what it refuses, what it says, and that Ctrl-C ends it."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from rollout_local.cli.ui import ui
from rollout_local.errors import InputError
from rollout_local.ui import describe, launch
from tests.conftest import ROOT
from tests.unit.ui.conftest import Site, rows

Open = Callable[..., Site]


def test_another_programs_file_is_refused_with_what_to_type(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE t (a)").connection.close()
    with pytest.raises(InputError, match="datasette"):
        launch.build([other])
    with pytest.raises(InputError, match="no database"):
        launch.build([tmp_path / "nothing.db"])
    (tmp_path / "text.db").write_text("hello")
    with pytest.raises(InputError, match="not a run database"):
        launch.build([tmp_path / "text.db"])


def test_listening_for_others_needs_their_names() -> None:
    launch.check_host("127.0.0.1", ())
    launch.check_host("0.0.0.0", ("lab.example",))
    with pytest.raises(InputError, match="--trusted-host"):
        launch.check_host("0.0.0.0", ())


def test_a_taken_port_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match="another --port"), launch.listening("127.0.0.1", port):
            pass


@pytest.mark.parametrize(
    ("host", "base", "link"),
    [
        ("127.0.0.1", "/", "http://127.0.0.1:8001/-/rollout/sign-in?key=k"),
        ("0.0.0.0", "/", "http://127.0.0.1:8001/-/rollout/sign-in?key=k"),
        ("::1", "/lab", "http://[::1]:8001/lab/-/rollout/sign-in?key=k"),
    ],
)
def test_the_link_that_is_printed(host: str, base: str, link: str) -> None:
    assert launch.address(host, 8001, base, "k") == link


def test_settings_keep_datasettes_own_pages_quick(finished: Path, site: Open) -> None:
    settings = site(finished).document("/-/settings.json")
    assert settings["suggest_facets"] is False
    assert settings["allow_download"] is False


def test_tables_are_described_and_helpers_hidden(finished: Path, site: Open) -> None:
    opened = site(finished)
    page = opened.text("/rollout/trials")
    assert "a failure is not a zero" in page
    tables = {table["name"]: table["hidden"] for table in opened.document("/rollout.json")["tables"]}
    assert tables["texts"] is True
    assert tables["trials"] is False


def test_every_table_that_is_described_exists(finished: Path) -> None:
    known = {row["name"] for row in rows(finished, "SELECT name FROM sqlite_master")}
    assert set(describe.TABLES) <= known
    for table, told in describe.TABLES.items():
        columns = {row["name"] for row in rows(finished, f"PRAGMA table_info({table})")}
        assert set(told.get("columns", {})) <= columns, table


@pytest.mark.parametrize("name", describe.QUERIES)
def test_every_canned_query_answers(finished: Path, site: Open, name: str) -> None:
    found = site(finished).get(f"/rollout/{name}.json?task=task-00&word=mention")
    assert found.status_code == 200, found.text
    assert found.json()["ok"] is True


def test_our_pages_are_linked_from_datasettes(finished: Path, site: Open) -> None:
    page = site(finished).text("/rollout")
    assert "Show as optimization runs" in page
    assert "/-/rollout/" in page


def test_the_front_page_of_the_command_is_ours(finished: Path, site: Open) -> None:
    answer = site(finished).get("/")
    assert answer.status_code == 302
    assert answer.headers["location"] == "/-/rollout/"


def test_the_command_refuses_in_one_line() -> None:
    result = CliRunner().invoke(ui, ["--db", "nothing-here.db"])
    assert isinstance(result.exception, InputError)
    result = CliRunner().invoke(ui, ["--host", "0.0.0.0"])
    assert isinstance(result.exception, InputError)


def test_the_command_prints_a_link_that_signs_in_and_ends_with_ctrl_c(finished: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from rollout_local.cli.ui import ui; ui()", "--db", str(finished), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=finished.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    link = next(line.strip() for line in process.stdout if "sign-in" in line)
    with httpx.Client(follow_redirects=True) as client:
        answer = client.get(link)
        assert answer.status_code == 200
        assert "signed in" in answer.text
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert "Traceback" not in err


def test_the_server_says_when_it_is_ready_and_lets_go(copy: Path) -> None:
    """In this process: the loop runs on a thread, where uvicorn takes no signals, and is told to end."""
    datasette, state, notes = launch.build([copy])
    assert notes == []
    ready = threading.Event()
    with launch.listening("127.0.0.1", 0) as sockets:
        port = sockets[0].getsockname()[1]
        servers: list[object] = []
        thread = threading.Thread(
            target=launch.serve, args=(datasette, state),
            kwargs={"sockets": sockets, "ready": ready.set, "started": servers.append},
        )  # fmt: skip
        thread.start()
        assert ready.wait(10)
        assert httpx.get(f"http://127.0.0.1:{port}/-/rollout/").status_code == 200
        servers[0].should_exit = True  # type: ignore[attr-defined]
        thread.join(10)
    assert not thread.is_alive()
    for database in datasette.databases.values():
        database.close()


def test_a_header_that_cannot_be_read_is_no_file_of_ours(tmp_path: Path) -> None:
    from rollout_local.ui.readers import is_rollout_file

    assert not is_rollout_file(tmp_path)
    assert not is_rollout_file(tmp_path / "nothing")


def test_the_browser_is_opened_on_the_link(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import webbrowser

    from rollout_local.cli.ui import _ready

    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    _ready("http://localhost/x", open_=True)
    assert opened == ["http://localhost/x"]
    assert "http://localhost/x" in capsys.readouterr().out

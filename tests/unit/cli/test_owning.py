"""`rollout optimize rename`, `tag`, `note`, `archive`, `delete`: what they say, and what is left."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import pytest

from rollout_local.afterwards.audit import audit
from rollout_local.cli.main import run
from rollout_local.store.schema import open_store
from tests.conftest import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a finished run with its log_dir, and the command's working directory."""
    with tarfile.open(ROOT / "tests/landed/0011_unknown_costs.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    assert run(["optimize", *words]) == code
    return tuple(capsys.readouterr())  # type: ignore[return-value]


def document(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(said(capsys, *words, "--json")[0])
    return found


def log_dir(project: Path) -> Path:
    return next((project / ".rollout").iterdir())


def test_marks_are_set_and_shown(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is 'Support, short'" in said(capsys, "rename", "latest", "Support, short")[0]
    assert document(capsys, "tag", "Support, short", "--add", "x", "--add", "y")["tags"] == ["x", "y"]
    assert document(capsys, "tag", "latest", "--remove", "x")["tags"] == ["y"]
    assert said(capsys, "tag", "latest")[0].endswith(": y\n")
    assert said(capsys, "note", "latest", "Better on refunds.")[0] == "Better on refunds.\n"
    assert said(capsys, "note", "latest")[0] == "Better on refunds.\n"
    assert document(capsys, "show", "latest")["note"] == "Better on refunds."
    assert "Better on refunds." in said(capsys, "show", "latest")[0]
    assert said(capsys, "note", "latest", "")[0].endswith("has no note.\n")


def test_what_cannot_be_a_mark_is_one_sentence(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["rename", "latest", ""], ["tag", "latest", "--add", ""], ["tag", "latest", "--remove", "none"]):
        out, err = said(capsys, *words, code=2)
        assert (out, err.count("\n")) == ("", 1)


def test_an_archived_run_is_left_out_of_the_list_and_found_on_request(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = document(capsys, "archive", "latest")["run_id"]
    assert json.loads(said(capsys, "list", "--json")[0]) == []
    assert "completed, archived" in " ".join(said(capsys, "list", "--archived")[0].split())
    assert said(capsys, "archive", "latest")[0] == f"{run_id} is put away already.\n"
    assert said(capsys, "archive", "latest", "--undo")[0] == f"{run_id} is listed again.\n"
    assert said(capsys, "archive", "latest", "--undo")[0] == f"{run_id} is listed already.\n"
    assert run_id in said(capsys, "list")[0]


def test_the_list_is_searched(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "note", "latest", "kept for the audit")
    assert len(json.loads(said(capsys, "list", "--search", "AUDIT kept", "--json")[0])) == 1
    assert json.loads(said(capsys, "list", "--search", "audit unheard-of", "--json")[0]) == []


def test_delete_says_what_goes_and_does_nothing_without_a_yes(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = said(capsys, "delete", "latest", code=2)
    assert out == ""
    assert "completed) goes, with" in err
    assert "trials" in err
    assert f"{log_dir(project)} stays (--with-log-dir takes it along)." in err.replace("\n", " ").replace("./", "")
    assert "nothing was deleted: say --yes" in err
    assert len(json.loads(said(capsys, "list", "--json")[0])) == 1


def test_a_deleted_run_is_gone_the_file_is_whole_and_the_folder_stays(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = log_dir(project)
    out, _ = said(capsys, "delete", "latest", "--yes")
    assert f"stays; `rollout optimize run --log-dir {home}` makes the run anew" in out
    assert json.loads(said(capsys, "list", "--archived", "--json")[0]) == []
    with open_store(project / "rollout.db") as store:
        assert audit(store, project).problems == []
    assert (home / "run.json").is_file()


def test_with_log_dir_takes_away_what_the_run_wrote_and_nothing_else(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = log_dir(project)
    (home / "mine.txt").write_text("mine")
    found = document(capsys, "delete", "latest", "--yes", "--with-log-dir")
    assert found["left"] == f"{home} stays: it holds what the run has not written"
    assert [path.name for path in home.iterdir()] == ["mine.txt"]


def test_a_folder_that_holds_nothing_else_is_gone(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = log_dir(project)
    assert document(capsys, "delete", "latest", "--yes", "--with-log-dir")["left"] is None
    assert not home.exists()


def test_a_folder_of_another_run_or_behind_a_link_is_left_alone(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = log_dir(project)
    home.rename(project / "elsewhere")
    home.symlink_to(project / "elsewhere")
    assert document(capsys, "delete", "latest", "--yes", "--with-log-dir")["folder"] is None
    assert (project / "elsewhere" / "run.json").is_file()


def test_a_sealed_journal_whose_run_was_deleted_is_told_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["db", "seal"]) == 0
    said(capsys, "delete", "latest", "--yes")
    assert run(["db", "check", "--seal", "rollout.seal.json"]) == 1
    assert " was deleted by " in capsys.readouterr().out


def test_at_a_terminal_it_asks(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda *_words, **_options: True)
    assert " is deleted." in said(capsys, "delete", "latest")[0]

"""`rollout db check` beside the log_dir: an end that was cut off, another journal, nothing to compare with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rollout_local.afterwards.audit import Audit, audit
from rollout_local.domain.run import RunStatus
from rollout_local.store import chain
from rollout_local.store.journal import Journal
from rollout_local.store.schema import Store, open_store
from tests.unit.store.conftest import AT, add_run, begin  # noqa: F401 - a fixture


@pytest.fixture
def run(store: Store, add_run: Any, tmp_path: Path) -> Path:  # noqa: F811
    """A run with three events; its checkpoint."""
    journal = begin(store, add_run(log_dir="log"))
    for number in range(3):
        journal.add_event(AT, "info", f"event {number}")
    (tmp_path / "log").mkdir()
    return tmp_path / "log" / "checkpoint.json"


def write(path: Path, entries: Any, head: Any, attempt: int = 1) -> None:
    path.write_text(json.dumps({"entries": entries, "chain": head, "attempt": attempt}))


def look(store: Store, path: Path, status: RunStatus = RunStatus.FAILED) -> Audit:
    with store.write() as db:
        db.execute("UPDATE runs SET status = ?", (status,))
    return audit(store, path.parent.parent)


def found(store: Store, path: Path) -> Sequence[str]:
    seen = look(store, path)
    assert seen.notes == []
    return seen.problems


def test_a_journal_that_went_on_after_the_checkpoint_is_whole(store: Store, run: Path) -> None:
    write(run, 2, chain.at(store, "opt_1", 2))
    assert found(store, run) == []


def test_an_end_that_was_cut_off_is_noticed(store: Store, run: Path) -> None:
    entries, head = chain.head(store, "opt_1")
    write(run, entries, head)
    with store.write() as db:
        db.execute("DELETE FROM events WHERE id = 3")
        db.execute("DELETE FROM journal_entries WHERE seq = ?", (entries,))
    (problem,) = found(store, run)
    assert "its journal has 3 entries, its log_dir knows of 4: its end is lost" in problem


@pytest.mark.parametrize(("status", "attempt"), [(RunStatus.RUNNING, 1), (RunStatus.PAUSED, 1), (RunStatus.FAILED, 2)])
def test_a_copy_that_was_made_on_the_way_is_whole_and_said_to_be_older(
    store: Store, run: Path, status: RunStatus, attempt: int
) -> None:
    write(run, 9, "0" * 64, attempt)
    seen = look(store, run, status)
    assert seen.problems == []
    assert "its journal has 4 entries, its log_dir knows of 9" in seen.notes[0]


def test_a_journal_that_was_made_anew_is_noticed(store: Store, run: Path) -> None:
    write(run, 3, "0" * 64)
    (problem,) = found(store, run)
    assert "another one than its log_dir knows of (journal entry 3)" in problem


@pytest.mark.parametrize("text", ["{", "[]", '{"entries": "3"}', '{"entries": 3}', ""])
def test_a_checkpoint_that_says_nothing_of_it_is_no_problem(store: Store, run: Path, text: str) -> None:
    run.write_text(text)
    assert found(store, run) == []


def test_where_the_file_itself_is_not_whole_that_is_said_first(store: Store, run: Path) -> None:
    write(run, 9, "0" * 64)
    with store.write() as db:
        db.execute("UPDATE events SET message = 'another' WHERE id = 1")
    (problem,) = found(store, run)
    assert "row 1 of events is not what was written" in problem


def test_a_runner_that_writes_meanwhile_is_no_damage(store: Store, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is judged between the reading of the journal and that of the row has another hash than its entry."""
    row = {"iteration": 1, "component": "x", "candidate_id": None, "feedback_json": "[]", "created_at": AT}
    proposal = Journal(store, "opt_1", 1).add_proposal(row)
    write(run, 2, chain.at(store, "opt_1", 2))
    link, judged = chain.link, []

    def meanwhile(*given: str) -> str:
        if not judged:
            judged.append(proposal)
            with open_store(store.path) as other:
                Journal(other, "opt_1", 1).judge_proposal(proposal, accepted=True, reason="so", before=0.0, after=1.0)
        return link(*given)

    monkeypatch.setattr(chain, "link", meanwhile)
    with open_store(store.path, create=False) as reader:
        assert audit(reader, run.parent.parent).problems == []
    assert judged == [proposal]

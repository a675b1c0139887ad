"""The tables and columns that others rely on, roll-ups that are never wrong, rows that are never edited."""

import random
import sqlite3

import pytest

from rollout_local.domain.dataset import Task
from rollout_local.domain.run import CandidateStatus, Phase
from rollout_local.store import catalog, lifecycle, reads
from rollout_local.store.ddl import TABLES, TRIGGERS, VIEWS
from rollout_local.store.migrations import DROPPED_INDEXES
from tests.unit.store.conftest import AT, add_candidate, begin, dataset, trial

PROMISED = {
    "datasets": "slug version content_hash",
    "tasks": "dataset_id name instruction input_json metadata_json",
    "verifiers": "name content_hash spec_json",
    "targets": "id kind description baseline source source_hash",
    "runs": (
        "id name project run_ref tags_json status phase stop_reason target_id dataset_id optimizer seed config_json"
        " fingerprint metric_call_budget metric_calls cost_usd attempt baseline_candidate_id best_candidate_id"
        " degraded heartbeat_at created_at started_at finished_at log_dir recording"
    ),
    "attempts": "run_id number pid host started_at ended_at outcome",
    "candidates": (
        "id run_id attempt number status components_json content_hash train_mean train_n val_mean val_n val_best"
        " holdout_mean holdout_n"
    ),
    "candidate_parents": "candidate_id parent_id",
    "proposals": (
        "run_id attempt iteration parent_candidate_id component candidate_id accepted reason feedback_json"
        " minibatch_before minibatch_after"
    ),
    "trials": (
        "id run_id attempt candidate_id task_name split phase occurrence outcome score feedback output error"
        " metadata_json latency_ms cost_usd reused trace_id created_at"
    ),
    "traces": "id name run_id trial_id",
    "spans": (
        "trace_id parent_id type name model input output tokens_in tokens_out cost_usd started_at duration_s error"
    ),
    "events": "run_id at level message data_json",
    "metrics": "run_id name step value at",
    "reports": "run_id attempt report_json",
    "run_summary": "id",
    "leaderboard": "run_id val_mean",
    "trial_feed": "run_id score feedback",
    "errors": "run_id error",
}
"""The columns that the pages, the export and users' own queries rely on."""


@pytest.mark.parametrize("name", PROMISED)
def test_a_table_or_view_has_the_columns_that_others_rely_on(store, name):
    columns = {row["name"] for row in store.rows("SELECT name FROM pragma_table_info(?)", (name,))}
    assert set(PROMISED[name].split()) <= columns


@pytest.mark.parametrize("statement", [*TABLES, *TRIGGERS, *VIEWS], ids=lambda text: " ".join(text.split()[:4]))
def test_everything_that_is_written_out_exists_and_can_be_read(store, statement):
    words = statement.replace("UNIQUE ", "").split()
    kind, name = words[1].lower(), words[2]
    there = None if name in DROPPED_INDEXES else {"type": kind}
    assert store.row("SELECT type FROM sqlite_master WHERE name = ?", (name,)) == there
    if kind in ("table", "view"):
        assert store.rows(f"SELECT * FROM {name}") == []


def rollups(store, run_id, attempt):
    """What the triggers have kept: by candidate, by candidate, split and task, by phase, and of the run."""
    candidates = {
        (row["id"], split): (row[f"{split}_n"], row[f"{split}_mean"], row["val_best"] if split == "val" else None)
        for row in reads.candidates(store, run_id, attempt)
        for split in ("train", "val", "holdout")
        if row[f"{split}_n"]
    }
    tasks = {
        (row["c"], row["split"], row["task_name"]): (row["n"], row["score_sum"], row["best"], row["last_trial_id"])
        for row in store.rows("SELECT candidate_id AS c, * FROM candidate_tasks WHERE run_id = ?", (run_id,))
    }  # fmt: skip
    phases = {
        name: (row["asked"], row["spent"], row["errors"], row["cost_usd"])
        for name, row in reads.phase_calls(store, run_id, attempt).items()
    }
    run = reads.run(store, run_id)
    return candidates, tasks, phases, (run["trial_count"], run["error_count"], run["cost_usd"], run["metric_calls"])


def counted(store, run_id, attempt):
    """The same, counted from the trials. What was paid stays paid, superseded or not."""
    of = "FROM trials WHERE run_id = ? AND attempt = ?"
    final = f"{of} AND superseded_by IS NULL"
    parameters = (run_id, attempt)
    candidates = {
        (row["c"], row["split"]): (row["n"], row["mean"], row["best"] if row["split"] == "val" else None)
        for row in store.rows(
            "SELECT candidate_id AS c, split, count(score) AS n, avg(score) AS mean, max(score) AS best"
            f" {final} AND score IS NOT NULL GROUP BY 1, 2",
            parameters,
        )
    }
    tasks = {
        (row["c"], row["split"], row["task_name"]): (row["n"], row["total"], row["best"], row["last"])
        for row in store.rows(
            "SELECT candidate_id AS c, split, task_name, count(*) AS n, sum(score) AS total, max(score) AS best,"
            f" max(id) AS last {final} AND score IS NOT NULL GROUP BY 1, 2, 3",
            parameters,
        )
    }
    phases = {
        row["phase"]: (row["asked"], row["spent"], row["errors"], row["cost"])
        for row in store.rows(
            "SELECT phase, sum(superseded_by IS NULL) AS asked, sum(superseded_by IS NULL AND NOT reused) AS spent,"
            " sum(superseded_by IS NULL AND score IS NULL) AS errors, sum(cost_usd) AS cost"
            f" {of} GROUP BY 1",
            parameters,
        )
    }
    run = store.row(
        "SELECT count(*) AS trials, sum(superseded_by IS NULL AND score IS NULL) AS errors,"
        " sum(cost_usd) AS cost,"
        f" sum(superseded_by IS NULL AND phase = 'searching' AND NOT reused) AS calls {of}",
        parameters,
    )
    return candidates, tasks, phases, (run["trials"], run["errors"], run["cost"], run["calls"])


def assert_equal(kept, truth):
    for ours, theirs in zip(kept[:3], truth[:3], strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert ours[name] == pytest.approx(theirs[name]), name
    assert kept[3] == pytest.approx(truth[3])


@pytest.mark.parametrize("seed", range(6))
def test_the_rollups_are_what_counting_gives(store, journal, seed):
    dice = random.Random(seed)
    candidates = [add_candidate(journal, f"text {n}", n)[1] for n in range(3)]
    unscored = []
    for number in range(120):
        if unscored and dice.random() < 0.4:
            asked = unscored.pop(dice.randrange(len(unscored)))
        else:
            asked = {
                "candidate": dice.choice(candidates), "task": dice.choice("abcd"), "occurrence": number,
                "split": dice.choice(["train", "val", "holdout"]), "phase": dice.choice(list(Phase)[:3]),
            }  # fmt: skip
        score = None if dice.random() < 0.3 else dice.choice([0.0, 1.0, dice.random()])
        if score is None:
            unscored.append(asked)
        cost = dice.choice([None, 0.0, dice.random()])
        journal.add_trial(trial(**asked, score=score, cost_usd=cost, reused=dice.random() < 0.2), None)
    assert_equal(rollups(store, "opt_1", 1), counted(store, "opt_1", 1))
    assert counted(store, "opt_1", 1)[3][0] == 120


@pytest.mark.parametrize("seed", range(4))
def test_the_rollups_hold_when_a_score_is_superseded_too(store, journal, seed):
    """A correction is a new row: the old one names it."""
    dice = random.Random(seed)
    row_id, candidate = add_candidate(journal)
    for number in range(60):
        asked = {"task": dice.choice("ab"), "split": dice.choice(["train", "val"]), "occurrence": number}
        journal.add_trial(trial(candidate, dice.choice([None, dice.random()]), **asked), None)
    for new_id, old in enumerate(dice.sample(range(1, 61), 40), 1000):
        with store.write() as db:
            row = store.row("SELECT * FROM trials WHERE id = ?", (old,))
            new = {**row, "id": new_id, "score": dice.random(), "outcome": "scored", "error": None}
            new["occurrence"] += 1000 if dice.random() < 0.5 else 0
            db.execute("UPDATE trials SET superseded_by = ? WHERE id = ?", (new["id"], old))
            marks = ", ".join("?" * len(new))
            db.execute(f"INSERT INTO trials ({', '.join(new)}) VALUES ({marks})", tuple(new.values()))
    assert_equal(rollups(store, "opt_1", 1), counted(store, "opt_1", 1))
    assert reads.candidate(store, row_id)["val_n"] > 0


def test_a_split_whose_only_score_was_superseded_has_no_mean(store, journal):
    row_id, candidate = add_candidate(journal)
    first = journal.add_trial(trial(candidate, 0.5), None)
    journal.add_trial(trial(candidate, None, task="b"), None)
    with store.write() as db:
        db.execute("UPDATE trials SET superseded_by = ? WHERE id = ?", (first + 1, first))
    kept = reads.candidate(store, row_id)
    assert (kept["val_n"], kept["val_mean"], kept["val_best"]) == (0, None, None)
    assert store.rows("SELECT * FROM candidate_tasks") == []


def test_every_change_that_is_shown_counts_up_the_revision_of_the_run(store, journal):
    revisions = []

    def after(change):
        change()
        revisions.append(reads.run(store, "opt_1")["rev"])

    held = {}
    after(lambda: held.update(row=add_candidate(journal, status=CandidateStatus.PROPOSED)))
    row_id, candidate = held["row"]
    after(lambda: journal.judge(row_id, CandidateStatus.ACCEPTED))
    after(lambda: journal.add_trial(trial(candidate, None), None))
    after(lambda: journal.add_trial(trial(candidate, 1.0), None))
    after(lambda: journal.add_event("2025-01-01T00:00:05Z", "info", "hello"))
    after(lambda: lifecycle.set_phase(store, "opt_1", Phase.SEARCH))
    after(lambda: lifecycle.set_candidates(store, "opt_1", baseline=row_id))
    assert revisions == sorted(set(revisions))
    assert reads.run(store, "opt_1")["last_event_at"] == "2025-01-01T00:00:05Z"


def test_a_trial_cannot_be_deleted(store, journal):
    journal.add_trial(trial(add_candidate(journal)[1]), None)
    with pytest.raises(sqlite3.IntegrityError, match="trials are append only: a correction is a new row"):
        store.rows("DELETE FROM trials")
    assert len(store.rows("SELECT * FROM trials")) == 1


@pytest.mark.parametrize(
    ("column", "value"), [("score", 1.0), ("outcome", "timeout"), ("output", "x"), ("feedback", "x")]
)
def test_a_result_cannot_be_edited(store, journal, column, value):
    journal.add_trial(trial(add_candidate(journal)[1]), None)
    before = store.rows("SELECT * FROM trials")
    with pytest.raises(sqlite3.IntegrityError, match="trials are append only"), store.write() as db:
        db.execute(f"UPDATE trials SET {column} = ?", (value,))
    assert store.rows("SELECT * FROM trials") == before


def test_the_feed_shows_question_and_expected_of_the_dataset_that_the_split_is_of(store, add_run):
    val = dataset(Task(name="a", instruction="Val?", input={"n": 1}, expected_output={"x": 1}), slug="val")
    main = dataset(Task(name="a", instruction="Main?", expected_output="yes"), slug="main")
    ids = [catalog.import_dataset(store, one, AT)["id"] for one in (main, val)]
    journal = begin(store, add_run(dataset_id=ids[0], val_dataset_id=ids[1]))
    _, content = add_candidate(journal)
    for split in ("val", "holdout"):
        journal.add_trial(trial(content, split=split), None)
    rows = store.rows("SELECT split, input, expected FROM trial_feed ORDER BY id")
    assert rows == [
        {"split": "val", "input": 'Val?\n{"n": 1}', "expected": '{"x": 1}'},
        {"split": "holdout", "input": "Main?", "expected": "yes"},
    ]


@pytest.mark.parametrize(
    "wrong",
    ["'scored', NULL", "'scored', 1.01", "'scored', -0.01", "'timeout', 0.0", "'provider_error', 0.5"],
)
def test_a_failure_is_not_a_zero_and_a_score_is_from_0_to_1(store, journal, wrong):
    row_id, candidate = add_candidate(journal)
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"), store.write() as db:
        db.execute(
            "INSERT INTO trials (run_id, attempt, candidate_id, candidate_hash, task_name, split, phase, occurrence,"
            f" created_at, outcome, score) VALUES ('opt_1', 1, ?, ?, 'a', 'val', 'searching', 0, ?, {wrong})",
            (row_id, candidate, AT),
        )


def test_the_views_for_people_say_what_the_rows_mean(store, journal):
    baseline, text = add_candidate(journal)
    best, better = add_candidate(journal, "Be brief.", 1, [baseline], CandidateStatus.ACCEPTED)
    for candidate, score in ((text, 0.25), (better, 0.75)):
        journal.add_trial(trial(candidate, score), None)
        journal.add_trial(trial(candidate, score, split="holdout", phase=Phase.BEST), None)
    journal.add_trial(trial(better, None, task="b"), None)
    journal.add_trial(trial(better, 0.25, task="b"), None)
    lifecycle.set_candidates(store, "opt_1", baseline=baseline, best=best)

    summary = store.row("SELECT * FROM run_summary")
    assert (summary["baseline_val"], summary["best_val"], summary["holdout_lift"]) == (0.25, 0.5, 0.5)
    board = store.rows("SELECT number, is_best, val_mean, text FROM leaderboard")
    assert board[0] == {"number": 1, "is_best": 1, "val_mean": 0.5, "text": "Be brief."}
    assert board[1] == {"number": 0, "is_best": 0, "val_mean": 0.25, "text": "Be kind."}
    feed = store.rows("SELECT candidate, task_name, score FROM trial_feed")
    asked = store.rows("SELECT DISTINCT task_name, input, expected FROM trial_feed ORDER BY 1")
    assert asked == [
        {"task_name": "a", "input": "A", "expected": None}, {"task_name": "b", "input": None, "expected": None},
    ]  # fmt: skip
    assert feed[0] == {"candidate": 1, "task_name": "b", "score": 0.25}
    assert len(feed) == 6
    failed = store.rows("SELECT candidate, task_name, error, error_kind, was_retried FROM errors")
    assert failed == [{"candidate": 1, "task_name": "b", "error": "429", "error_kind": "rate_limit", "was_retried": 1}]


def test_the_leaderboard_shows_the_newest_attempt(store, journal):
    add_candidate(journal, "old")
    add_candidate(begin(store, "opt_1"), "new")
    assert [row["text"] for row in store.rows("SELECT text FROM leaderboard")] == ["new"]

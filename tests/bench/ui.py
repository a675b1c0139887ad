# ruff: noqa: E501 - SQL, a statement a line
"""How long a page takes with 1,000, 100,000 and 1,000,000 trials in one run: `python -m tests.bench.ui [SIZE …]`.

A real server on loopback, one keep-alive client. Rows are written by SQL (60 candidates, 200 validation tasks, 300
characters of feedback), roll-ups included, so that a million take seconds. Beside the pages: the live document while
four slow table pages are asked for, and while a writer commits 2,000 trials a second.

`measure(sizes)` returns one `Row` per page and size, in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from rollout_local.store import trial_index
from rollout_local.store.schema import open_store
from rollout_local.ui.links import Links

SIZES = (1_000, 100_000, 1_000_000)
CANDIDATES, TASKS, RUN = 60, 200, "opt_bench"
NOW = "2026-11-21T00:00:00.000Z"
LIMITS_MS = {"page": 20.0, "document": 5.0, "document beside slow pages": 50.0, "document beside a writer": 50.0}


@dataclass(frozen=True)
class Row:
    """One page at one size; p50 and p95 in milliseconds, size of the answer in bytes."""

    trials: int
    kind: str
    page: str
    p50: float
    p95: float
    bytes: int

    @property
    def holds(self) -> bool:
        """Within its limit."""
        return self.p95 <= LIMITS_MS[self.kind]


def measure(sizes: Sequence[int] = SIZES, requests: int = 60) -> list[Row]:
    """Every page at every size."""
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            path = Path(folder) / f"bench{size}.db"
            fill(path, size)
            with open_store(path) as store:
                trial_index.build(store)
            with serving(path) as root, httpx.Client(base_url=root, timeout=60) as client:
                found += _pages(client, path, size, requests)
                found += _documents(client, path, size, requests)
            path.unlink()
    return found


def fill(path: Path, trials: int) -> None:
    """A run of this many trials, without the work of running it."""
    open_store(path).close()
    dice = random.Random(7)
    db = sqlite3.connect(path)
    db.execute("PRAGMA synchronous=OFF")
    triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    _set_up(db, trials)
    _candidates(db, dice)
    _trials(db, trials)
    _roll_ups(db)
    for _, sql in triggers:
        db.execute(sql)
    db.commit()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def _set_up(db: sqlite3.Connection, trials: int) -> None:
    names = {split: [f"{split}-{n:03}" for n in range(TASKS)] for split in ("train", "val", "holdout")}
    db.execute("INSERT INTO datasets VALUES (1, 'bench', 1, 'bench', 'sha256:d', 600, ?, NULL)", (NOW,))
    db.executemany(
        "INSERT INTO tasks (dataset_id, position, name, instruction, input_json, metadata_json)"
        " VALUES (1, ?, ?, 'Do', '{}', '{}')",
        enumerate(name for of in names.values() for name in of),
    )
    db.execute("INSERT INTO targets VALUES (1, 'bench', 'prompt', 'd', 'b', '{}', 's', 'sha256:s', '[]', ?)", (NOW,))
    row = {
        "id": RUN, "project": "default", "tags_json": "[]", "status": "running", "phase": "searching",
        "target_id": "bench", "target_row_id": 1, "dataset_id": 1, "verifier_ids_json": "[]",
        "split_json": json.dumps(names), "optimizer": "gepa", "seed": 0, "config_json": "{}", "fingerprint": "sha256:f",
        "fingerprint_json": "{}", "metric_call_budget": trials * 2, "metric_calls": trials, "trial_count": trials,
        "attempt": 1, "baseline_candidate_id": 1, "created_at": NOW, "started_at": NOW, "heartbeat_at": NOW,
        "rev": trials,
    }  # fmt: skip
    db.execute(f"INSERT INTO runs ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
    db.execute("INSERT INTO phase_calls VALUES (?, 1, 'searching', ?, ?, 0, 0)", (RUN, trials, trials))


def _candidates(db: sqlite3.Connection, dice: random.Random) -> None:
    rules = [f"- Rule {n}: {'say what matters and ' * 3}stop." for n in range(CANDIDATES)]
    for number in range(CANDIDATES):
        text = "\n".join(["You are a helpful agent.", *rules[:: max(1, 20 - number // 3)][: number // 2]])
        db.execute(
            "INSERT INTO candidates (id, run_id, attempt, number, status, text, components_json, content_hash, created_at)"
            " VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?)",
            (number + 1, RUN, number, "accepted" if number else "baseline", text,
             json.dumps({"instructions": text}), f"sha256:{number}", NOW),
        )  # fmt: skip
        if number:
            parent = dice.randrange(max(1, number - 6), number + 1)
            db.execute("INSERT INTO candidate_parents VALUES (?, ?)", (number + 1, parent))
            feedback = json.dumps(
                [{"task": f"train-{n:03}", "feedback": "It lacks the number. " * 10} for n in range(3)]
            )
            db.execute(
                "INSERT INTO proposals (run_id, attempt, iteration, parent_candidate_id, component, candidate_id,"
                " accepted, reason, feedback_json, minibatch_before, minibatch_after, created_at)"
                " VALUES (?, 1, ?, ?, 'instructions', ?, 1, 'better', ?, 0.3, 0.5, ?)",
                (RUN, number, parent, number + 1, feedback, NOW),
            )
            db.execute("INSERT INTO metrics (run_id, attempt, name, step, value, at) VALUES (?, 1, 'best_val', ?, ?, ?)",
                       (RUN, number * 10, number / CANDIDATES, NOW))  # fmt: skip
            db.execute("INSERT INTO metrics (run_id, attempt, name, step, value, at) VALUES (?, 1, 'val_mean', ?, ?, ?)",
                       (RUN, number, number / CANDIDATES, NOW))  # fmt: skip


_NEW = """
    INSERT INTO trials (run_id, attempt, candidate_id, candidate_hash, task_name, split, phase, occurrence, outcome,
        score, feedback, output, created_at)
    WITH RECURSIVE n (i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last)
    SELECT :run, 1, 1 + i % 60, 'sha256:' || (i % 60), 'val-' || printf('%03d', (i / 60) % 200), 'val', 'searching',
        i / 12000, 'scored', ((i * 7919 + i / 60) % 100) / 100.0,
        substr(:feedback, 1, 280 + i % 40), 'an answer', :now FROM n
"""


def _trials(db: sqlite3.Connection, trials: int) -> None:
    names = {
        "first": 0,
        "last": trials - 1,
        "run": RUN,
        "feedback": "It lacks the number that was asked for. " * 10,
        "now": NOW,
    }
    db.execute(_NEW, names)


def _roll_ups(db: sqlite3.Connection) -> None:
    db.execute(
        "INSERT INTO candidate_tasks (candidate_id, split, task_name, run_id, n, score_sum, best, last_trial_id)"
        " SELECT candidate_id, split, task_name, run_id, count(*), sum(score), max(score), max(id) FROM trials"
        " GROUP BY 1, 2, 3"
    )
    db.execute(
        "UPDATE candidates SET (val_n, val_sum, val_mean, val_best) = (SELECT sum(n), sum(score_sum),"
        " sum(score_sum) / sum(n), max(best) FROM candidate_tasks WHERE candidate_id = candidates.id)"
    )


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """A server over one file, in a process of its own: the client's work must not be counted."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from rollout_local.cli.ui import ui; ui()", "--db", str(path), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    link = next(line.strip() for line in process.stdout if "sign-in" in line)
    try:
        yield link.partition("/-/")[0]
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _pages(client: httpx.Client, path: Path, size: int, requests: int) -> list[Row]:
    db, links = path.stem, Links("/")
    pages = {
        "jobs": links.jobs(), "run": links.run(db, RUN), "run, errors only": links.run(db, RUN, show="errors"),
        "candidates": links.run(db, RUN, "candidates"), "candidate": links.candidate(db, RUN, CANDIDATES - 1),
        "lineage": links.run(db, RUN, "lineage"), "tasks": links.run(db, RUN, "pareto"),
        "reflections": links.run(db, RUN, "reflections"), "promotion": links.run(db, RUN, "promotion"),
        "events": links.run(db, RUN, "events"), "trial": links.trial(db, size // 2),
        "task": links.task(db, RUN, "val-007", "val") or "",
        "trials": links.run(db, RUN, "trials"), "trials, by score": links.run(db, RUN, "trials", sort="-score"),
        "trials, a rare word": links.run(db, RUN, "trials", search="rarely"),
        "trials, every word": links.run(db, RUN, "trials", search="lacks number"),
        "trials, word and 1": links.run(db, RUN, "trials", search="lacks", score="full", split="val"),
        "trials of a task": links.run(db, RUN, "trials", task="val-007", candidate=7),
        "jobs, a word": links.jobs(search="rule"), "compare": links.compare(f"{db}/{RUN}", f"{db}/{RUN}"),
    }  # fmt: skip
    return [_timed(client, size, "page", name, lambda path=path: path, requests) for name, path in pages.items()]


def _documents(client: httpx.Client, path: Path, size: int, requests: int) -> list[Row]:
    links, db = Links("/"), path.stem
    unchanged = links.data(db, RUN, rev=size, since=size)
    delta = links.data(db, RUN, since=size - 20)
    found = [
        _timed(client, size, "document", "20 new trials", lambda: delta, requests),
        _timed(client, size, "document", "nothing new", lambda: unchanged, requests),
    ]
    slow = f"/{db}/trials?_facet=split&_facet=task_name"
    with _beside(lambda: httpx.get(str(client.base_url) + slow, timeout=60), 4):
        found.append(_timed(client, size, "document beside slow pages", "20 new trials", lambda: delta, requests))
    writer = _Writer(path, size)
    with writer:
        found.append(
            _timed(client, size, "document beside a writer", "20 new trials", lambda: delta, requests, pause=0.02)
        )
    assert not writer.errors, writer.errors
    return found


def _timed(
    client: httpx.Client, size: int, kind: str, name: str, path: Callable[[], str], requests: int, pause: float = 0.0
) -> Row:
    took: list[float] = []
    length = 0
    for n in range(requests + 3):
        begun = time.perf_counter()
        answer = client.get(path())
        took.append(1000 * (time.perf_counter() - begun))
        assert answer.status_code == 200, (name, answer.status_code, answer.text[:300])
        length = len(answer.content)
        if n < 3:
            took.clear()  # the first ones fill what is kept
        time.sleep(pause)
    ordered = sorted(took)
    return Row(size, kind, name, statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))], length)


@contextmanager
def _beside(work: Callable[[], Any], threads: int) -> Iterator[None]:
    stop = threading.Event()

    def again() -> None:
        while not stop.is_set():
            work()

    running = [threading.Thread(target=again) for _ in range(threads)]
    for thread in running:
        thread.start()
    time.sleep(0.3)
    try:
        yield
    finally:
        stop.set()
        for thread in running:
            thread.join()


class _Writer:
    """Commits 2,000 trials a second, twenty at a time, triggers and all."""

    def __init__(self, path: Path, first: int) -> None:
        self.errors: list[str] = []
        self.written = 0
        self._path, self._first = path, first
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        db = sqlite3.connect(self._path, timeout=0.5, isolation_level=None)
        due = time.perf_counter()
        while not self._stop.is_set():
            first = 10_000_000 + self._first + self.written
            names = {"first": first, "last": first + 19, "run": RUN, "feedback": "late " * 80, "now": NOW}
            try:
                db.execute(_NEW, names)
                self.written += 20
            except sqlite3.OperationalError as error:
                self.errors.append(str(error))
            due += 0.01
            time.sleep(max(0.0, due - time.perf_counter()))
        db.close()


def print_rows(rows: Sequence[Row]) -> None:
    """As a table."""
    print(f"{'trials':>9}  {'what':28} {'page':20} {'p50 ms':>8} {'p95 ms':>8} {'KB':>7}")
    for row in rows:
        mark = "" if row.holds else f"  over {LIMITS_MS[row.kind]:.0f} ms"
        print(
            f"{row.trials:>9,}  {row.kind:28} {row.page:20} {row.p50:8.1f} {row.p95:8.1f} {row.bytes / 1024:7.1f}{mark}"
        )


def main() -> int:
    """Measure and print; 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
    parser.add_argument("--requests", type=int, default=60)
    given = parser.parse_args()
    rows = measure(given.sizes or SIZES, given.requests)
    print_rows(rows)
    return int(not all(row.holds for row in rows))


if __name__ == "__main__":
    sys.exit(main())

"""What durability costs: a journal row, the replay of a finished run, a search beside its ideal time."""

from __future__ import annotations

import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import rollout_local as rollout
from rollout_local.clock import new_id, now
from rollout_local.domain.run import CandidateStatus, Phase, TrialKey, TrialOutcome
from rollout_local.domain.target import Candidate
from rollout_local.models import keep_libraries_offline
from rollout_local.runs.runner import execute
from rollout_local.store.journal import Journal, SpanRecord, TraceRecord, TrialRecord
from rollout_local.store.lifecycle import insert_run
from rollout_local.store.schema import Store, open_store
from rollout_local.targets.registry import load_modules
from tests.bench.search import EXPERIMENT, TARGET, run_plain, simulator

POSITIONS = (0, 1_000, 10_000, 100_000)
SAMPLE = 300
LATENCY_S, CONCURRENCY = 0.2, 8


@dataclass(frozen=True)
class Row:
    """One figure with its unit."""

    what: str
    value: float
    unit: str


def measure(positions: Sequence[int] = POSITIONS) -> Iterator[Row]:
    """All figures, as they come."""
    keep_libraries_offline()
    yield from _journal(positions)
    load_modules(["target"], EXPERIMENT)
    yield from _replay()
    yield from _ideal()


def main() -> None:
    """Print them."""
    print("durability: medians; every trial is committed with its trace, synchronous=FULL")
    for row in measure():
        print(f"{row.what:<60} {row.value:>10.3f} {row.unit}", flush=True)


def _journal(positions: Sequence[int]) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder, "rollout.db")) as store:
        journal, candidate = _empty_run(store)
        done = 0
        for position in positions:
            for number in range(done, position):
                journal.add_trial(*_trial(candidate, number))
            os.sync()  # or the samples wait for the pages that the filling left behind
            times = [_timed(journal, candidate, number) for number in range(position, position + SAMPLE)]
            done = position + SAMPLE
            yield Row(f"a journal row after {position} others", statistics.median(times) * 1000, "ms")


def _timed(journal: Journal, candidate: Candidate, number: int) -> float:
    trial = _trial(candidate, number)
    begun = time.perf_counter()
    journal.add_trial(*trial)
    return time.perf_counter() - begun


def _empty_run(store: Store) -> tuple[Journal, Candidate]:
    with store.write() as db:
        db.execute("INSERT INTO datasets VALUES (1, 's', 1, 's', 'h', 0, 'now', NULL)")
        db.execute("INSERT INTO targets VALUES (1, 't', 'prompt', '', 'b', '{}', '', 'h', '[]', 'now')")
    insert_run(store, {
        "id": "opt_bench", "project": "default", "tags_json": "[]", "status": "running", "target_id": "t",
        "target_row_id": 1, "dataset_id": 1, "verifier_ids_json": "[]", "split_json": "{}", "optimizer": "gepa",
        "seed": 0, "config_json": "{}", "fingerprint": "f", "fingerprint_json": "{}", "metric_call_budget": 1,
        "created_at": now(),
    })  # fmt: skip
    journal, candidate = Journal(store, "opt_bench", 1), Candidate.model_validate({"text": "Answer."})
    journal.add_candidate(candidate, CandidateStatus.BASELINE, (), now(), number=0)
    return journal, candidate


def _trial(candidate: Candidate, number: int) -> tuple[TrialRecord, TraceRecord]:
    key = TrialKey(
        attempt=1, candidate=candidate.content_hash, task=f"task-{number % 300}", split="train",
        occurrence=number // 300,
    )  # fmt: skip
    span = SpanRecord(
        id=new_id("spn"), type="llm", name="m", model="m", input=("system " * 40, f"question {number}"),
        output="answer " * 40, started_at=now(), duration_s=1.0, tokens_in=200, tokens_out=80,
    )  # fmt: skip
    trace = TraceRecord(id=new_id("trc"), name="optimize:t", started_at=now(), duration_s=1.0, spans=[span])
    record = TrialRecord(
        key=key, phase=Phase.SEARCH, outcome=TrialOutcome.SCORED, score=0.5, feedback="feedback " * 30,
        output="answer " * 40, created_at=now(), trace_id=trace.id,
    )  # fmt: skip
    return record, trace


def _run(folder: str, url: str, budget: int, threads: int) -> Any:
    return rollout.run(
        TARGET, dataset="datasets/facility", verifier="verifier.json", splits_file="splits.json", folder=EXPERIMENT,
        db=Path(folder, "rollout.db"), log_dir=str(Path(folder, "log")), reflection_model="openai/sim-reflection",
        task_model="openai/sim-student", reflection_api_base=url, task_api_base=url, max_metric_calls=budget,
        concurrency=threads, simulated=True,
    )  # fmt: skip


def _replay() -> Iterator[Row]:
    """A finished run of some 4,000 trials, asked for again: served from its journal."""
    with tempfile.TemporaryDirectory() as folder, simulator(0) as url:
        result = _run(folder, url, 3_880, 4)
        with _timer() as clock, open_store(Path(folder, "rollout.db")) as store:
            outcome = execute(store, result.run_id, folder=EXPERIMENT)
            trials = store.rows("SELECT count(*) AS n FROM trials")[0]["n"]
        assert outcome.executed == 0
        yield Row(f"a finished run of {trials} trials served from its journal", clock.seconds, "s")


def _ideal() -> Iterator[Row]:
    """A search at 200 ms latency and 8 at once, over the time that its batches and reflections alone would take.

    The search begins where its baseline's last trial ends, and ends with its own last trial. Plain `dspy.GEPA` makes
    the same run beside it (see `tests.bench.search`), but for the last batch, which it may begin beyond its budget.
    """
    with tempfile.TemporaryDirectory() as folder, simulator(LATENCY_S * 1000) as url:
        for number, budget in enumerate((5, 150)):  # the short ones load what is loaded once
            Path(folder, str(number)).mkdir()
            with _timer() as clock:
                _run(str(Path(folder, str(number))), url, budget, CONCURRENCY)
            with _timer() as plain:
                run_plain(url, budget, CONCURRENCY)
        with open_store(Path(folder, "1", "rollout.db")) as store:
            batches = store.rows(
                "SELECT phase, count(*) AS n, max(created_at) AS ended FROM trials GROUP BY phase, split, step"
            )
            reflections = store.rows("SELECT count(*) AS n FROM reflections")[0]["n"]
    searching = [batch for batch in batches if batch["phase"] == Phase.SEARCH]
    begun, ended = (
        max(datetime.fromisoformat(batch["ended"]) for batch in batches if batch["phase"] == phase)
        for phase in (Phase.BASELINE, Phase.SEARCH)
    )
    what = f"at {LATENCY_S * 1000:g} ms and {CONCURRENCY} at once"
    yield Row(
        f"the search {what}, over its ideal time",
        (ended - begun).total_seconds() / _seconds(searching, reflections),
        "x",
    )
    yield Row(f"the whole run {what}, over its ideal time", clock.seconds / _seconds(batches, reflections), "x")
    yield Row(f"the whole run {what}, over plain dspy.GEPA's", clock.seconds / plain.seconds, "x")


def _seconds(batches: Sequence[Mapping[str, Any]], reflections: int) -> float:
    """What these batches and reflections take if nothing but the model's latency took time."""
    return (sum(math.ceil(batch["n"] / CONCURRENCY) for batch in batches) + reflections) * LATENCY_S


class _Clock:
    seconds = 0.0


@contextmanager
def _timer() -> Iterator[_Clock]:
    clock, begun = _Clock(), time.perf_counter()
    yield clock
    clock.seconds = time.perf_counter() - begun


if __name__ == "__main__":
    main()

"""Who watches a run is told where it stands, and each line of its log."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rollout_local.domain.run import Phase
from rollout_local.redaction import Redactor
from rollout_local.runs.progress import Meter, Progress
from rollout_local.runs.run_log import RunLog
from rollout_local.store import reads
from rollout_local.store.schema import Store
from tests.unit.runs.test_evaluation import given_run


class Told:
    """A watch that keeps what it is told."""

    def __init__(self) -> None:
        self.shown: list[Progress] = []
        self.lines: list[tuple[str, str]] = []

    def progress(self, progress: Progress) -> None:
        self.shown.append(progress)

    def note(self, level: str, message: str) -> None:
        self.lines.append((level, message))


def test_trials_are_counted_with_their_cost_and_their_errors() -> None:
    told = Told()
    meter = Meter(told)
    meter.show(phase=Phase.SEARCH, total=9, done=2, best=0.5)
    meter.show("reflecting")
    meter.count(1.0, None)
    meter.count(None, 0.25)
    meter.count(0.0, 0.5)
    assert [(one.done, one.errors, one.cost_usd, one.doing) for one in told.shown] == [
        (2, 0, None, ""),
        (2, 0, None, "reflecting"),
        (3, 0, None, ""),
        (4, 1, 0.25, ""),
        (5, 1, 0.75, ""),
    ]
    assert {(one.phase, one.total, one.best) for one in told.shown} == {(Phase.SEARCH, 9, 0.5)}
    assert meter.shown is told.shown[-1]


def test_no_trial_is_lost_where_many_threads_count() -> None:
    meter = Meter(Told())
    with ThreadPoolExecutor(8) as pool:
        for _ in range(500):
            pool.submit(meter.count, None, 0.5)
    assert (meter.shown.done, meter.shown.errors, meter.shown.cost_usd) == (500, 500, 250.0)


def test_a_line_of_the_log_is_kept_and_told_without_its_secret(store: Store) -> None:
    key, told = "sk-Zq81LmWn42KdPx7TbRv0", Told()
    log = RunLog(given_run(store), told)
    store.redactor = Redactor({"A_TOKEN": key})
    log.tell("search")
    log.caution(f"no login with {key}", about="login")
    said: list[tuple[str, str]] = [("info", "search"), ("warning", "no login with [redacted]")]
    kept: list[Any] = reads.events(store, "opt_test")
    assert told.lines == said
    assert [(row["level"], row["message"]) for row in kept] == said
    assert kept[1]["data_json"] == '{"about":"login"}'

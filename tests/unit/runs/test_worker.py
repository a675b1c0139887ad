"""A worker: one run ends itself and not its worker; what it cannot find waits for another; its own stop requeues."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout_local.domain.run import RunStatus
from rollout_local.errors import ModuleMissing, Paused, Refused
from rollout_local.runs import worker
from rollout_local.runs.runner import Outcome
from rollout_local.stop import StopFlag
from rollout_local.store import lifecycle, queue, reads
from rollout_local.store.schema import Store
from tests.unit.store.conftest import AT, add_run  # noqa: F401 - a fixture


class Wordless(Exception):
    def __str__(self) -> str:
        raise ValueError


@pytest.fixture
def work(store: Store, add_run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[Outcome]]:  # noqa: F811
    """`work(first, …)`: queue two runs; executing the first does as given, the second completes. What came of them."""

    def queued(execute: Callable[..., Any], stop: StopFlag | None = None) -> list[Outcome]:
        for name in ("opt_1", "opt_2"):
            add_run(name)
            queue.enqueue(store, name, RunStatus.CREATED, AT, folder=str(tmp_path))

        def executed(store: Store, run_id: str, **given: Any) -> Outcome:
            assert given["folder"] == tmp_path
            if run_id == "opt_1":
                return execute(store, run_id, **given)
            lifecycle.move(store, run_id, [RunStatus.RUNNING], RunStatus.COMPLETED)
            return Outcome(run_id, RunStatus.COMPLETED, None, "", 0)

        monkeypatch.setattr(worker, "execute", executed)
        return worker.work(store.path, Path("/nowhere"), stop or StopFlag(), once=True)

    return queued


def raising(error: BaseException) -> Callable[..., Any]:
    def execute(*_given: Any, **_named: Any) -> Any:
        raise error

    return execute


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Refused("its target has changed"), "its target has changed"),
        (ValueError("nan"), "ValueError: nan"),
        (asyncio.CancelledError(), "CancelledError: "),
        (KeyboardInterrupt(), "KeyboardInterrupt: "),
        (SystemExit(3), "SystemExit: 3"),
        (GeneratorExit(), "GeneratorExit: "),
        (Wordless(), "Wordless: (its words raised ValueError)"),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, BaseException) else "",
)
def test_whatever_a_run_raises_ends_itself_and_not_its_worker(
    store: Store, work: Callable[..., list[Outcome]], error: BaseException, words: str
) -> None:
    done = work(raising(error))
    assert [(outcome.run_id, outcome.status) for outcome in done] == [("opt_1", "failed"), ("opt_2", "completed")]
    row = reads.run(store, "opt_1")
    assert (row["status"], row["message"]) == ("failed", words)
    assert store.row("SELECT pid FROM leases WHERE run_id = 'opt_1'") == {"pid": None}


def test_a_run_whose_module_is_not_here_waits_for_another_worker(store: Store, work: Callable[..., Any]) -> None:
    done = work(raising(ModuleMissing("there is no module 'target' in /nowhere")))
    assert [(outcome.run_id, outcome.status) for outcome in done] == [("opt_1", "queued"), ("opt_2", "completed")]
    row = reads.run(store, "opt_1")
    assert (row["status"], row["message"]) == (
        "queued", "it waits for another worker: there is no module 'target' in /nowhere",
    )  # fmt: skip


def test_who_lost_the_lease_writes_nothing_and_goes_on_with_the_next(store: Store, work: Callable[..., Any]) -> None:
    def taken_over(mine: Store, run_id: str, **_given: Any) -> Any:
        with store.write() as db:
            db.execute("UPDATE leases SET token = token + 1 WHERE run_id = ?", (run_id,))
        with mine.write():
            raise AssertionError("the fence lets it through")

    done = work(taken_over)
    assert [(outcome.run_id, outcome.status) for outcome in done] == [("opt_1", "running"), ("opt_2", "completed")]
    assert reads.run(store, "opt_1")["status"] == "running"


def test_a_worker_that_is_stopped_lets_its_run_wait_again(store: Store, work: Callable[..., Any]) -> None:
    stop = StopFlag()

    def stopped(store: Store, run_id: str, **given: Any) -> Any:
        stop.stop(Paused("stopped", interrupted=True))
        assert given["interrupted"] is RunStatus.QUEUED
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(stopped, stop)
    assert {reads.run(store, name)["status"] for name in ("opt_1", "opt_2")} == {"queued"}

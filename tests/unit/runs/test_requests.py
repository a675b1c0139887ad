"""Cancel and pause, by the state a run is in and by whether anybody runs it."""

from __future__ import annotations

import pytest

from rollout_local.domain.run import RunStatus
from rollout_local.errors import NotFound, Refused
from rollout_local.runs import requests
from rollout_local.store import reads
from rollout_local.store.lease import acquire
from rollout_local.store.schema import Store
from tests.unit.runs.test_evaluation import given_run


@pytest.fixture
def stand(store: Store):
    """`stand(status, held=False)`: a run in that state, run by this process or by nobody."""

    def put(status: str, *, held: bool = False) -> Store:
        given_run(store)
        with store.write() as db:
            db.execute("UPDATE runs SET status = ?", (status,))
        if held:
            acquire(store, "opt_test")
        return store

    return put


def status(store: Store) -> str:
    return str(reads.run(store, "opt_test")["status"])


@pytest.mark.parametrize("waiting", ["created", "queued", "paused"])
def test_a_run_that_waits_is_cancelled_at_once(stand, waiting: str) -> None:
    store = stand(waiting)
    said = requests.ask(store, "opt_te", "cancel")
    assert said == {"run_id": "opt_test", "status": RunStatus.CANCELLED, "message": "run opt_test is cancelled"}
    row = reads.run(store, "opt_test")
    assert (row["status"], row["stop_reason"], row["message"]) == ("cancelled", "cancelled", "cancelled on request")
    assert row["finished_at"] is not None


def test_what_was_carried_out_at_once_is_on_record_too(stand) -> None:
    store = stand("queued")
    for _ in range(2):
        requests.ask(store, "opt_test", "cancel", "ada")
    (asked,) = store.rows("SELECT action, actor, handled_at IS NOT NULL AS handled, note FROM run_commands")
    note = "cancelled: nobody was working on it"
    assert asked == {"action": "cancel", "actor": "ada", "handled": 1, "note": note}


@pytest.mark.parametrize("waiting", ["created", "queued", "paused"])
def test_a_run_that_waits_cannot_be_paused(stand, waiting: str) -> None:
    store = stand(waiting)
    with pytest.raises(Refused, match=rf"does not run \(status {waiting}\); there is nothing to pause"):
        requests.ask(store, "opt_test", "pause")
    assert status(store) == waiting


@pytest.mark.parametrize("ended", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize("action", ["cancel", "pause"])
def test_a_run_that_ended_stays_as_it_is(stand, ended: str, action: str) -> None:
    store = stand(ended)
    assert requests.ask(store, "opt_test", action)["message"] == f"run opt_test is {ended} already"
    assert status(store) == ended


@pytest.mark.parametrize(("action", "to"), [("cancel", "cancelled"), ("pause", "paused")])
def test_a_run_whose_runner_is_gone_is_moved_at_once(stand, action: str, to: str) -> None:
    store = stand("running")
    assert requests.ask(store, "opt_test", action)["status"] == to
    assert status(store) == to


@pytest.mark.parametrize("state", ["running", "paused"])
def test_a_run_that_somebody_holds_is_asked_and_asking_twice_asks_once(stand, state: str) -> None:
    """Paused and held: its runner has just begun, and has not said so yet."""
    store = stand(state, held=True)
    for _ in range(2):
        said = requests.ask(store, "opt_test", "cancel")
        assert "asked the runner of opt_test to cancel" in said["message"]
        assert said["status"] == state
    requests.ask(store, "opt_test", "pause")
    assert [row["action"] for row in store.rows("SELECT * FROM run_commands")] == ["cancel", "pause"]
    assert status(store) == state


def test_a_run_that_somebody_begins_in_the_same_moment_is_asked_after_all(stand) -> None:
    store = stand("paused")
    stale = reads.run(store, "opt_test")
    acquire(store, "opt_test")
    with store.write() as db:
        db.execute("UPDATE runs SET status = 'running'")
    said = requests._at_once(store, stale, RunStatus.PAUSED, "cancel", "ada")
    assert "asked the runner" in said["message"]
    assert status(store) == "running"


def test_a_run_that_is_not_there(store: Store) -> None:
    with pytest.raises(NotFound):
        requests.ask(store, "opt_none", "cancel")

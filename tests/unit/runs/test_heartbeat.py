"""A run that says it is alive, and heeds what others ask of it."""

from __future__ import annotations

import time

import pytest

from rollout_local.errors import Cancelled, LeaseLost, Paused, StopSearch
from rollout_local.runs import heartbeat
from rollout_local.runs.heartbeat import beating, heed
from rollout_local.stop import StopFlag
from rollout_local.store import lifecycle
from rollout_local.store.lease import Lease, acquire
from rollout_local.store.schema import Store, open_store
from tests.children import until
from tests.unit.runs.test_evaluation import given_run

AT = "2025-01-01T00:00:00Z"


@pytest.fixture
def lease(store: Store) -> Lease:
    given_run(store)
    return acquire(store, "opt_test")


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_EVERY_S", 0.01)


def beats(store: Store) -> int:
    row = store.row("SELECT beats FROM leases")
    assert row is not None
    return int(row["beats"])


def stopped(lease: Lease) -> StopSearch:
    """The reason that a beating run is stopped for."""
    stop = StopFlag()
    with beating(lease, stop):
        until(lambda: stop.reason)
    assert stop.reason is not None
    return stop.reason


@pytest.mark.usefixtures("quickly")
def test_it_beats_until_the_block_ends(lease: Lease) -> None:
    stop = StopFlag()
    with beating(lease, stop):
        until(lambda: beats(lease.store) >= 3)
    count = beats(lease.store)
    time.sleep(0.05)
    assert beats(lease.store) == count
    assert stop.reason is None


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize(("action", "kind"), [("cancel", Cancelled), ("pause", Paused)])
def test_a_request_stops_the_run_and_is_marked_as_heard(lease: Lease, action: str, kind: type) -> None:
    lifecycle.add_command(lease.store, "opt_test", action, "me", AT)
    assert isinstance(stopped(lease), kind)
    row = lease.store.row("SELECT * FROM run_commands")
    assert row is not None
    assert row["note"] == "heard by the runner"
    assert row["handled_at"] is not None


def test_a_request_that_it_does_not_know_is_left_for_others(lease: Lease) -> None:
    lifecycle.add_command(lease.store, "opt_test", "sync", "me", AT)
    stop = StopFlag()
    heed(lease, stop, lease.requests())
    assert stop.reason is None
    assert len(lease.requests()) == 1


@pytest.mark.usefixtures("quickly")
def test_a_lease_that_is_lost_stops_the_run(lease: Lease) -> None:
    with open_store(lease.store.path) as other, other.write() as db:
        db.execute("UPDATE leases SET token = token + 1")
    assert isinstance(stopped(lease), LeaseLost)


@pytest.mark.usefixtures("quickly")
def test_a_file_that_cannot_be_written_pauses_the_run_with_the_reason(lease: Lease) -> None:
    away = lease.store.path.with_name("away.db")
    lease.store.path.rename(away)
    reason = stopped(lease)
    away.rename(lease.store.path)
    assert isinstance(reason, Paused)
    assert reason.reason == "error"
    assert "has vanished" in str(reason)


@pytest.mark.usefixtures("quickly")
def test_a_heartbeat_that_fails_outside_a_lease_pauses_the_run_too(lease: Lease) -> None:
    lease.store.fence = None
    with open_store(lease.store.path) as other, other.write() as db:
        db.execute("ALTER TABLE leases RENAME TO once")
    reason = stopped(lease)
    assert isinstance(reason, Paused)
    assert "the heartbeat failed" in str(reason)

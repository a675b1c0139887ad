"""One runner per run: who holds it, when it is lost, and what a holder that lost it may still do (nothing)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from rollout_local.errors import LeaseLost, Paused, Refused
from rollout_local.store import holders, lifecycle
from rollout_local.store import lease as leases
from rollout_local.store.holders import Holder, HolderState
from rollout_local.store.lease import HUNG_S, STOPPED_S, acquire, holder_of, require_free
from rollout_local.store.schema import open_store

AT = "2025-01-01T00:00:00Z"


@pytest.fixture
def run_id(add_run) -> str:
    return add_run()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Another living process."""
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def hold(store, run_id) -> Callable[..., None]:
    """`hold(holder, beat_ago=0)`: write a lease as another process would have."""

    def write(holder: Holder, beat_ago: float = 0.0) -> None:
        with store.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO leases (run_id, token, pid, host, boot, process, beats, beat_s)"
                " VALUES (?, 7, ?, ?, ?, ?, 3, ?)",
                (run_id, holder.pid, holder.host, holder.boot, holder.process, time.monotonic() - beat_ago),
            )

    return write


def began(pid: int) -> str:
    return holders._status(pid)[1]


def living(process: subprocess.Popen[bytes]) -> Holder:
    return replace(Holder.this(), pid=process.pid, process=holders._status(process.pid)[1])


def test_a_free_run_is_taken_and_each_taking_has_a_higher_token(store, run_id):
    assert holder_of(store, run_id) is None
    first = acquire(store, run_id)
    assert holder_of(store, run_id) == Holder.this()
    first.release()
    assert holder_of(store, run_id) is None
    second = acquire(store, run_id)
    assert (first.token, second.token, second.from_stopped) == (1, 2, False)


def test_a_held_run_is_refused_at_once_naming_pid_and_host(store, run_id, hold, sleeper):
    hold(living(sleeper), beat_ago=HUNG_S - 5)
    for attempt in (acquire, require_free):
        with pytest.raises(Refused, match=f"by process {sleeper.pid} on {socket.gethostname()}"):
            attempt(store, run_id)


def test_nothing_is_in_the_way_of_a_run_that_nobody_holds(store, run_id, hold):
    require_free(store, run_id)
    hold(replace(Holder.this(), process="another"))
    require_free(store, run_id)


def test_a_stopped_holder_has_lost_it_after_two_beats_and_may_wake_up(store, run_id, hold, sleeper):
    sleeper.send_signal(signal.SIGSTOP)
    while holders.Machine().state(living(sleeper)) is not HolderState.STOPPED:
        time.sleep(0.01)
    hold(living(sleeper), beat_ago=STOPPED_S - 1)
    with pytest.raises(Refused):
        acquire(store, run_id)
    hold(living(sleeper), beat_ago=STOPPED_S + 0.1)
    taken = acquire(store, run_id)
    assert (taken.token, taken.from_stopped) == (8, True)


def test_a_holder_that_is_there_is_left_in_peace_until_it_hangs_for_long(store, run_id, hold, sleeper):
    hold(living(sleeper), beat_ago=HUNG_S + 0.1)
    taken = acquire(store, run_id)
    assert (taken.token, taken.from_stopped) == (8, True)


def test_a_holder_that_died_has_lost_it_at_once(store, run_id, hold, sleeper):
    holder = living(sleeper)
    hold(holder)
    sleeper.send_signal(signal.SIGKILL)
    while began(sleeper.pid):  # a zombie counts as gone
        time.sleep(0.01)
    assert not acquire(store, run_id).from_stopped


def test_a_later_process_with_the_same_number_is_not_the_holder(store, run_id, hold, sleeper):
    hold(replace(living(sleeper), process="an earlier start"))
    assert acquire(store, run_id).token == 8


@pytest.mark.parametrize("host", ["elsewhere", socket.gethostname()], ids=["machine", "container"])
def test_a_holder_that_cannot_be_seen_is_judged_by_whether_its_beats_grow(store, run_id, hold, monkeypatch, host):
    monkeypatch.setattr(leases, "SILENT_S", 0.3)
    elsewhere = Holder(os.getpid(), host, "another boot or space of numbers", "another start")
    hold(elsewhere, beat_ago=-1e9)
    require_free(store, run_id)
    with store.write() as db:
        db.execute("UPDATE runs SET status = 'running'")

    def beat() -> None:
        with store.write() as db:
            db.execute("UPDATE leases SET beats = beats + 1")

    threading.Timer(0.1, beat).start()
    with pytest.raises(Refused, match=f"by process {os.getpid()} on {host}"):
        acquire(store, run_id)
    assert acquire(store, run_id).from_stopped


def test_a_beat_is_counted_and_brings_the_requests_oldest_first(store, run_id):
    lease = acquire(store, run_id)
    assert lease.beat(AT) == []
    first = lifecycle.add_command(store, run_id, "pause", "me", AT)
    second = lifecycle.add_command(store, run_id, "cancel", "me", AT)
    assert [request["id"] for request in lease.beat("2025-01-01T00:00:01Z")] == [first, second]
    lifecycle.handle_command(store, first, AT, "")
    assert [request["id"] for request in lease.requests()] == [second]
    assert store.row("SELECT beats FROM leases")["beats"] == 2
    assert store.row("SELECT heartbeat_at FROM runs")["heartbeat_at"] == "2025-01-01T00:00:01Z"


def taken_over(store, run_id):
    with store.write() as db:
        db.execute("UPDATE leases SET token = token + 1 WHERE run_id = ?", (run_id,))


def test_who_lost_the_lease_can_write_nothing_more(store, run_id):
    acquire(store, run_id)
    with open_store(store.path) as other:
        taken_over(other, run_id)
    before = store.rows("SELECT * FROM runs")
    with pytest.raises(LeaseLost, match="another runner has taken over"):
        lifecycle.set_recording(store, run_id, "x")
    assert store.rows("SELECT * FROM runs") == before


def test_who_lost_the_lease_takes_nothing_from_its_new_holder_by_releasing(store, run_id):
    lease = acquire(store, run_id)
    with open_store(store.path) as other:
        taken_over(other, run_id)
    lease.release()
    assert holder_of(store, run_id) == Holder.this()


def test_a_lease_that_vanished_is_lost_too(store, run_id):
    acquire(store, run_id)
    with open_store(store.path) as other, other.write() as db:
        db.execute("DELETE FROM leases")
    with pytest.raises(LeaseLost):
        lifecycle.set_recording(store, run_id, "x")


def test_before_a_paid_call_a_holder_looks_only_after_a_gap_in_its_beats(store, run_id):
    lease = acquire(store, run_id)
    with open_store(store.path) as other:
        taken_over(other, run_id)
    lease.require()
    lease._beaten -= STOPPED_S + 1
    with pytest.raises(LeaseLost, match="nothing more is paid for here"):
        lease.require()


def test_after_a_gap_a_holder_that_still_has_it_goes_on(store, run_id):
    lease = acquire(store, run_id)
    lease._beaten -= STOPPED_S + 1
    lease.require()


@pytest.mark.parametrize("put_another", [False, True])
def test_a_file_that_vanished_or_was_replaced_pauses_the_run(store, run_id, put_another):
    acquire(store, run_id)
    away = store.path.with_name("away.db")
    store.path.rename(away)
    if put_another:
        store.path.write_bytes(b"")
    with pytest.raises(Paused, match="has vanished, or is another file now"):
        lifecycle.set_recording(store, run_id, "x")
    away.replace(store.path)
    lifecycle.set_recording(store, run_id, "x")


def test_this_process_and_a_zombie_are_told_apart():
    assert holders.Machine().state(Holder.this()) is HolderState.THERE
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    while began(pid):
        time.sleep(0.01)
    os.waitpid(pid, 0)
    assert began(pid) == ""


@pytest.mark.parametrize(("anew", "left"), [(False, ["cancel"]), (True, [])])
def test_what_was_asked_of_an_earlier_stretch_of_work_is_void(store, run_id, anew, left):
    for action in ("pause", "cancel"):
        lifecycle.add_command(store, run_id, action, "me", AT)
    lease = acquire(store, run_id, at=AT, anew=anew)
    assert [request["action"] for request in lease.requests()] == left
    lifecycle.add_command(store, run_id, "pause", "me", AT)
    assert [request["action"] for request in lease.requests()] == [*left, "pause"]

"""The queue: a claim is a lease; whoever is not the holder changes nothing, in any order of events."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout_local.domain.run import RunStatus
from rollout_local.errors import LeaseLost, Refused
from rollout_local.store import lifecycle, queue, reads
from rollout_local.store.holders import Holder, HolderState, Machine
from rollout_local.store.lease import HUNG_S, SILENT_S, STOPPED_S, Lease, acquire
from rollout_local.store.schema import Store, open_store

AT = "2025-01-01T00:00:00Z"


class Machines(Machine):
    """A machine whose processes and clock a test moves: what one process sees of the others."""

    def __init__(self, world: World, pid: int) -> None:
        self.world = world
        self.pid = pid
        self.meanwhile: Callable[[], None] = lambda: None
        """What others do between two transactions of this process."""

    def this(self) -> Holder:
        return Holder(self.pid, "here", "boot", str(self.pid))

    def state(self, holder: Holder) -> HolderState:
        seen = self.world.states[holder.pid]
        self.meanwhile()
        return seen

    def clock(self) -> float:
        return self.world.now

    def wait(self, seconds: float) -> None:
        self.world.now += seconds


class World:
    """The processes by number, and the time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.states: dict[int, HolderState] = {}

    def spawn(self) -> Machines:
        pid = len(self.states) + 1
        self.states[pid] = HolderState.THERE
        return Machines(self, pid)


@pytest.fixture
def world() -> World:
    return World()


def queued(store: Store, add_run: Any, *names: str) -> None:
    for name in names:
        add_run(name)
        assert queue.enqueue(store, name, RunStatus.CREATED, AT)


def status(store: Store, run: str = "opt_1") -> str:
    return str(reads.run(store, run)["status"])


def test_a_claim_takes_the_oldest_and_is_its_lease(store, add_run, world):
    queued(store, add_run, "opt_1", "opt_2")
    claimed = queue.claim(store, machine=world.spawn())
    assert (claimed.run["id"], claimed.run["status"], claimed.lease.token) == ("opt_1", "running", 1)
    with open_store(store.path) as other, pytest.raises(Refused, match="is being run by process 1"):
        acquire(other, "opt_1", world.spawn())
    assert [queue.claim(store, machine=world.spawn()).run["id"], queue.claim(store)] == ["opt_2", None]


def test_what_a_worker_cannot_run_is_left_to_others(store, add_run, world):
    queued(store, add_run, "opt_1", "opt_2")
    assert queue.claim(store, but={"opt_1"}, machine=world.spawn()).run["id"] == "opt_2"
    assert queue.claim(store, but={"opt_1"}, machine=world.spawn()) is None
    assert queue.claim(store, "another project", machine=world.spawn()) is None


@pytest.mark.parametrize(
    ("state", "silent", "reaped"),
    [
        (HolderState.GONE, 0, True),
        (HolderState.STOPPED, STOPPED_S - 0.1, False),
        (HolderState.STOPPED, STOPPED_S + 0.1, True),
        (HolderState.THERE, HUNG_S - 0.1, False),
        (HolderState.THERE, HUNG_S + 0.1, True),
        (HolderState.ELSEWHERE, 1e6, False),
    ],
)
def test_a_run_is_reaped_when_its_worker_has_lost_it(store, add_run, world, state, silent, reaped):
    queued(store, add_run, "opt_1")
    worker = world.spawn()
    queue.claim(store, machine=worker)
    store.fence = None
    world.states[worker.pid], world.now = state, world.now + silent
    assert queue.reap(store, 3, AT, machine=world.spawn()) == ([("opt_1", "queued")] if reaped else [])
    assert status(store) == ("queued" if reaped else "running")


def test_a_worker_elsewhere_is_reaped_after_its_beats_stood_still_under_our_eyes(store, add_run, world):
    queued(store, add_run, "opt_1")
    worker, watcher = world.spawn(), world.spawn()
    lease = queue.claim(store, machine=worker).lease
    world.states[worker.pid], silence = HolderState.ELSEWHERE, queue.Silence(watcher)
    for _ in range(3):
        world.now += SILENT_S - 1
        lease.beat(AT)
        assert queue.reap(store, 3, AT, silence, watcher) == []
    store.fence = None
    world.now += SILENT_S + 1
    assert queue.reap(store, 3, AT, silence, watcher) == [("opt_1", "queued")]


def test_a_running_run_that_nobody_holds_is_reaped(store, add_run, world):
    queued(store, add_run, "opt_1")
    queue.claim(store, machine=world.spawn()).lease.release()
    assert queue.reap(store, 3, AT, machine=world.spawn()) == [("opt_1", "queued")]


@pytest.mark.parametrize("action", ["pause", "cancel"])
def test_what_was_asked_of_a_run_outlives_its_worker_until_a_person_has_it_run_again(store, add_run, world, action):
    queued(store, add_run, "opt_1")
    queue.claim(store, machine=(worker := world.spawn()))
    store.fence = None
    lifecycle.add_command(store, "opt_1", action, "cli", AT)
    world.states[worker.pid] = HolderState.GONE
    queue.reap(store, 3, AT, machine=world.spawn())
    lease = queue.claim(store, machine=world.spawn()).lease
    assert [request["action"] for request in lease.requests()] == [action]
    queue.settle(queue.Claim(reads.run(store, "opt_1"), lease), RunStatus.PAUSED, "paused", AT)
    lease.release()
    queue.enqueue(store, "opt_1", RunStatus.PAUSED, AT)
    assert queue.claim(store, machine=world.spawn()).lease.requests() == []


def test_restarts_have_a_counter_of_their_own(store, add_run, world):
    queued(store, add_run, "opt_1")
    for _ in range(5):  # gone on with by hand, five times
        acquire(store, "opt_1", world.spawn()).release()
    for restart in range(3):
        queue.claim(store, machine=(worker := world.spawn()))
        store.fence, world.states[worker.pid] = None, HolderState.GONE
        expected = RunStatus.QUEUED if restart < 2 else RunStatus.FAILED
        assert queue.reap(store, 2, AT, machine=world.spawn()) == [("opt_1", expected)]
    row = reads.run(store, "opt_1")
    assert (row["message"], row["stop_reason"], row["finished_at"]) == ("its worker died 3 times", "error", AT)
    assert queue.enqueue(store, "opt_1", RunStatus.FAILED, AT, fresh=True)
    assert reads.run(store, "opt_1")["restarts"] == 0


def test_a_worker_that_lost_its_run_can_settle_nothing(store, add_run, world):
    queued(store, add_run, "opt_1")
    claimed = queue.claim(store, machine=(first := world.spawn()))
    world.states[first.pid] = HolderState.GONE
    with open_store(store.path) as other:
        acquire(other, "opt_1", world.spawn())
        with pytest.raises(LeaseLost):
            queue.settle(claimed, RunStatus.FAILED, "it could not be started", AT)
        assert status(other) == "running"


def test_a_claimed_run_that_cannot_be_started_ends_or_waits_again(store, add_run, world):
    queued(store, add_run, "opt_1")
    claimed = queue.claim(store, machine=world.spawn())
    assert queue.settle(claimed, RunStatus.QUEUED, "it waits for another worker", AT)
    assert (status(store), reads.run(store, "opt_1")["finished_at"]) == ("queued", None)
    claimed.lease.release()
    why = "broken: no login with sk-abcdefghijklmnop0123"
    assert queue.settle(queue.claim(store, machine=world.spawn()), RunStatus.FAILED, why, AT)
    run = reads.run(store, "opt_1")
    assert (run["status"], run["finished_at"], run["message"]) == ("failed", AT, "broken: no login with [redacted]")


# -- every order of events


class Worker:
    """A worker process over the library's own functions; each step is one of its transactions."""

    def __init__(self, world: World, path: Path, finished: Counter[str]) -> None:
        self.machine = world.spawn()
        self.path = path
        self.finished = finished
        self.store = self._open()
        self.silence = queue.Silence(self.machine)
        self.lease: Lease | None = None
        self.steps = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def _open(self) -> Store:
        store = open_store(self.path, create=False)
        with store.reading() as db:
            db.execute("PRAGMA synchronous=OFF")  # what is tested is the order, not the disk
        return store

    def step(self, dice: random.Random, *, by_hand: str | None = None) -> None:
        if self.lease is None:
            self._take(dice, by_hand)
            return
        run = self.lease.run_id
        try:
            self.lease.beat(AT)
            self.steps += 1
            if self.steps < 4:
                return
            if lifecycle.move(self.store, run, [RunStatus.RUNNING], RunStatus.COMPLETED):
                self.finished[run] += 1
            self._leave()
        except LeaseLost:
            self._leave()

    def _take(self, dice: random.Random, by_hand: str | None) -> None:
        self.steps = 0
        if by_hand is not None:
            try:
                self.lease = acquire(self.store, by_hand, self.machine)
            except Refused:
                return
            if reads.run(self.store, by_hand)["status"] == "completed":
                self._leave()
            else:
                lifecycle.take(self.store, by_hand, 1, pid=self.machine.pid, host="here", at=AT)
        elif dice.random() < 0.5:
            self.machine.meanwhile = self.meanwhile
            queue.reap(self.store, 10**6, AT, self.silence, self.machine)
            self.machine.meanwhile = lambda: None
        else:
            claimed = queue.claim(self.store, machine=self.machine)
            self.lease = None if claimed is None else claimed.lease

    def _leave(self) -> None:
        assert self.lease is not None
        self.lease.release()
        self.lease = None

    def end(self) -> None:
        self.store.fence = None
        self.store.close()


class Office:
    """Three workers and their fates, in an order that the seed decides."""

    def __init__(self, path: Path, runs: list[str], seed: int) -> None:
        self.path, self.runs, self.dice = path, runs, random.Random(seed)
        self.world, self.finished = World(), Counter[str]()
        self.workers = [Worker(self.world, path, self.finished) for _ in range(3)]
        self.retired: list[Worker] = []

    def is_awake(self, worker: Worker) -> bool:
        return self.world.states[worker.machine.pid] is HolderState.THERE

    def one_event(self) -> None:
        place, event = self.dice.randrange(3), self.dice.random()
        worker = self.workers[place]
        pid = worker.machine.pid
        self.world.now += self.dice.choice([0.1, 1.0, STOPPED_S, HUNG_S / 2])
        if event < 0.06:
            self.world.states[pid] = HolderState.GONE
            self.retired.append(worker)
            self.workers[place] = Worker(self.world, self.path, self.finished)
        elif event < 0.14:
            self.world.states[pid] = HolderState.STOPPED if self.is_awake(worker) else HolderState.THERE
        elif self.is_awake(worker):
            worker.meanwhile = lambda: self.others_step(worker)
            worker.step(self.dice, by_hand=self.dice.choice(self.runs) if event > 0.92 else None)

    def others_step(self, busy: Worker) -> None:
        for worker in self.workers:
            if worker is not busy and self.is_awake(worker):
                worker.meanwhile = lambda: None
                worker.step(self.dice)

    def work_off(self) -> None:
        """Everybody who is stopped wakes up, and all work until nothing is left."""
        for pid, state in self.world.states.items():
            if state is HolderState.STOPPED:
                self.world.states[pid] = HolderState.THERE
        for _ in range(400):
            if set(self.finished) == set(self.runs) and not any(worker.lease for worker in self.workers):
                break
            self.world.now += 1.0
            self.workers[self.dice.randrange(3)].step(self.dice)

    def close(self) -> None:
        for worker in [*self.workers, *self.retired]:
            worker.end()


def interleave(store: Store, add_run: Any, seeds: range) -> None:
    with store.reading() as db:
        db.execute("PRAGMA synchronous=OFF")
    for seed in seeds:
        runs = [f"opt_{seed}_{number}" for number in range(3)]
        queued(store, add_run, *runs)
        office = Office(store.path, runs, seed)
        for _ in range(60):
            office.one_event()
        office.work_off()
        office.close()
        assert {run: status(store, run) for run in runs} == dict.fromkeys(runs, "completed"), f"seed {seed}"
        assert office.finished == Counter(runs), f"seed {seed}"


def test_in_any_order_of_events_no_run_is_lost_run_twice_or_failed_by_a_bystander(store, add_run):
    interleave(store, add_run, range(20))


@pytest.mark.long
def test_a_thousand_orders_of_events(store, add_run):
    interleave(store, add_run, range(1000))

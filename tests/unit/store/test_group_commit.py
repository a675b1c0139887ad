"""Several threads, one transaction: each gets its own result or error, when it is on the disk."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from rollout_local.errors import StoreError
from rollout_local.store.group_commit import GroupCommit
from rollout_local.store.schema import Store
from tests.children import until

MEMBERS = 6


@pytest.fixture
def numbers(store: Store) -> Store:
    with store.write() as db:
        db.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY) STRICT")
    return store


def put(number: int) -> Callable[[sqlite3.Connection], int]:
    def work(db: sqlite3.Connection) -> int:
        db.execute("INSERT INTO numbers VALUES (?)", (number,))
        return number * 10

    return work


def gathered(store: Store, works: list[Callable[[sqlite3.Connection], Any]]) -> list[Future[Any]]:
    """All of `works`, written while one transaction is held open: they come together in the next one."""
    group, leading, go_on = GroupCommit(store), threading.Event(), threading.Event()

    def first(db: sqlite3.Connection) -> None:
        leading.set()
        go_on.wait(30)

    with ThreadPoolExecutor(len(works) + 1) as pool:
        pool.submit(group.write, first)
        leading.wait(30)
        futures = [pool.submit(group.write, work) for work in works]
        until(lambda: len(group._waiting) == len(works))
        go_on.set()
    return futures


def kept(store: Store) -> list[int]:
    return [row["n"] for row in store.rows("SELECT n FROM numbers ORDER BY n")]


def test_what_gathers_is_one_transaction_and_each_thread_gets_its_own_result(numbers: Store) -> None:
    before = numbers._writes
    futures = gathered(numbers, [put(n) for n in range(MEMBERS)])
    assert [future.result() for future in futures] == [n * 10 for n in range(MEMBERS)]
    assert kept(numbers) == list(range(MEMBERS))
    assert numbers._writes - before == 2


def test_a_work_that_fails_is_undone_alone(numbers: Store) -> None:
    def half(db: sqlite3.Connection) -> None:
        put(7)(db)
        raise KeyError("no such candidate")

    futures = gathered(numbers, [put(1), half, put(1), put(2)])
    with pytest.raises(KeyError, match="no such candidate"):
        futures[1].result()
    errors = [future.exception() for future in (futures[0], futures[2])]
    assert [type(error) for error in errors if error is not None] == [sqlite3.IntegrityError]
    assert (futures[3].result(), kept(numbers)) == (20, [1, 2])


def test_a_fault_of_the_database_is_everyones_and_nothing_stays(numbers: Store) -> None:
    def full(db: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    futures = gathered(numbers, [put(1), full, put(2)])
    assert all(isinstance(future.exception(), StoreError) for future in futures)
    assert kept(numbers) == []


def test_a_work_that_is_alone_raises_what_it_raised_and_leaves_nothing(numbers: Store) -> None:
    group = GroupCommit(numbers)

    def half(db: sqlite3.Connection) -> None:
        put(7)(db)
        raise KeyError("no such candidate")

    with pytest.raises(KeyError):
        group.write(half)
    assert (group.write(put(3)), kept(numbers)) == (30, [3])

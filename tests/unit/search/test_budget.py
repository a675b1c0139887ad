"""The budget: a promise, counted by batches that were admitted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from rollout_local.errors import BudgetSpent
from rollout_local.search.engine import Budget


def test_batches_are_admitted_up_to_the_limit_and_not_beyond() -> None:
    budget = Budget(10)
    budget.admit(4)
    budget.admit(6)
    assert budget.spent == 10
    with pytest.raises(BudgetSpent, match=r"a batch of 1 would pass the budget of 10 calls \(10 spent\)"):
        budget.admit(1)


def test_a_refused_batch_is_not_counted_and_a_smaller_one_may_still_come() -> None:
    budget = Budget(10)
    budget.admit(8)
    with pytest.raises(BudgetSpent):
        budget.admit(3)
    budget.admit(2)
    assert budget.spent == 10


def test_nothing_is_admitted_with_a_budget_of_nothing() -> None:
    with pytest.raises(BudgetSpent):
        Budget(0).admit(1)


def test_the_refusal_passes_through_what_catches_exceptions() -> None:
    assert not issubclass(BudgetSpent, Exception)


def test_threads_together_are_never_admitted_beyond_the_limit() -> None:
    budget = Budget(1000)

    def admit(_: int) -> int:
        try:
            budget.admit(3)
        except BudgetSpent:
            return 0
        return 3

    with ThreadPoolExecutor(8) as pool:
        admitted = sum(pool.map(admit, range(1000)))
    assert admitted == budget.spent == 999

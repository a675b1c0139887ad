"""A resumed run that asks something new before the journal's end has diverged."""

from __future__ import annotations

import pytest

from rollout_local.errors import Paused
from rollout_local.runs.divergence import History


def test_what_is_new_at_the_journals_end_or_after_it_may_be_asked() -> None:
    history = History(5)
    history.require_new(5, "a reflection")
    history.require_new(6, "a reflection")
    History(0).require_new(0, "task 'a' (train)")


def test_what_is_new_before_it_is_a_divergence_and_says_where() -> None:
    with pytest.raises(
        Paused, match=r"history diverged at step 3: task 'a' \(train\) was not asked there before"
    ) as it:
        History(5).require_new(3, "task 'a' (train)")
    assert it.value.reason == "error"
    assert "goes on to step 5" in str(it.value)
    assert "--fresh" in str(it.value)

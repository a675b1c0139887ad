"""While a run works, what libraries log is not shown."""

from __future__ import annotations

import logging

import pytest

from rollout_local.library_logs import library_logs_off


def test_warnings_of_the_libraries_are_off_in_the_block_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = logging.getLogger("dspy")
    monkeypatch.setattr(library, "propagate", True)
    level = library.level
    with library_logs_off():
        logging.getLogger("dspy.clients.lm").warning("LM response was truncated")
        logging.getLogger("app").warning("mine")
    logging.getLogger("dspy.clients.lm").warning("afterwards")
    assert [record.message for record in caplog.records] == ["mine", "afterwards"]
    assert library.level == level


def test_they_are_on_again_after_an_error() -> None:
    level = logging.getLogger("gepa").level

    def fail() -> None:
        with library_logs_off():
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert logging.getLogger("gepa").level == level

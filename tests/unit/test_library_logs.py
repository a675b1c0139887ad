"""While a run works, what libraries log is not shown."""

from __future__ import annotations

import logging

import pytest

from rollout_local.library_logs import library_logs_off

LIBRARIES = ("dspy", "gepa")


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_librarys_warnings_are_off_in_the_block_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = logging.getLogger(name)
    monkeypatch.setattr(library, "level", library.level)  # put back whatever happens here
    library.setLevel(logging.INFO)
    with library_logs_off():
        assert library.level == logging.CRITICAL
    assert library.level == logging.INFO


def test_they_are_on_again_after_an_error() -> None:
    levels = [logging.getLogger(name).level for name in LIBRARIES]

    def fail() -> None:
        with library_logs_off():
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [logging.getLogger(name).level for name in LIBRARIES] == levels

"""What a target does to the process that it shares with the run is seen, named and put back."""

from __future__ import annotations

import builtins
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rollout_local.runs.process_state import Surroundings, surroundings


def _empty_modules() -> None:
    for name in [name for name in sys.modules if name.startswith("rollout_local.search")]:
        del sys.modules[name]


def _replace_json() -> None:
    json.dumps = lambda *_: None  # type: ignore[assignment]


def _lose_random() -> None:
    del random.Random


def _lose_open() -> None:
    builtins.open = None  # type: ignore[assignment]


def _no_stderr() -> None:
    sys.stderr = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("does", "named"),
    [
        (_empty_modules, "sys.modules['rollout_local.search']"),
        (_replace_json, "json.dumps"),
        (_lose_random, "random.Random"),
        (_lose_open, "builtins.open"),
        (_no_stderr, "sys.stderr"),
        (lambda: sys.setrecursionlimit(500), "the recursion limit"),
    ],
)
def test_what_a_target_changes_is_named_and_put_back(does: Callable[[], None], named: str) -> None:
    import rollout_local.search

    was = (json.dumps, random.Random, builtins.open, sys.stderr, sys.getrecursionlimit(), rollout_local.search)
    with surroundings() as before:
        assert before.put_back() == ""
        does()
        assert before.put_back().startswith(named)
        assert before.put_back() == ""
    now = (json.dumps, random.Random, builtins.open, sys.stderr, sys.getrecursionlimit(), rollout_local.search)
    assert now == was
    assert sys.modules["rollout_local.search"] is rollout_local.search


def test_a_stream_that_was_closed_says_again_what_is_written_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "out").open("w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        before = Surroundings()
        print("before")
        sys.stdout.close()
        assert before.put_back() == "sys.stdout"
        print("after")
        sys.stdout.close()
        before.close()
    assert (tmp_path / "out").read_text() == "before\nafter\n"


def test_files_of_the_run_that_a_target_closes_are_named(tmp_path: Path) -> None:
    names = ("rollout.db", "recording.yaml", "other")
    files = {name: os.open(tmp_path / name, os.O_CREAT | os.O_RDWR) for name in names}
    try:
        with surroundings([tmp_path / "rollout.db", tmp_path / "recording.yaml", tmp_path / "never"]) as before:
            os.close(files["other"])
            assert before.closed() is None
            os.close(files["rollout.db"])
            os.dup2(os.open(os.devnull, os.O_RDWR), files["recording.yaml"])
            reason = before.closed()
        assert str(reason) == (
            "the target closed what the run has open (recording.yaml and rollout.db); let it close only its own, or "
            "run it with --isolate"
        )
    finally:
        os.close(files["recording.yaml"])

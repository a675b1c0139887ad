"""The bar of a notebook: one display, updated at most five times a second, without markup that somebody else wrote."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from rollout_local.domain.run import Phase
from rollout_local.runs.progress import Progress, Silent
from rollout_local.watching import notebook
from rollout_local.watching.default import shown


class Cell:
    """The output of a cell, and a clock."""

    def __init__(self) -> None:
        self.places = 0
        self.html: list[str] = []
        self.now = 0.0

    def show(self, html: str) -> Cell:
        self.places += 1
        self.html.append(html)
        return self

    def update(self, obj: Any) -> None:
        self.html.append(obj._repr_html_())

    def clock(self) -> float:
        return self.now


def at(done: int, phase: Phase = Phase.SEARCH) -> Progress:
    return Progress(phase, done, 40, 0.25, 0.5, 0.0123, 1)


def test_progress_is_drawn_in_one_place_and_ends_as_a_line() -> None:
    cell = Cell()
    with notebook.bar(cell.show, cell.clock) as bar:
        bar.progress(at(1))
        cell.now = 61.0
        bar.progress(at(2))
    assert cell.places == 1
    assert '<progress value="2" max="40"></progress> 2/40 · val 0.250 → 0.500 · $0.0123' in cell.html[1]
    assert "searching" in cell.html[1]
    assert "0:01:01" in cell.html[1]
    assert "<progress" not in cell.html[-1]
    assert "ran: val 0.250 → 0.500 · $0.0123 · 1 without a score · 0:01:01" in cell.html[-1]


def test_a_fast_run_is_not_drawn_at_every_trial_but_at_each_end() -> None:
    cell = Cell()
    with notebook.bar(cell.show, cell.clock) as bar:
        for done in range(1, 41):
            cell.now += 0.01
            bar.progress(at(done))
        bar.progress(at(1, Phase.BEST))
    drawn = [html for html in cell.html if "<progress" in html]
    assert len(drawn) <= 5
    assert any("40/40" in html for html in drawn)
    assert "evaluating best" in drawn[-1]


def test_a_warning_stays_under_the_bar_as_text() -> None:
    cell = Cell()
    with notebook.bar(cell.show, cell.clock) as bar:
        bar.note("info", "not told")
        bar.note("warning", "<script>alert(1)</script>")
        bar.progress(at(3))
    assert "warning: &lt;script&gt;" in cell.html[-1]
    assert "not told" not in "".join(cell.html)


def test_nothing_is_shown_of_a_run_that_did_nothing() -> None:
    cell = Cell()
    with notebook.bar(cell.show, cell.clock):
        pass
    assert cell.html == []


@pytest.mark.parametrize(("kernel", "found"), [(object(), True), (None, False)])
def test_a_kernel_is_told_from_ipython_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, kernel: object, found: bool
) -> None:
    ipython: Any = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=kernel)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert notebook.in_kernel() is found
    with shown(None) as watch:
        assert isinstance(watch, Silent) is not found


def test_a_watch_of_ones_own_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    own = Silent()
    with shown(own) as watch:
        assert watch is own


def test_on_a_terminal_there_is_the_bar_of_the_command(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with shown(None) as watch:
        watch.progress(at(7))
        watch.note("warning", "a word")
    said = capsys.readouterr().err
    assert "warning: a word" in said
    assert "7/40" in said

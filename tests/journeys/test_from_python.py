"""A run from Python: what `rollout.run` returns, and what `rollout.load` and `rollout.report` read again."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import rollout_local as rollout
from rollout_local.afterwards import result_html
from rollout_local.errors import InputError, NotFound, StoreError
from rollout_local.runs.progress import Progress, Silent
from tests.conftest import Project, fresh_targets, project_in


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    from rollout_local.simulator import Settings, Simulator, load_script

    simulator = Simulator(load_script(None), Settings())
    simulator.start()
    yield project_in(tmp_path_factory.mktemp("project"), simulator.url)
    simulator.stop()


@pytest.fixture(scope="module")
def result(project: Project) -> rollout.RunResult:
    return run(project)


def run(project: Project, **more: Any) -> rollout.RunResult:
    settings = {
        "reflection_model": "openai/sim-reflection", "reflection_api_base": project.url,
        "task_model": "openai/sim-student", "task_api_base": project.url, "max_metric_calls": 40,
        "dataset": "dataset", "verifier": "verifier.json", "splits_file": "splits.json", "module": "target",
        "allow_constant_score": True,
    }  # fmt: skip
    with fresh_targets(project.folder), pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(project.folder))
        return rollout.run("support", folder=project.folder, **{**settings, **more})


def test_a_result_says_what_the_run_found_in_few_words(result: rollout.RunResult) -> None:
    assert result.report is not None
    assert result.verdict is not None
    assert result.verdict.word in {"promote", "undecided", "do not promote"}
    assert result.verdict.sentence == str(result.verdict) == result.report["verdict"]["sentence"]
    assert result.lift == result.report["holdout"]["lift"] > 0
    assert result.text == result.report["best"]["text"]
    assert repr(result).startswith(f"RunResult({result.run_id}, completed: {result.verdict.sentence[:80]}")
    assert len(repr(result)) < 200


def test_candidates_and_trials_are_those_of_the_file(result: rollout.RunResult) -> None:
    assert result.report is not None
    best = next(one for one in result.candidates if one.number == result.report["best"]["number"])
    assert (best.text, best.val_n) == (result.text, 5)
    assert best.holdout_mean == pytest.approx(result.report["best"]["holdout"]["mean"])
    assert [one.number for one in result.candidates] == list(range(len(result.candidates)))
    assert result.candidates[0].status == "baseline"
    first = result.trials[0]
    assert (first.candidate, first.task, first.split, first.outcome) == (0, "task-00", "train", "scored")
    assert first.output
    assert first.feedback
    scores = [trial.score for trial in result.trials if trial.candidate == best.number and trial.split == "holdout"]
    assert sum(filter(None, scores)) / len(scores) == pytest.approx(best.holdout_mean)


def test_a_run_is_loaded_from_its_file_as_it_was_returned(project: Project, result: rollout.RunResult) -> None:
    db = project.folder / "rollout.db"
    for name in ("latest", result.run_id[:8]):
        assert rollout.load(name, db=db) == result
    assert rollout.report(result.run_id, db=str(db)) == result.report
    assert rollout.load("latest", db=db).trials == result.trials


def test_what_is_not_there_is_refused_in_a_sentence(project: Project, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no database at"):
        rollout.load("latest", db=tmp_path / "none.db")
    assert not list(tmp_path.iterdir())
    with pytest.raises(NotFound, match="there is no run 'opt_no'"):
        rollout.report("opt_no", db=project.folder / "rollout.db")


def test_a_run_that_has_not_begun_is_loaded_without_a_report(project: Project, tmp_path: Path) -> None:
    db = str(tmp_path / "other.db")
    run_id = project.document("optimize", "create", *project.flags, "--max-metric-calls", "9", "--db", db)["run_id"]
    found = rollout.load(run_id, db=db)
    assert (found.status, found.report, found.best, found.verdict, found.lift, found.text) == ("created", *[None] * 5)
    assert (found.trials, found.candidates) == ([], [])
    assert repr(found) == f"RunResult({run_id}, created)"
    assert "created" in found._repr_html_()
    with pytest.raises(InputError):
        rollout.report(run_id, db=db)


def test_reading_changes_no_file(project: Project, result: rollout.RunResult, tmp_path: Path) -> None:
    before = sorted(path.name for path in project.folder.iterdir())
    rows = [(project.folder / "rollout.db").read_bytes()]
    rollout.load("latest", db=project.folder / "rollout.db").trials  # noqa: B018
    assert [(project.folder / "rollout.db").read_bytes()] == rows
    assert sorted(path.name for path in project.folder.iterdir()) == before


def test_records_are_a_table_where_pandas_is_and_say_so_where_it_is_not(
    result: rollout.RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="`pip install pandas`"):
        result.trials.to_pandas()
    fake: Any = ModuleType("pandas")
    fake.DataFrame = list
    monkeypatch.setitem(sys.modules, "pandas", fake)
    assert result.trials.to_pandas() == [dataclasses.asdict(trial) for trial in result.trials]


class Interrupting(Silent):
    """Presses Ctrl-C when the search is under way."""

    def __init__(self) -> None:
        self.times = 0

    def progress(self, progress: Progress) -> None:
        if progress.phase == "searching" and progress.done >= 3 and not self.times:
            self.times += 1
            os.kill(os.getpid(), signal.SIGINT)


class Counting(Silent):
    """Keeps what each phase said first and last of what is done."""

    def __init__(self) -> None:
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}

    def progress(self, progress: Progress) -> None:
        self.first.setdefault(progress.phase, progress.done)
        self.last[progress.phase] = progress.done


def test_ctrl_c_pauses_a_run_that_resume_brings_to_the_same_end(
    project: Project, result: rollout.RunResult, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT)
    watch = Interrupting()
    paused = run(project, watch=watch, db="paused.db", max_metric_calls=40)
    assert watch.times == 1
    assert (paused.status, paused.message) == (
        "paused",
        f"interrupted; go on with rollout.resume({paused.run_id!r}, db='paused.db', folder={str(project.folder)!r})",
    )
    assert "rollout: pausing; the calls in flight are finished first" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    with fresh_targets(project.folder):
        with pytest.raises(InputError, match="seed decides what the run finds"):
            rollout.resume("latest", db="paused.db", folder=project.folder, seed=1)
        with pytest.raises(InputError, match='did you mean "max_cost"'):
            rollout.resume("latest", db="paused.db", folder=project.folder, max_costs=1)
        counted = Counting()
        ended = rollout.resume("latest", db="paused.db", folder=project.folder, max_seconds=600, watch=counted)
    assert counted.first["searching"] >= 3, "what was scored before the pause counts"
    assert counted.first["evaluating_baseline"] == counted.last["evaluating_baseline"]
    assert counted.last["searching"] <= 40
    assert ended.status == "completed"
    assert [one.text for one in ended.candidates] == [one.text for one in result.candidates]


class Tags(HTMLParser):
    """The elements of a piece of HTML, each opened and closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        if tag != "br":
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_notebook_shows_verdict_chart_and_diff(result: rollout.RunResult) -> None:
    assert result.report is not None
    shown = Tags(result._repr_html_())
    assert result.report["verdict"]["sentence"] in shown.text
    assert {"svg", "rect", "ins", "pre"} <= set(shown.seen)
    assert "holdout" in shown.text
    assert not {"script", "style", "link", "img"} & set(shown.seen)
    assert f"n {result.report['overfitting']['holdout']['n']}" in shown.text


def test_what_a_model_wrote_is_text_in_a_notebook(result: rollout.RunResult, make: Callable[..., Any]) -> None:
    shown = Tags(result_html.draw("opt_<b>", "completed", "<i>", make("<script>alert(1)</script>\u202e & \x1b[31m")))
    assert not {"script", "b", "i"} & set(shown.seen)
    assert "<script>alert(1)</script>\\u202e & \\x1b[31m" in shown.text


def test_a_diff_of_many_lines_is_cut_and_says_so(make: Callable[..., Any]) -> None:
    shown = Tags(result_html.draw("opt_1", "completed", "", make("\n".join(f"line {n}" for n in range(900)))))
    assert shown.seen.count("ins") <= result_html.MOST_LINES
    assert re.search(r"… and \d+ more lines", shown.text)


@pytest.fixture
def make(result: rollout.RunResult) -> Callable[[str], Any]:
    """The report with another best text."""

    def with_text(text: str) -> Any:
        assert result.report is not None
        best = {**result.report["best"], "text": text, "components": {"instructions": text}}
        return {**result.report, "best": best, "changed": True}

    return with_text

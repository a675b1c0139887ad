"""What plain `dspy.GEPA` left is read without running any of it."""

from __future__ import annotations

import collections
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

from rollout_local import limits
from rollout_local.bundle import gepa_state, import_gepa_log
from rollout_local.errors import InputError
from rollout_local.reports.compare import compare
from rollout_local.store import check, reads
from rollout_local.store.schema import Store

from .conftest import examples, grade, search  # isort: skip


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A log_dir of a search with two components, and what GEPA said it found."""
    folder = tmp_path_factory.mktemp("plain") / "log"
    return folder, search(folder, ("draft", "polish"), budget=150)


def test_a_log_of_plain_gepa_becomes_a_run_with_its_candidates_parents_and_scores(
    store: Store, log: tuple[Path, Any]
) -> None:
    folder, said = log
    found = import_gepa_log(store, folder)
    run = reads.run(store, found.run_id)
    candidates = reads.candidates(store, run["id"], 1)
    assert (run["status"], run["optimizer"], run["target_id"], run["name"]) == ("completed", "gepa", "gepa-log", "log")
    assert found.candidates == len(said.candidates) > 3
    assert [json.loads(row["components_json"]) for row in candidates] == [
        {name: predictor.signature.instructions for name, predictor in program.named_predictors()}
        for program in said.candidates
    ]
    assert [row["val_mean"] for row in candidates] == pytest.approx(said.val_aggregate_scores)
    assert reads.candidate(store, run["best_candidate_id"])["number"] == said.best_idx
    edges = {(edge["child"], edge["parent"]) for edge in reads.parents(store, run["id"], 1)}
    wanted = {(n, parent) for n, parents in enumerate(said.parents) for parent in parents if parent is not None}
    assert edges == wanted
    scores = {(n, f"val-{task}"): score for n, one in enumerate(said.val_subscores) for task, score in one.items()}
    trials = reads.final_trials(store, run["id"], 1)
    assert {(row["candidate_number"], row["task_name"]): row["score"] for row in trials} == scores
    assert found.trials == len(trials) == run["trial_count"]
    assert run["metric_calls"] == said.total_metric_calls - 4


def test_an_imported_log_is_whole_and_can_be_compared(store: Store, log: tuple[Path, Any], tmp_path: Path) -> None:
    search(tmp_path / "other", budget=20)
    runs = [reads.run(store, import_gepa_log(store, folder).run_id) for folder in (log[0], tmp_path / "other")]
    assert list(check.problems(store)) == []
    found = compare(store, runs)
    assert [run["val"]["n"] for run in found["runs"]] == [4, 4]
    assert all(series for series in found["series"])
    assert reads.phase_calls(store, runs[0]["id"], 1)["evaluating_baseline"]["asked"] == 4


def test_reflections_are_kept_with_what_they_changed(store: Store, log: tuple[Path, Any]) -> None:
    run_id = import_gepa_log(store, log[0]).run_id
    rows = reads.proposals(store, run_id, 1)
    accepted = [row for row in rows if row["accepted"]]
    assert sorted(row["candidate_number"] for row in accepted) == list(range(1, len(log[1].candidates)))
    assert all(row["component"] in ("draft", "polish") for row in accepted)
    assert all(row["minibatch_after"] > row["minibatch_before"] for row in accepted)
    assert all(row["component"] == "" for row in rows if not row["accepted"])


def test_outputs_that_gepa_wrote_as_json_are_shown_and_others_are_not_made_up(
    store: Store, log: tuple[Path, Any]
) -> None:
    run_id = import_gepa_log(store, log[0]).run_id
    trials = reads.final_trials(store, run_id, 1)
    seed = [json.loads(row["output"])["answer"] for row in trials if row["candidate_number"] == 0]
    assert sorted(seed) == ["val 0!", "val 1!", "val 2!", "val 3!"]
    assert {row["output_kind"] for row in trials if row["output"] is None} == {"text"}


def test_the_same_log_again_changes_nothing(store: Store, log: tuple[Path, Any]) -> None:
    first = import_gepa_log(store, log[0])
    before = list(store._connection.iterdump())
    again = import_gepa_log(store, log[0])
    assert (first.is_new, again.is_new) == (True, False)
    assert (again.run_id, again.digest) == (first.run_id, first.digest)
    assert list(store._connection.iterdump()) == before


def test_scores_on_another_scale_are_refused_until_the_maximum_is_given(store: Store, tmp_path: Path) -> None:
    def of_ten(gold: Any, pred: Any, *rest: Any, **more: Any) -> Any:
        return dspy.Prediction(score=pred.score * 10, feedback="")

    def metric(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
        return of_ten(gold, pred)

    search(tmp_path / "log", budget=20, metric=metric)
    with pytest.raises(InputError, match="give the metric's maximum with --scale"):
        import_gepa_log(store, tmp_path / "log")
    found = import_gepa_log(store, tmp_path / "log", scale=10)
    assert 0 < reads.candidates(store, found.run_id, 1)[0]["val_mean"] < 1
    with pytest.raises(InputError, match="a number above 0, not 0"):
        import_gepa_log(store, tmp_path / "log", scale=0)


def test_a_log_with_predictions_in_it_is_refused_naming_them(store: Store, tmp_path: Path) -> None:
    search(tmp_path / "log", budget=20, track_best_outputs=True, gepa_kwargs={"use_cloudpickle": True})
    with pytest.raises(InputError, match=r"it names dspy\.primitives\.prediction\.Prediction, and only plain"):
        import_gepa_log(store, tmp_path / "log")


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def bombs(marker: Path) -> dict[str, bytes]:
    """Pickles that make a file when they are loaded."""
    protocols = {f"protocol {number}": pickle.dumps({"x": Bomb(marker)}, number) for number in range(6)}
    system = f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()
    builtin = f"c__builtin__\neval\n(S'open({str(marker)!r}, \"w\")'\ntR.".encode()
    inst = f"(S'touch {marker}'\nios\nsystem\n.".encode()
    extension = b"\x80\x02\x82\x01."
    return {**protocols, "os.system": system, "eval": builtin, "INST": inst, "extension": extension}


@pytest.mark.parametrize("kind", sorted(bombs(Path("x"))))
def test_a_pickle_that_runs_something_is_refused_and_nothing_runs(store: Store, tmp_path: Path, kind: str) -> None:
    marker = tmp_path / "marker"
    data = bombs(marker)[kind]
    if kind != "extension":
        with_effect(data, marker)
    (tmp_path / gepa_state.STATE).write_bytes(data)
    with pytest.raises(InputError, match=r"cannot be read: (it names (pathlib|os|posix|(__)?builtin)|unregistered)"):
        import_gepa_log(store, tmp_path)
    assert not marker.exists()
    assert reads.runs(store) == []


def with_effect(data: bytes, marker: Path) -> None:
    """The bomb is one: plain pickle runs it."""
    loaded = pickle.loads(data)
    if hasattr(loaded, "close"):
        loaded.close()
    assert marker.exists()
    marker.unlink()


def test_containers_of_the_standard_library_are_read(tmp_path: Path) -> None:
    state = plain() | {
        "adapter_state": {"rng_state": (3, (1, 2), None)},
        "counts": collections.Counter("aab"),
        "by": collections.defaultdict(list, {1: {frozenset({1})}}),
        "ordered": collections.OrderedDict(a=1),
    }
    for protocol in range(6):
        (tmp_path / gepa_state.STATE).write_bytes(pickle.dumps(state, protocol))
        assert gepa_state.read_state(tmp_path)[0].candidates == ({"a": "one"}, {"a": "two"})


def plain(**changes: Any) -> dict[str, Any]:
    """A small state as gepa 0.1.4 writes it."""
    return {
        "program_candidates": [{"a": "one"}, {"a": "two"}],
        "parent_program_for_candidate": [[None], [0]],
        "prog_candidate_val_subscores": [{0: 0.5, 1: 1}, {0: True, 1: 0.25}],
        "num_metric_calls_by_discovery": [0, 8],
        "full_program_trace": [],
        "total_num_evals": 12,
        **changes,
    }


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """`put(**changes)`: a log_dir with such a state."""

    def write(**changes: Any) -> Path:
        (tmp_path / gepa_state.STATE).write_bytes(pickle.dumps(plain(**changes)))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"program_candidates": []}, "program_candidates is empty"),
        ({"program_candidates": "one"}, "program_candidates is not a list"),
        ({"program_candidates": [{"a": "one"}, {"a": 2}]}, "program_candidates holds no texts by component at 1"),
        ({"program_candidates": [{"a": "one"}]}, "differ in length"),
        ({"parent_program_for_candidate": [[None], [1]]}, "names no earlier candidate at 1"),
        ({"parent_program_for_candidate": [[None], [True]]}, "names no earlier candidate at 1"),
        ({"parent_program_for_candidate": [[None], None]}, "names no earlier candidate at 1"),
        ({"prog_candidate_val_subscores": [{0: 1.0}, 3]}, "holds no scores by task at 1"),
        ({"prog_candidate_val_subscores": [{0: 1.0}, {0: "1"}]}, "no number, of candidate 1"),
        ({"prog_candidate_val_subscores": [{0: 1.0}, {0: float("nan")}]}, "no number, of candidate 1"),
        ({"prog_candidate_val_subscores": [{0: 1.0}, {None: 1.0}]}, "something else than a number or a text"),
        ({"prog_candidate_val_subscores": [{0: 1.0}, {0: 1.0, "0": 1.0}]}, "two tasks of one name at 1"),
        ({"num_metric_calls_by_discovery": [0, -1]}, "something else than a count"),
        ({"total_num_evals": "12"}, "total_num_evals holds something else than a count"),
    ],
)
def test_a_state_that_is_not_as_gepa_writes_it_is_refused_naming_the_field(
    store: Store, put: Callable[..., Path], changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        import_gepa_log(store, put(**changes))
    assert reads.runs(store) == []


def test_tasks_may_be_named_by_texts_and_pairs_and_scores_be_lists_as_in_older_logs(
    store: Store, put: Callable[..., Path]
) -> None:
    named = put(prog_candidate_val_subscores=[{"x/../..": 0.5, ("a", 1): 1.0}, {}])
    found = import_gepa_log(store, named)
    assert [t["task_name"] for t in reads.final_trials(store, found.run_id, 1)] == ["val-a-1", "val-x/../.."]
    assert reads.candidates(store, found.run_id, 1)[1]["val_mean"] is None
    lists = put(prog_candidate_val_subscores=[[0.5, 1.0], [1.0, 0.0]])
    assert import_gepa_log(store, lists).trials == 4
    assert list(check.problems(store)) == []


def test_one_text_found_twice_is_two_candidates(store: Store, put: Callable[..., Path]) -> None:
    found = import_gepa_log(store, put(program_candidates=[{"a": "\ud800one"}, {"a": "\ud800one"}]))
    assert (found.candidates, found.trials) == (2, 4)
    assert [row["occurrence"] for row in reads.final_trials(store, found.run_id, 1)] == [0, 1, 0, 1]
    assert list(check.problems(store)) == []


def test_a_trace_that_tells_less_gives_fewer_proposals(store: Store, put: Callable[..., Path]) -> None:
    told = {"parent_idx": 0, "subsample_scores": [0.0, 0.5], "new_subsample_scores": [1.0, 0.5]}
    trace = [
        {"i": 0, "tasks": [told], "new_program_indices": [1, "x", 9]},
        {"i": 1, "tasks": [told | {"parent_idx": 1}, told | {"subsample_scores": []}, told | {"parent_idx": 7}, None]},
        {"i": 2, "tasks": [told | {"subsample_scores": [float("inf")]}]},
        {"i": 3, "invoked_merge": True},
        "entry",
    ]
    rows = reads.proposals(store, import_gepa_log(store, put(full_program_trace=trace)).run_id, 1)
    seen = [(row["iteration"], row["candidate_number"], row["minibatch_before"], row["accepted"]) for row in rows]
    assert seen == [(0, 1, 0.25, 1), (1, None, 0.25, 0)]


def test_candidates_json_may_be_one_save_behind_and_may_not_say_otherwise(
    store: Store, put: Callable[..., Path]
) -> None:
    folder = put()
    (folder / gepa_state.CANDIDATES).write_text('[{"a": "one"}]')
    assert import_gepa_log(store, folder).candidates == 2
    (folder / gepa_state.CANDIDATES).write_text('[{"a": "three"}]')
    with pytest.raises(InputError, match="has other candidates than"):
        import_gepa_log(store, folder)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "cannot be read: pickle exhausted before seeing STOP"),
        (b"\x80\x04]r\x00\x01\x00\x00.", "it fills place 256 of its memory with 2 values"),
        (
            b"\x80\x05\x96\x00\x01\x00\x00\x00\x00\x00\x00.",
            "cannot be read: expected 256 bytes in a bytearray8, but only",
        ),
        (pickle.dumps(plain())[:-20], "cannot be read"),
        (pickle.dumps([1]), "it has no program_candidates"),
        (pickle.dumps({"x": 1}), "it has no program_candidates"),
        (b"\x80\x04\x8c\x01aq\x00b.", "cannot be read"),
    ],
)
def test_damaged_states_are_refused(store: Store, tmp_path: Path, data: bytes, problem: str) -> None:
    (tmp_path / gepa_state.STATE).write_bytes(data)
    with pytest.raises(InputError, match=problem):
        import_gepa_log(store, tmp_path)


def test_a_folder_without_a_state_or_with_too_large_a_one_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a log_dir of"):
        import_gepa_log(store, tmp_path)
    with (tmp_path / gepa_state.STATE).open("wb") as file:
        file.truncate(limits.MOST["GEPA state"] + 1)
    with pytest.raises(InputError, match="is larger than"):
        import_gepa_log(store, tmp_path)


def test_the_fixture_is_plain_gepa(log: tuple[Path, Any]) -> None:
    assert pickle.loads((log[0] / gepa_state.STATE).read_bytes())["validation_schema_version"] == 5
    assert grade(None, dspy.Prediction(score=1.0)).score == 1.0
    assert len(examples("val", 4)) == 4

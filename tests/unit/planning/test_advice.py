"""Which optimizer fits a target and its metric; over the whole table of optimizers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import dspy
import pytest

from rollout_local.domain.run import RunConfig
from rollout_local.planning import advice, data_warnings
from rollout_local.search.optimizers import OPTIMIZERS
from rollout_local.targets.program import ProgramTarget


def with_words(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
    return dspy.Prediction(score=1.0, feedback="well done")


def number(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> float:
    return 1.0


def program(metric: Any) -> ProgramTarget:
    return ProgramTarget(lambda: dspy.Predict("question -> answer"), id="qa", metric=metric)


def advised(monkeypatch: pytest.MonkeyPatch, target: Any) -> dict[str, str]:
    monkeypatch.setattr(advice, "find_target", lambda *_: target)
    return {one.optimizer: one.verdict for one in advice.advise(RunConfig(), None, None)}  # type: ignore[arg-type]


def test_a_text_fits_only_what_needs_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    found = advised(monkeypatch, SimpleNamespace(id="a text"))
    assert next(iter(found)) == "gepa"
    assert found == {name: "refused" if one.only_programs else "fits" for name, one in OPTIMIZERS.items()}


def test_words_fit_what_reads_them_and_a_number_what_goes_by_score(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {name for name, verdict in advised(monkeypatch, program(with_words)).items() if verdict == "fits"} == {
        "gepa"
    }
    assert {name for name, verdict in advised(monkeypatch, program(number)).items() if verdict == "fits"} == {"mipro"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"optimizer": "gepa"}, False),
        ({"optimizer": "simba"}, False),
        ({"optimizer": "mipro"}, True),
        ({"optimizer": "mipro", "arguments": {"metric_threshold": 0.5}}, False),
        ({"optimizer": "bettertogether"}, True),
        ({"optimizer": "bettertogether", "strategy": "bootstrap->gepa"}, True),
        ({"optimizer": "bettertogether", "strategy": "gepa -> simba"}, False),
        ({"optimizer": "bettertogether", "arguments": {"random_search": {"metric_threshold": 0.5}}}, False),
    ],
    ids=str,
)
def test_a_collector_of_demonstrations_without_a_threshold_is_told_of(settings: dict[str, Any], *, told: bool) -> None:
    setup = SimpleNamespace(target=program(with_words), config=RunConfig(**settings))
    assert data_warnings.takes_every_run(setup) is told  # type: ignore[arg-type]
    setup.target = program(number)
    assert not data_warnings.takes_every_run(setup)  # type: ignore[arg-type]

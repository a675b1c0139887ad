"""The arguments of `dspy.GEPA`: every one of them has its effect, or is refused with the reason."""

from __future__ import annotations

import inspect
from typing import Any

import dspy
import gepa
import pytest

from rollout_local.errors import InputError
from rollout_local.search.arguments import by_name
from rollout_local.search.gepa_arguments import INNER_REFUSED, INNER_TYPES, REFUSED, TYPES
from rollout_local.search.optimizers import OPTIMIZERS, optimizer_named

OUTER = [name for name in inspect.signature(dspy.GEPA.__init__).parameters if name != "self"]
INNER = list(inspect.signature(gepa.optimize).parameters)


def pick_all(state: Any, trajectories: Any, scores: Any, index: int, candidate: dict[str, str]) -> list[str]:
    """A component selector."""
    return list(candidate)


@pytest.mark.parametrize("name", OUTER)
def test_every_argument_of_dspy_gepa_is_taken_with_a_type_or_refused_with_a_reason(name: str) -> None:
    assert (name in TYPES) + (name in REFUSED) == 1


@pytest.mark.parametrize("name", INNER)
def test_every_argument_of_gepa_below_it_is_taken_with_a_type_or_refused_with_a_reason(name: str) -> None:
    assert (name in INNER_TYPES) + (name in INNER_REFUSED) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reflection_minibatch_size", 6),
        ("candidate_selection_strategy", "top_k_pareto"),
        ("skip_perfect_score", False),
        ("add_format_failure_as_feedback", True),
        ("instruction_proposer", "tests.unit.search.test_arguments:pick_all"),
        ("component_selector", "all"),
        ("use_merge", False),
        ("max_merge_invocations", None),
        ("perfect_score", 0.9),
        ("track_stats", True),
        ("track_best_outputs", True),
        ("warn_on_score_mismatch", False),
        ("gepa_kwargs", {"acceptance_criterion": "improvement_or_equal"}),
    ],
)
def test_an_argument_of_the_right_type_comes_through(name: str, value: Any) -> None:
    assert optimizer_named("gepa").table().check({name: value}) == {name: value}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"minibatch": 3}, "there is no argument minibatch"),
        ({"reflection_minibatch": 3}, "is reflection_minibatch_size"),
        ({"reflection_minibatch_size": 0}, "greater than or equal to 1"),
        ({"reflection_minibatch_size": "three"}, "valid integer"),
        ({"candidate_selection_strategy": "best"}, "input should be 'pareto', .* or give it as module:function"),
        ({"cache_evaluation": True}, r"is gepa_kwargs\.cache_evaluation meant"),
        ({"gepa_kwargs.frontier_type": "objective"}, "one score a trial and none per objective"),
        ({"gepa_kwargs.frontier_type": "all"}, "input should be 'instance', 'objective'"),
        ({"perfect_score": 100}, "less than or equal to 1"),
        ({"gepa_kwargs": {"nope": 1}}, "there is no argument gepa_kwargs.nope"),
        ({"gepa_kwargs.cache_evaluation": True}, "takes train scores for val scores"),
        ({"gepa_kwargs": {"run_dir": "x"}}, "give --log-dir"),
        ({"log_dir": "x"}, "give --log-dir"),
        ({"num_threads": 3}, "give --concurrency"),
        ({"self": 1}, "there is no argument self"),
    ],
)
def test_what_is_unknown_of_the_wrong_type_or_unsafe_is_refused_by_name(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        optimizer_named("gepa").table().check(given)


def test_dotted_names_and_mappings_give_the_same_inner_arguments() -> None:
    table = optimizer_named("gepa").table()
    dotted = table.check({"gepa_kwargs.frontier_type": "instance", "gepa_kwargs": {"use_cloudpickle": True}})
    assert dotted == {"gepa_kwargs": {"frontier_type": "instance", "use_cloudpickle": True}}


def test_code_is_named_and_found_again() -> None:
    name = by_name(pick_all)
    assert name == f"{__name__}:pick_all"
    assert by_name("as it is") == "as it is"
    with pytest.raises(InputError, match="define it at the top of a module"):
        by_name(lambda: None)


def test_code_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(InputError, match=r"no\.such:thing cannot be used"):
        optimizer_named("gepa").table().loaded({"component_selector": "no.such:thing"})


def test_an_unknown_optimizer_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(InputError, match=", ".join(OPTIMIZERS)):
        optimizer_named("grid")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_has_a_table_of_arguments(name: str) -> None:
    found = optimizer_named(name).table().arguments()
    assert all(argument.default for argument in found)

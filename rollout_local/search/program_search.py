"""What MIPROv2, SIMBA and BetterTogether have in common: a search over a program, ended by its plan or its budget."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import dspy
from dspy.utils.exceptions import AdapterParseError

from rollout_local.domain.run import StopReason
from rollout_local.errors import BudgetSpent, InputError, NoProposals
from rollout_local.search.engine import SearchResult, SearchSpec, Signals
from rollout_local.search.isolation import SignalFailed, loud, own_prints_dropped, quiet
from rollout_local.search.program_trials import ScoreReached, Trials

NO_END_OF_ERRORS = 10**9
"""DSPy gives up a batch after so many failed examples, in whatever order threads fail; here a failure is a result."""

Compile = Callable[[Trials], object]
"""Runs an optimizer; returns the program that it made."""
Kept = Callable[[Trials, object], Iterable[int]]
"""The candidates worth a pass over val, best first: of the program that was made, or of None after a stop."""


def search_with(spec: SearchSpec, signals: Signals, optimized: Compile, kept: Kept) -> SearchResult:
    """Run an optimizer to the end of its plan or of the budget, then score on val what it kept.

    Raises what a signal raised, and `InputError` where the program cannot be optimized this way.
    """
    try:
        return _search(spec, loud(signals), optimized, kept)
    except SignalFailed as failed:
        raise failed.error from None


def _search(spec: SearchSpec, signals: Signals, optimized: Compile, kept: Kept) -> SearchResult:
    trials = Trials(spec, signals)
    made, reason = None, StopReason.PLAN_DONE
    trials.baseline_pass()
    with (
        quiet(),
        own_prints_dropped(),
        _library_warnings_off(),
        dspy.context(callbacks=[trials], max_errors=NO_END_OF_ERRORS),
    ):
        try:
            made = optimized(trials)
        except BudgetSpent:
            reason = StopReason.BUDGET_SPENT
        except ScoreReached:
            reason = StopReason.SCORE_REACHED
        except NoProposals:
            reason = StopReason.NO_PROPOSALS
        except AdapterParseError as error:  # of the prompt model: a program's own is a trial's result
            begins = ascii(str(error.lm_response)[:80])
            trials.failed("instructions", f"the reflection model's reply has no usable text; it begins {begins}")
            reason = StopReason.NO_PROPOSALS
        except Exception:
            signals.should_stop()  # DSPy turns an interrupted evaluation into a plain Exception
            raise
    trials.close()
    signals.should_stop()
    if not trials.validate(kept(trials, made)) and reason is StopReason.PLAN_DONE:
        reason = StopReason.BUDGET_SPENT
    if trials.has_reached_score:
        reason = StopReason.SCORE_REACHED
    trials.judge_rest("it was not among those that were scored on all of val")
    signals.should_stop()
    return SearchResult(best=trials.best, stop_reason=reason)


def task_model(program: dspy.Module) -> dspy.LM:
    """The model that the program's predictors ask. Raises `InputError` where there is not exactly one."""
    own = {id(predictor.lm): predictor.lm for _, predictor in program.named_predictors()}
    models = [model or dspy.settings.lm for model in own.values()]
    if len(models) != 1 or models[0] is None:
        found = "none" if None in models else f"{len(models)} of them"
        msg = f"this optimizer samples the program's model, and the predictors have {found}; give one by --task-model"
        raise InputError(msg)
    return models[0]


@contextmanager
def _library_warnings_off() -> Iterator[None]:
    """Optuna warns of what DSPy chose among its samplers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"optuna\..*")
        warnings.filterwarnings("ignore", message=".*multivariate.*")
        yield

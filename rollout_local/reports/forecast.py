"""What a run can be expected to take and to show, before anything is spent: pure arithmetic.

Calls are target executions of the search beyond the baseline pass, as `--max-metric-calls` promises them.
"""

from __future__ import annotations

import math

from rollout_local.reports.statistics import smallest_detectable_lift

CANDIDATES_OF_AUTO = {"light": 6, "medium": 12, "heavy": 18}
"""`AUTO_RUN_SETTINGS` of dspy/teleprompt/gepa/gepa.py (3.4)."""

ASSUMED_SD = 0.5
"""Of paired differences, where none were seen: scores in [0, 1] have an sd of at most 0.5 each, and two
prompts on the same tasks a correlation of about 0.5, which leaves 0.5 * sqrt(2 - 2 * 0.5)."""


def calls_of_budget(
    *,
    auto: str | None = None,
    max_full_evals: int | None = None,
    max_metric_calls: int | None = None,
    train_n: int,
    val_n: int,
    components: int = 1,
) -> int:
    """The number of target executions that a budget promises to the search; never below 1.

    `auto` and `max_full_evals` are DSPy's formulas less the seed pass over val, which the baseline pass pays
    for. `ValueError` unless exactly one budget is given; `KeyError` for an unknown `auto`.
    """
    given = [budget for budget in (auto, max_full_evals, max_metric_calls) if budget is not None]
    if len(given) != 1:
        msg = "give exactly one of auto, max_full_evals and max_metric_calls"
        raise ValueError(msg)
    if max_metric_calls is not None:
        return max(1, max_metric_calls)
    if max_full_evals is not None:
        return max(1, max_full_evals * (train_n + val_n) - val_n)
    assert auto is not None
    return max(1, _auto_budget(components, CANDIDATES_OF_AUTO[auto], val_n) - val_n)


def _auto_budget(components: int, candidates: int, val_n: int) -> int:
    """`GEPA.auto_budget` of dspy 3.4 with its defaults (minibatches of 35, a full pass every 5 trials)."""
    trials = int(max(4 * components * math.log2(candidates), 1.5 * candidates))
    full_passes = (trials + 1) // 5 + 1 + (trials < 5)
    return val_n + candidates * 5 + trials * 35 + full_passes * val_n


MINIBATCH = 3
"""Tasks that GEPA runs a parent on before it reflects, where `reflection_minibatch_size` does not say otherwise."""


def proposals_bought(budget: int, val_n: int, minibatch: int = MINIBATCH) -> tuple[int, int]:
    """How many proposals `budget` calls can judge: `(all accepted, all rejected)`, the fewest first.

    GEPA runs the parent and then the proposal on a minibatch; an accepted proposal is also run on all of val.
    A minibatch on which the parent is perfect costs its first half and gives no proposal; it is not counted.
    """
    return budget // (2 * minibatch + val_n), budget // (2 * minibatch)


def detectable_lift(n: int, sd: float | None = None, confidence: float = 0.95) -> float | None:
    """The smallest true lift that `n` holdout tasks show in four runs of five, in [0, 1].

    `sd` is that of paired differences; without one it is assumed (`ASSUMED_SD`). None where so few tasks
    cannot show any lift.
    """
    return smallest_detectable_lift(n, ASSUMED_SD if sd is None else sd, confidence)

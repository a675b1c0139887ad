"""Paired statistics of a holdout: how large the lift is, and whether it may be luck.

All functions take differences (best minus baseline, one per task, each in [-1, 1]) and depend on nothing else:
resampling is seeded by the sorted differences, so the same data gives the same numbers, in any order. scipy is
imported inside, since `scipy.stats` takes half a second to load.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from rollout_local.domain.identity import canonical_json, text_hash

RESAMPLES = 9_999
POWER = 0.8
TIE = 1e-9
"""Scores this near to each other are equal; what is left of them is floating-point noise."""

CHANCE_AMONG_TIES = 0.25
"""Chance that all tasks that are no ties point one way, from which an interval has to reach to the other side: up
to three such tasks. More would widen intervals of nulls beyond their level (measured: 0.978 for 0.95 with four)."""

MOST_TASKS = 10_000
"""Holdout tasks beyond which no number of them is named."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Paired:
    """What paired differences say. Fields are None where there are too few tasks to say it."""

    n: int
    lift: float | None
    sd: float | None
    interval: Interval | None
    sign_test_p: float | None
    permutation_p: float | None
    wins: int
    losses: int
    ties: int
    smallest_detectable_lift: float | None


def paired(differences: Sequence[float], confidence: float = 0.95) -> Paired:
    """Everything at once, for an interval at level `confidence` in (0, 1)."""
    clean = [round(difference, 12) for difference in differences]
    wins, losses = sum(d > TIE for d in clean), sum(d < -TIE for d in clean)
    return Paired(
        n=len(clean),
        lift=mean(clean),
        sd=standard_deviation(clean),
        interval=interval(clean, confidence),
        sign_test_p=sign_test(clean),
        permutation_p=permutation_test(clean),
        wins=wins,
        losses=losses,
        ties=len(clean) - wins - losses,
        smallest_detectable_lift=smallest_detectable_lift(len(clean), standard_deviation(clean), confidence),
    )


def mean(values: Sequence[float]) -> float | None:
    """The mean by `fsum` (the same in any order), or None of nothing."""
    return math.fsum(values) / len(values) if values else None


def standard_deviation(values: Sequence[float]) -> float | None:
    """The sample standard deviation (n - 1), or None of fewer than two."""
    centre = mean(values)
    if centre is None or len(values) < 2:
        return None
    if min(values) == max(values):
        return 0.0
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def standard_error(deviation: float | None, n: int) -> float | None:
    """The standard error of a mean of `n` values with this standard deviation, or None of fewer than two."""
    return None if deviation is None else deviation / n**0.5


def interval(differences: Sequence[float], confidence: float = 0.95, resamples: int = RESAMPLES) -> Interval | None:
    """A bootstrap interval of the mean difference (BCa), or None of fewer than two tasks.

    Plain bootstrap intervals are too narrow for few tasks, so the level is widened as for a t interval
    (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 3.3). Where all differences are
    equal, or all point one way in so few tasks that a sign test could not reach the level, resampling cannot
    see the other side of zero; the interval then allows for as many opposite differences as the
    Clopper-Pearson bound does.
    """
    n = len(differences)
    if n < 2:
        return None
    low, high = min(differences), max(differences)
    if low == high:
        return _with_opposites((low, high), low, n, confidence)
    found = _bootstrap(sorted(differences), _widened(n, confidence, resamples), resamples)
    moved = sum(abs(difference) > TIE for difference in differences)
    one_way = low >= -TIE or high <= TIE
    too_likely = 1 - confidence if moved == n else CHANCE_AMONG_TIES
    if one_way and 2 * 0.5**moved >= too_likely:
        return _with_opposites(found, math.fsum(differences) / n, moved, confidence)
    return found


def _with_opposites(found: Interval, centre: float, n: int, confidence: float) -> Interval:
    """`found`, reaching to where it would be if as many tasks pointed the other way as n equal ones allow."""
    share = ((1 - confidence) / 2) ** (1 / n)  # Clopper-Pearson's lower bound of a share seen n times in n
    other = centre * (2 * share - 1)
    return min(found[0], other), max(found[1], other)


def _widened(n: int, confidence: float, resamples: int) -> float:
    from scipy import stats

    t = stats.t.ppf((1 + confidence) / 2, n - 1) * math.sqrt(n / (n - 1))
    return min(float(1 - 2 * stats.norm.sf(t)), 1 - 1 / resamples)


def _bootstrap(differences: Sequence[float], level: float, resamples: int) -> Interval:
    import numpy as np
    from scipy import stats

    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a degenerate BCa says so by NaN as well
            bounds = stats.bootstrap(
                (np.asarray(differences),), np.mean, confidence_level=level, n_resamples=resamples, method=method,
                batch=max(1, 4_000_000 // len(differences)), random_state=np.random.default_rng(_seed(differences)),
            ).confidence_interval  # fmt: skip
        if math.isfinite(bounds.low) and math.isfinite(bounds.high):
            break
    return float(bounds.low), float(bounds.high)


def _seed(differences: Sequence[float]) -> int:
    return int(text_hash(canonical_json(sorted(differences)))[7:23], 16)


def sign_test(differences: Sequence[float]) -> float | None:
    """Two-sided exact p of as uneven a count of wins and losses by chance (ties apart); None of no tasks."""
    from scipy import stats

    if not differences:
        return None
    wins, losses = sum(d > TIE for d in differences), sum(d < -TIE for d in differences)
    return float(stats.binomtest(wins, wins + losses, 0.5).pvalue) if wins + losses else 1.0


def permutation_test(differences: Sequence[float]) -> float | None:
    """Two-sided p of as large a lift if each task's two scores were swapped by chance; None of no tasks.

    Exact where 2^n is at most 9,999 (n <= 13), otherwise over 9,999 seeded swaps.
    """
    if not differences:
        return None
    if len(differences) == 1 or all(abs(difference) <= TIE for difference in differences):
        return 1.0
    import numpy as np
    from scipy import stats

    ordered = sorted(differences)
    result = stats.permutation_test(
        (np.asarray(ordered),), np.mean, permutation_type="samples", n_resamples=RESAMPLES,
        batch=max(1, 4_000_000 // len(ordered)), random_state=np.random.default_rng(_seed(ordered)),
    )  # fmt: skip
    return float(result.pvalue)


def smallest_detectable_lift(n: int, sd: float | None, confidence: float = 0.95, power: float = POWER) -> float | None:
    """The true lift that a two-sided paired t test over `n` tasks finds with probability `power`.

    By the noncentral t distribution (Cohen 1988, chapter 2); `sd` is that of the differences. None where it
    cannot be told (fewer than two tasks, no spread seen) or where even a lift of 1 would be missed.
    """
    if n < 2 or not sd:
        return None
    from scipy import optimize

    def shortfall(lift: float) -> float:
        return _power(lift, n, sd, confidence) - power

    return float(optimize.brentq(shortfall, 0.0, 1.0)) if shortfall(1.0) >= 0 else None


def tasks_to_decide(lift: float, n: int, sd: float | None, confidence: float = 0.95) -> int | None:
    """How many tasks beyond `n` an interval needs to lie above 0, were `lift` and `sd` (of differences) the true ones.

    By the same power as `smallest_detectable_lift`; where all differences are equal, by the bound that `interval`
    uses then. None where there is no lift, or `MOST_TASKS` would not do.
    """
    if lift <= TIE:
        return None

    def decided(tasks: int) -> bool:
        if not sd:
            return bool(_with_opposites((lift, lift), lift, tasks, confidence)[0] > TIE)
        return tasks > 1 and _power(lift, tasks, sd, confidence) >= POWER

    fewest, most = n, MOST_TASKS
    if not decided(most):
        return None
    while most - fewest > 1:
        middle = (fewest + most) // 2
        fewest, most = (fewest, middle) if decided(middle) else (middle, most)
    return most - n


def _power(lift: float, n: int, sd: float, confidence: float) -> float:
    """The chance of a significant result in the direction of `lift`."""
    from scipy import stats

    critical = stats.t.ppf((1 + confidence) / 2, n - 1)
    found = float(stats.nct.sf(critical, n - 1, lift * math.sqrt(n) / sd))
    return found if math.isfinite(found) else 1.0  # scipy gives NaN where the effect is overwhelming

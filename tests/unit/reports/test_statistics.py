import math
import random

import numpy as np
import pytest
from scipy import stats

from rollout_local.reports import statistics
from rollout_local.reports.statistics import (
    interval,
    mean,
    paired,
    permutation_test,
    sign_test,
    smallest_detectable_lift,
    standard_deviation,
    standard_error,
    tasks_to_decide,
)

MIXED = [0.5, 0.25, 0.0, 0.75, -0.25, 0.5, 0.25, 0.0, 0.5, 1.0]


def test_a_hand_worked_case():
    found = paired([0.5, 0.0, -0.25, 0.75])
    assert (found.n, found.wins, found.losses, found.ties) == (4, 2, 1, 1)
    assert found.lift == 0.25
    assert found.sd == pytest.approx(math.sqrt((0.0625 + 0.0625 + 0.25 + 0.25) / 3))
    assert found.sign_test_p == 1.0  # two of three: 2 * (3 + 1) / 8, capped
    # of the eight swaps of 0.5, 0.25, 0.75 the sums 1.5, 1.0 reach 1.0: 2 * 2 / 8
    assert found.permutation_p == 0.5
    assert standard_error(found.sd, 4) == pytest.approx(found.sd / 2)


@pytest.mark.parametrize(("wins", "losses", "p"), [(5, 0, 0.0625), (6, 0, 0.03125), (7, 1, 18 / 256), (0, 6, 0.03125)])
def test_the_sign_test_is_the_binomial_tail_worked_by_hand(wins, losses, p):
    assert sign_test([0.5] * wins + [-0.25] * losses + [0.0] * 3) == pytest.approx(p)


@pytest.mark.parametrize("n", [6, 12])
def test_the_permutation_test_counts_every_swap_for_few_tasks(n):
    differences = [round(random.Random(n).uniform(-0.4, 0.6), 3) for _ in range(n)]
    sums = [math.fsum(d if bits >> i & 1 else -d for i, d in enumerate(differences)) for bits in range(2**n)]
    seen = math.fsum(differences)
    tail = min(sum(s >= seen - 1e-12 for s in sums), sum(s <= seen + 1e-12 for s in sums))
    assert permutation_test(differences) == pytest.approx(min(1.0, 2 * tail / 2**n))


def test_the_permutation_test_of_many_tasks_agrees_with_a_t_test():
    differences = [round(value, 3) for value in np.random.default_rng(3).normal(0.1, 0.3, 40)]
    assert permutation_test(differences) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.015)


def test_the_same_differences_in_any_order_give_the_same_numbers():
    shuffled = random.Random(1).sample(MIXED * 2, 20)
    assert paired(shuffled) == paired(MIXED * 2)


def test_the_interval_is_near_to_the_t_interval_where_the_data_is_symmetric():
    differences = [round(value, 3) for value in np.random.default_rng(5).normal(0.2, 0.2, 30)]
    low, high = interval(differences)
    expected = stats.t.interval(0.95, 29, np.mean(differences), stats.sem(differences))
    assert (low, high) == (pytest.approx(expected[0], abs=0.02), pytest.approx(expected[1], abs=0.02))


def test_a_higher_confidence_gives_a_wider_interval():
    narrow, wide = interval(MIXED, 0.8), interval(MIXED, 0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.parametrize(
    ("n", "values"),
    [
        (10, [0.0, 1.0]),
        pytest.param(24, [0.0, 1.0], marks=pytest.mark.long),
        pytest.param(10, [0.0, 0.25, 0.5, 0.75, 1.0], marks=pytest.mark.long),
        pytest.param(24, [0.0, 0.25, 0.5, 0.75, 1.0], marks=pytest.mark.long),
    ],
)
def test_the_interval_covers_simulated_nulls_as_often_as_it_says(n, values):
    dice, runs, covered = np.random.default_rng(11), 1500, 0
    for _ in range(runs):
        differences = [float(d) for d in dice.choice(values, n) - dice.choice(values, n)]
        low, high = interval(differences, 0.95, resamples=999)
        covered += low <= 1e-12 and high >= -1e-12
    assert covered / runs == pytest.approx(0.95, abs=0.02)


def test_nothing_can_be_said_of_no_tasks():
    found = paired([])
    assert (found.lift, found.sd, found.interval, found.sign_test_p, found.permutation_p) == (None,) * 5
    assert (found.n, found.smallest_detectable_lift, standard_error(None, 0), mean([])) == (0, None, None, None)


def test_one_task_has_a_lift_and_no_interval():
    found = paired([0.5])
    assert (found.lift, found.wins, found.sign_test_p, found.permutation_p) == (0.5, 1, 1.0, 1.0)
    assert (found.sd, found.interval, found.smallest_detectable_lift) == (None, None, None)


def test_no_difference_at_all_is_a_sure_nothing():
    found = paired([0.0] * 5)
    assert (found.lift, found.sd, found.interval) == (0.0, 0.0, (0.0, 0.0))
    assert (found.sign_test_p, found.permutation_p, found.ties) == (1.0, 1.0, 5)
    assert found.smallest_detectable_lift is None


@pytest.mark.parametrize(("n", "sure"), [(2, False), (5, False), (6, True), (20, True)])
def test_equal_differences_are_sure_of_their_sign_only_where_a_sign_test_is(n, sure):
    found = paired([0.5] * n)
    assert found.interval[1] == 0.5
    assert (found.interval[0] > 0) is sure
    assert (found.sign_test_p < 0.05) is sure
    assert paired([-0.5] * n).interval == (-0.5, -found.interval[0])


def test_few_tasks_that_all_improve_do_not_make_an_interval_above_zero():
    assert interval([1.0, 1.0, 0.9])[0] < 0
    assert interval([-1.0, -1.0, -0.9])[1] > 0
    assert interval([1.0, 1.0, 0.9, 0.8, 0.9, 1.0])[0] > 0


def test_a_bias_correction_that_fails_falls_back_to_percentiles(monkeypatch):
    real, asked = stats.bootstrap, []

    def failing(data, statistic, *, method, **options):
        asked.append(method)
        result = real(data, statistic, method="percentile", **options)
        if method == "BCa":
            nothing = type(result.confidence_interval)(math.nan, math.nan)
            return type(result)(nothing, result.bootstrap_distribution, result.standard_error)
        return result

    monkeypatch.setattr(stats, "bootstrap", failing)
    low, high = interval(MIXED)
    assert asked == ["BCa", "percentile"]
    assert low < mean(MIXED) < high


def test_the_smallest_detectable_lift_is_the_one_that_simulation_finds_four_times_in_five():
    lift = smallest_detectable_lift(20, 0.3)
    draws = np.random.default_rng(2).normal(lift, 0.3, (4000, 20))
    found = stats.ttest_1samp(draws, 0, axis=1)
    assert np.mean((found.pvalue < 0.05) & (found.statistic > 0)) == pytest.approx(0.8, abs=0.02)


def test_the_smallest_detectable_lift_shrinks_with_tasks_and_is_never_above_one():
    lifts = [smallest_detectable_lift(n, 0.4) for n in (5, 10, 20, 80, 1000)]
    assert lifts == sorted(lifts, reverse=True)
    assert 0 < lifts[-1] < lifts[0] <= 1
    assert smallest_detectable_lift(2, 0.5) is None
    assert smallest_detectable_lift(20, 1e-6) == pytest.approx(0, abs=1e-5)


def test_noise_of_floating_point_is_a_tie_and_has_no_spread():
    found = paired([0.1 + 0.2 - 0.3, 0.0])
    assert (found.ties, found.sd) == (2, 0.0)
    assert standard_deviation([1 / 3] * 3) == 0.0
    assert statistics.TIE > 0.1 + 0.2 - 0.3


@pytest.mark.parametrize("wins", [1, 2, 3])
def test_a_few_wins_among_ties_are_no_evidence_for_a_gate(wins):
    differences = [0.417, 0.25, 0.083][:wins] + [0.0] * 8
    found = interval(differences, 0.95)
    assert found is not None
    assert found[0] <= 0.0


def test_what_would_decide_a_lift_is_what_reliably_shows_it():
    more = tasks_to_decide(0.2, 12, 0.4)
    assert smallest_detectable_lift(12 + more, 0.4) <= 0.2 < smallest_detectable_lift(12 + more - 1, 0.4)


@pytest.mark.parametrize(("n", "more"), [(1, 5), (3, 3), (5, 1)])
def test_six_equal_differences_decide(n, more):
    assert tasks_to_decide(1.0, n, 0.0) == more
    assert interval([1.0] * (n + more))[0] > 0 >= interval([1.0] * (n + more - 1))[0]


@pytest.mark.parametrize(("lift", "sd"), [(0.0, 0.4), (-0.1, 0.4), (1e-4, 0.9)])
def test_no_number_of_tasks_is_named_for_no_lift_or_a_tiny_one(lift, sd):
    assert tasks_to_decide(lift, 10, sd) is None

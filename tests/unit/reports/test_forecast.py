import pytest

from rollout_local.reports.forecast import CANDIDATES_OF_AUTO, calls_of_budget, detectable_lift, proposals_bought

SIZES = [(1, 1), (3, 5), (20, 10), (64, 32), (200, 100)]


@pytest.fixture(scope="module")
def gepa():
    return pytest.importorskip("dspy.teleprompt.gepa.gepa")


@pytest.mark.parametrize("auto", sorted(CANDIDATES_OF_AUTO))
@pytest.mark.parametrize("components", [1, 2, 5])
def test_auto_is_the_formula_of_dspy_less_the_seed_pass(gepa, auto, components):
    assert {name: setting["n"] for name, setting in gepa.AUTO_RUN_SETTINGS.items()} == CANDIDATES_OF_AUTO
    for train_n, val_n in SIZES:
        theirs = gepa.GEPA.auto_budget(None, components, CANDIDATES_OF_AUTO[auto], val_n)
        ours = calls_of_budget(auto=auto, train_n=train_n, val_n=val_n, components=components)
        assert ours == theirs - val_n


@pytest.mark.parametrize(("evals", "train_n", "val_n", "calls"), [(3, 20, 10, 80), (1, 20, 10, 20), (1, 0, 10, 1)])
def test_full_evals_count_train_and_val_less_the_seed_pass(evals, train_n, val_n, calls):
    assert calls_of_budget(max_full_evals=evals, train_n=train_n, val_n=val_n) == calls


def test_metric_calls_are_promised_as_they_are_given():
    assert calls_of_budget(max_metric_calls=7, train_n=20, val_n=10) == 7


@pytest.mark.parametrize("given", [{}, {"auto": "light", "max_metric_calls": 3}])
def test_no_budget_or_two_are_refused(given):
    with pytest.raises(ValueError, match="exactly one"):
        calls_of_budget(**given, train_n=1, val_n=1)


def test_a_budget_buys_the_fewest_proposals_when_all_are_accepted():
    assert proposals_bought(60, 9) == (4, 10)
    assert proposals_bought(5, 9) == (0, 0)
    assert proposals_bought(60, 10, minibatch=5) == (3, 6)


def test_the_holdout_that_is_larger_shows_smaller_lifts():
    assert detectable_lift(16) > detectable_lift(64) > detectable_lift(64, sd=0.2)
    assert detectable_lift(1) is None

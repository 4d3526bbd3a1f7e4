"""The set of the best leaves out nobody who belongs to it, and finds the one who is better."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from rouge_like import World, sweep
from scipy import stats

from controller.stats.best import judge
from controller.stats.components import Fit, fit
from controller.stats.contrasts import difference
from controller.stats.draws import critical_of_pairs, noise_of_means
from controller.stats.scores import make_scores

SWEEPS = 300
MONTE_CARLO_3_SE = 3 * (0.05 * 0.95 / SWEEPS) ** 0.5
ALL = tuple(range(8))


def fits(world: World, *, seed: int, count: int = SWEEPS) -> list[Fit]:
    rng = np.random.default_rng(seed)
    return [fit(make_scores(list(sweep(world, rng)))) for _ in range(count)]


@pytest.mark.parametrize(("seed_sd", "shared"), [(0.0, 0.5), (1.0, 0.0)])
def test_of_eight_equal_configurations_all_are_kept_in_95_percent_of_sweeps(seed_sd: float, shared: float) -> None:
    world = World(seed_sd=seed_sd, shared=shared)
    excluded = sum(judge(one, candidates=ALL, direction="maximize").in_set != ALL for one in fits(world, seed=1))
    assert excluded / SWEEPS <= 0.05 + MONTE_CARLO_3_SE


def test_holm_against_the_observed_best_would_drop_equal_ones_far_more_often() -> None:
    excluded = 0
    for fitted in fits(World(seed_sd=0.5, shared=0.5), seed=2):
        best = int(fitted.means.argmax())
        first_step = 1 - 0.05 / 7
        lows = [difference(fitted, best, other, level=first_step).low for other in ALL if other != best]
        excluded += any(low is not None and low > 0 for low in lows)
    assert excluded / SWEEPS > 0.05 + MONTE_CARLO_3_SE


def test_one_that_is_clearly_better_is_alone_in_the_set_with_its_lead_in_the_intervals() -> None:
    world = World(seed_sd=0.3, shifts=(0, 0, 4, 0, 0, 0, 0, 0))
    for fitted in fits(world, seed=3, count=20):
        found = judge(fitted, candidates=ALL, direction="maximize")
        assert found.in_set == (2,)
        assert found.best == 2
        others = [one for one in found.judged if one.place != 2]
        assert all(one.low is not None and one.high is not None for one in others)
        assert all((one.low or 0) <= one.behind <= (one.high or 0) for one in others)
        assert all((one.low or 0) > 0 for one in others)


def test_where_lower_is_better_the_lowest_is_best() -> None:
    (fitted,) = fits(World(seed_sd=0.3, shifts=(0, 0, -4, 0, 0, 0, 0, 0)), seed=4, count=1)
    assert judge(fitted, candidates=ALL, direction="minimize").in_set == (2,)


def test_only_candidates_are_judged() -> None:
    (fitted,) = fits(World(seed_sd=0.3, shifts=(0, 0, 4, 0, 0, 0, 0, 0)), seed=5, count=1)
    found = judge(fitted, candidates=(0, 1, 5), direction="maximize")
    assert [one.place for one in found.judged] == [0, 1, 5]
    assert found.pairs == 3
    assert judge(fitted, candidates=(4,), direction="maximize").in_set == (4,)


def test_one_that_another_than_the_best_beats_is_out_and_says_by_whom() -> None:
    rng = np.random.default_rng(6)
    common = rng.normal(0.3, 0.1, 200)
    noisy = rng.normal(0, 0.15, 200)
    noisy += common.mean() + 0.025 - noisy.mean()
    tables = [common[None] + rng.normal(0, 0.001, 200), common[None] + 0.02, noisy[None]]
    found = judge(fit(make_scores(tables)), candidates=(0, 1, 2), direction="maximize")
    assert (found.best, found.in_set) == (2, (1, 2))
    assert found.judged[0].worse_than == 1
    assert found.adapters_only


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float64, (4, 2, 6), elements=st.integers(0, 100).map(lambda points: points / 100)),
    st.integers(1, 9),
)
def test_the_best_is_in_the_set_and_a_shift_or_another_unit_changes_nobody(
    tables: NDArray[np.float64], shift: int
) -> None:
    found = judge(fit(make_scores(list(tables))), candidates=(0, 1, 2, 3), direction="maximize")
    moved = judge(fit(make_scores(list(tables * 100 + shift))), candidates=(0, 1, 2, 3), direction="maximize")
    assert found.judged[found.best].in_set
    assert {one.place for one in found.judged if one.worse_than is None} == set(found.in_set)
    assert moved.in_set == found.in_set
    for one in found.judged:
        assert one.behind >= 0
        assert one.worse_than is None or found.judged[one.worse_than].behind < one.behind


def test_the_same_scores_give_the_same_verdict_to_the_last_digit() -> None:
    (fitted,) = fits(World(), seed=7, count=1)
    assert judge(fitted, candidates=ALL, direction="maximize") == judge(fitted, candidates=ALL, direction="maximize")


def test_equal_scores_and_copies_of_a_configuration_stay_in_the_set() -> None:
    flat = fit(make_scores([np.full((1, 5), 0.2), np.full((1, 5), 0.3)]))
    assert judge(flat, candidates=(0, 1), direction="maximize").in_set == (0, 1)
    # The means of these rows are equal to the scores but for their last digits.
    third = fit(make_scores([np.full((2, 7), value) for value in (0.1, 0.3, 1 / 3)]))
    assert judge(third, candidates=(0, 1, 2), direction="maximize").in_set == (0, 1, 2)
    table = sweep(World(seeds=1), np.random.default_rng(8))[0]
    copies = judge(fit(make_scores([table, table, table])), candidates=(0, 1, 2), direction="maximize")
    assert copies.in_set == (0, 1, 2)
    assert copies.judged[1].low is None


def test_with_few_seeds_the_set_says_so_and_equal_ones_are_kept_all_the_same() -> None:
    world = World(seeds=2, seed_sd=1.0, shifts=(0, 0, 0))
    verdicts = [judge(one, candidates=(0, 1, 2), direction="maximize") for one in fits(world, seed=9)]
    assert all(verdict.few_seeds for verdict in verdicts)
    assert sum(len(verdict.in_set) < 3 for verdict in verdicts) / SWEEPS <= 0.05 + MONTE_CARLO_3_SE


def test_nobody_is_not_judged() -> None:
    (fitted,) = fits(World(), seed=10, count=1)
    with pytest.raises(ValueError, match="at least one candidate"):
        judge(fitted, candidates=(), direction="maximize")


@pytest.mark.parametrize(("configurations", "df"), [(2, 10), (5, 20), (12, 200)])
def test_the_critical_value_of_independent_means_is_that_of_the_studentised_range(configurations: int, df: int) -> None:
    rng = np.random.default_rng(11)
    noise = noise_of_means(np.eye(configurations), draws=100_000, rng=rng)
    found = critical_of_pairs(noise, np.full((configurations, configurations), 2**0.5), df=df, level=0.95, rng=rng)
    assert found == pytest.approx(stats.studentized_range.ppf(0.95, configurations, df) / 2**0.5, rel=0.01)


def test_noise_has_the_covariance_that_was_asked_for() -> None:
    covariance = np.array([[2.0, 1.0, 0.0], [1.0, 1.0, 0.5], [0.0, 0.5, 3.0]]) * 1e-4
    noise = noise_of_means(covariance, draws=200_000, rng=np.random.default_rng(12))
    assert np.cov(noise.T) == pytest.approx(covariance, abs=3e-6)

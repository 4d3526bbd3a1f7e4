"""Intervals of means and paired differences hold what they promise on scores like those of ROUGE."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from rouge_like import World, sweep, true_means
from scipy import stats

from controller.stats.components import fit
from controller.stats.contrasts import contrast, difference, mean, means, p_value
from controller.stats.scores import make_scores

REPETITIONS = 500
MONTE_CARLO_3_SE = 3 * (0.95 * 0.05 / (2 * REPETITIONS)) ** 0.5


class Coverage(NamedTuple):
    mean: float
    difference: float


def coverage(world: World, *, seed: int) -> Coverage:
    """Two independent differences and two means in each sweep."""
    rng, truth = np.random.default_rng(seed), true_means(world)
    of_means = of_differences = 0
    for _ in range(REPETITIONS):
        fitted = fit(make_scores(list(sweep(world, rng))))
        for place in (0, 1):
            found = mean(fitted, place)
            of_means += found.low is not None and found.high is not None and found.low <= truth[place] <= found.high
        for one, two in ((0, 1), (2, 3)):
            found = difference(fitted, one, two)
            true = truth[one] - truth[two]
            of_differences += found.low is not None and found.high is not None and found.low <= true <= found.high
    return Coverage(of_means / REPETITIONS / 2, of_differences / REPETITIONS / 2)


@pytest.mark.parametrize(("seed_sd", "residual_sd"), [(0.0, 10.0), (0.3, 5.0), (0.5, 10.0), (1.0, 5.0)])
def test_with_eight_configurations_and_three_seeds_intervals_cover_94_to_97_percent(
    seed_sd: float, residual_sd: float
) -> None:
    world = World(seed_sd=seed_sd, residual_sd=residual_sd, shifts=(0, 1, 0, 2, 0, 0, 0, 0))
    found = coverage(world, seed=11)
    for share in found:
        assert 0.935 - MONTE_CARLO_3_SE / 2 <= share <= 0.97 + MONTE_CARLO_3_SE / 2


def test_with_unequal_numbers_of_seeds_intervals_cover_as_well() -> None:
    counts, rng, held = (1, 3, 3, 2, 3, 3, 1, 3), np.random.default_rng(14), [0, 0]
    for _ in range(REPETITIONS):
        tables = [table[:count] for table, count in zip(sweep(World(seed_sd=1.0), rng), counts, strict=True)]
        fitted = fit(make_scores(tables))
        for kind, (one, two) in enumerate(((0, 1), (2, 3))):
            found = difference(fitted, one, two)
            held[kind] += found.low is not None and found.high is not None and found.low <= 0 <= found.high
    for count in held:
        assert 0.935 - MONTE_CARLO_3_SE <= count / REPETITIONS <= 0.97 + MONTE_CARLO_3_SE


def test_with_few_seeds_intervals_are_wider_and_do_not_cover_too_little() -> None:
    world = World(seeds=2, seed_sd=1.0, shifts=(0, 0, 0, 0))
    fitted = fit(make_scores(list(sweep(world, np.random.default_rng(1)))))
    found = difference(fitted, 0, 1)
    assert found.few_seeds
    assert found.low is not None
    assert found.df is not None
    plain = stats.t.ppf(0.975, found.df) * (found.from_rows + found.from_seeds) ** 0.5
    assert found.estimate - found.low >= plain
    assert min(coverage(world, seed=12)) >= 0.95 - MONTE_CARLO_3_SE


def test_an_interval_over_rows_alone_would_miss_what_seeds_do() -> None:
    world = World(seed_sd=1.0, shifts=(0, 0, 0, 0, 0, 0, 0, 0))
    rng, held = np.random.default_rng(13), 0
    for _ in range(REPETITIONS):
        one, two = sweep(world, rng)[:2].mean(axis=1)
        held += abs((one - two).mean()) <= 1.97 * (one - two).std(ddof=1) / world.rows**0.5
    assert held / REPETITIONS < 0.75


def test_with_one_seed_a_difference_is_the_paired_t_test() -> None:
    one, two = sweep(World(seeds=1, shifts=(0, 1)), np.random.default_rng(4))
    fitted = fit(make_scores([one, two]))
    found = difference(fitted, 0, 1)
    expected = stats.ttest_rel(one[0], two[0])
    interval = expected.confidence_interval(0.95)
    assert found.adapters_only
    assert not found.few_seeds
    assert p_value(found, fitted.components) == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_a_baseline_adds_no_variance_of_seeds() -> None:
    tables = sweep(World(seed_sd=3.0), np.random.default_rng(5))
    fitted = fit(make_scores(list(tables), [tables[0, 0] * 0.9]))
    against_baseline, against_trained = difference(fitted, 0, 8), difference(fitted, 0, 1)
    assert against_baseline.from_seeds == pytest.approx(against_trained.from_seeds / 2)


def test_a_configuration_with_one_seed_borrows_the_variance_of_the_others() -> None:
    tables = list(sweep(World(seed_sd=2.0), np.random.default_rng(6)))
    fitted = fit(make_scores([tables[0][:1], *tables[1:]]))
    assert mean(fitted, 0).from_seeds == pytest.approx(3 * mean(fitted, 1).from_seeds)


@pytest.mark.parametrize("seeds", [2, 3])
def test_p_is_the_level_at_which_the_interval_ends_at_zero(seeds: int) -> None:
    fitted = fit(make_scores(list(sweep(World(seeds=seeds, shifts=(0, 2, 0, 0, 0)), np.random.default_rng(7)))))
    p = p_value(difference(fitted, 1, 0), fitted.components)
    assert p is not None
    found = difference(fitted, 1, 0, level=1 - p)
    assert found.low == pytest.approx(0, abs=1e-8)


def test_equal_scores_have_no_interval() -> None:
    fitted = fit(make_scores([np.full((2, 9), 0.1), np.full((2, 9), 1 / 3)]))
    assert [(one.low, one.high, p_value(one, fitted.components)) for one in means(fitted)] == [(None, None, None)] * 2
    assert difference(fitted, 0, 1).low is None


def test_the_order_of_rows_says_nothing_and_the_unit_goes_through() -> None:
    tables = sweep(World(), np.random.default_rng(8))
    order = np.random.default_rng(9).permutation(tables.shape[2])
    found = difference(fit(make_scores(list(tables))), 0, 1)
    mixed = difference(fit(make_scores(list(tables[:, :, order] * 100))), 0, 1)
    assert mixed.low == pytest.approx(found.low * 100 if found.low else None)
    assert mixed.df == pytest.approx(found.df)


def test_an_effect_is_a_contrast_of_several_means() -> None:
    fitted = fit(make_scores(list(sweep(World(), np.random.default_rng(10)))))
    found = contrast(fitted, {0: 0.5, 1: 0.5, 2: -0.5, 3: -0.5})
    assert found.estimate == pytest.approx(float(fitted.means[:2].mean() - fitted.means[2:4].mean()))

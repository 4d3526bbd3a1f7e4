"""The interval of a mean holds the true mean about as often as it says, and follows the scores as it should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from controller.stats.intervals import mean_interval, ratio_interval

Table = NDArray[np.float64]
REPETITIONS = 1500
MONTE_CARLO_3_SE = 3 * (0.95 * 0.05 / REPETITIONS) ** 0.5
TABLES = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6),
    elements=st.floats(-100, 100, allow_nan=False).map(lambda value: round(value, 3)),
)


def two_way(rng: np.random.Generator, *, rows: int, seeds: int, seed_sd: float, residual_sd: float) -> Table:
    """Scores in points around 25: rows differ by an SD of 14, skewed as ROUGE is."""
    of_rows = rng.gamma(2.0, 10.0, rows) - 20.0
    of_seeds = rng.normal(0, seed_sd, (seeds, 1))
    return 25.0 + of_rows + of_seeds + rng.normal(0, residual_sd, (seeds, rows))


@pytest.mark.parametrize("rows", [32, 200])
@pytest.mark.parametrize(("seeds", "seed_sd"), [(1, 0.0), (3, 0.0), (3, 1.0), (5, 4.0)])
def test_the_interval_covers_the_true_mean_in_95_percent_of_simulated_sweeps(
    rows: int, seeds: int, seed_sd: float
) -> None:
    rng = np.random.default_rng(rows * 100 + seeds)
    covered = 0
    for _ in range(REPETITIONS):
        found = mean_interval(two_way(rng, rows=rows, seeds=seeds, seed_sd=seed_sd, residual_sd=5.0))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 25.0 <= found.high
    # The variance of seed-by-row noise is counted twice, so coverage may be above the level, but not below it; the
    # t interval of a mean of 32 skewed values loses up to a point and a half.
    floor = 0.95 - MONTE_CARLO_3_SE - (0.015 if rows < 100 else 0.0)
    assert floor <= covered / REPETITIONS <= 0.985


def test_the_interval_of_a_loss_per_token_covers_the_true_ratio() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(REPETITIONS):
        tokens = rng.integers(8, 60, (1, 150)).astype(float)
        nll = tokens * 2.0 + rng.normal(0, 0.4, (1, 150)) * tokens
        found = ratio_interval(nll, tokens)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 2.0 <= found.high
    assert abs(covered / REPETITIONS - 0.95) <= MONTE_CARLO_3_SE


@given(TABLES)
def test_the_mean_is_the_plain_mean_and_lies_within_its_interval(scores: Table) -> None:
    found = mean_interval(scores)
    assert found.mean == pytest.approx(scores.mean(), abs=1e-9)
    assert (found.seeds, found.rows) == scores.shape
    if found.rows == 1 or np.ptp(scores) == 0:
        assert found.low is None
        assert found.high is None
    elif found.low is not None and found.high is not None:
        assert found.low < found.mean < found.high


@given(TABLES)
def test_the_order_of_rows_and_of_seeds_says_nothing(scores: Table) -> None:
    rng = np.random.default_rng(7)
    mixed = scores[rng.permutation(scores.shape[0])][:, rng.permutation(scores.shape[1])]
    before, after = mean_interval(scores), mean_interval(mixed)
    assert after.mean == pytest.approx(before.mean, abs=1e-8)
    assert after.low == pytest.approx(before.low, abs=1e-5)


@given(TABLES, st.integers(-50, 50))
def test_a_shift_of_all_scores_shifts_the_interval(scores: Table, shift: int) -> None:
    before, after = mean_interval(scores), mean_interval(scores + shift)
    assert after.mean == pytest.approx(before.mean + shift, abs=1e-8)
    if before.high is not None and after.high is not None:
        assert after.high - after.mean == pytest.approx(before.high - before.mean, abs=1e-5)


def test_the_unit_of_the_scores_does_not_matter() -> None:
    scores = two_way(np.random.default_rng(1), rows=40, seeds=3, seed_sd=1, residual_sd=5)
    points, ratios = mean_interval(scores), mean_interval(scores / 100)
    assert ratios.low == pytest.approx(points.low / 100 if points.low else None)
    assert ratios.df == pytest.approx(points.df)


def test_seeds_that_differ_widen_the_interval_beyond_that_of_the_rows() -> None:
    rng = np.random.default_rng(5)
    calm = mean_interval(two_way(rng, rows=200, seeds=3, seed_sd=0.0, residual_sd=1.0))
    moved = mean_interval(two_way(rng, rows=200, seeds=3, seed_sd=8.0, residual_sd=1.0))
    assert calm.high is not None
    assert moved.high is not None
    assert moved.high - moved.mean > 2 * (calm.high - calm.mean)
    assert moved.df is not None
    assert moved.df < 10


def test_one_row_says_nothing_about_the_spread() -> None:
    found = mean_interval(np.array([[0.25], [0.35]]))
    assert found.mean == pytest.approx(0.3)
    assert (found.low, found.high, found.df) == (None, None, None)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e-9, 1e9])
@pytest.mark.parametrize("shape", [(1, 2), (2, 9), (3, 32)])
def test_equal_scores_give_no_interval_as_they_show_no_spread(value: float, shape: tuple[int, int]) -> None:
    found = mean_interval(np.full(shape, value))
    assert found.mean == pytest.approx(value)
    assert (found.low, found.high, found.df) == (None, None, None)
    lengths = np.arange(1.0, shape[1] + 1) * np.ones(shape)
    assert ratio_interval(value * lengths, lengths).low is None


def test_seeds_that_differ_on_equal_rows_still_have_an_interval() -> None:
    found = mean_interval(np.array([[0.2, 0.2, 0.2], [0.3, 0.3, 0.3]]))
    assert found.low is not None
    assert found.low < 0.25


def test_a_spread_as_small_as_scores_can_have_still_counts() -> None:
    assert mean_interval(np.array([[1.0, 1.0, 1.0 + 1e-9]])).low is not None


def test_a_ratio_of_equal_lengths_is_the_mean_of_the_ratios() -> None:
    scores = two_way(np.random.default_rng(2), rows=30, seeds=2, seed_sd=1, residual_sd=5)
    as_ratio, as_mean = ratio_interval(scores * 4, np.full_like(scores, 4.0)), mean_interval(scores)
    assert as_ratio[:3] == pytest.approx(as_mean[:3])


def test_a_long_row_weighs_more_in_a_loss_per_token() -> None:
    assert ratio_interval(np.array([[10.0, 1.0]]), np.array([[5.0, 1.0]])).mean == pytest.approx(11 / 6)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (4,)])
def test_an_empty_or_flat_table_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        mean_interval(np.zeros(shape))


def test_a_ratio_over_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        ratio_interval(np.ones((1, 3)), np.zeros((1, 3)))

"""Where scores vary is found as it was put in, and what cannot be compared is refused."""

from __future__ import annotations

import numpy as np
import pytest
from rouge_like import Array, World, sweep

from controller.stats.components import fit
from controller.stats.scores import make_scores


def normal_sweep(
    rng: np.random.Generator, *, seeds: tuple[int, ...], rows: int, seed_sd: float, residual_sd: float
) -> list[Array]:
    of_rows = rng.normal(25, 14, rows)
    return [of_rows + rng.normal(0, seed_sd, (count, 1)) + rng.normal(0, residual_sd, (count, rows)) for count in seeds]


@pytest.mark.parametrize("seeds", [(3,) * 8, (5, 3, 2, 1, 4, 2, 3, 1)])
def test_the_components_are_those_that_the_scores_were_made_of(seeds: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    found = [
        fit(make_scores(normal_sweep(rng, seeds=seeds, rows=100, seed_sd=2.0, residual_sd=5.0))).components
        for _ in range(300)
    ]
    assert np.mean([one.residual for one in found]) == pytest.approx(25.0, rel=0.01)
    assert np.mean([one.between_seeds for one in found]) == pytest.approx(4.0 + 25.0 / 100, rel=0.06)
    assert np.mean([one.seed for one in found]) == pytest.approx(4.0, rel=0.06)
    assert {one.seed_df for one in found} == {sum(seeds) - len(seeds)}


def test_means_are_plain_means_over_rows_and_the_seeds_that_are_there() -> None:
    tables = list(sweep(World(rows=30), np.random.default_rng(2)))
    tables[1] = tables[1][:2]
    baseline = np.linspace(0, 1, 30)
    fitted = fit(make_scores(tables, [baseline]))
    assert fitted.means == pytest.approx([*(table.mean() for table in tables), 0.5])
    assert fitted.seed_shares[[0, 1, -1]] == pytest.approx([1 / 3, 1 / 2, 0])


def test_the_row_covariance_gives_the_paired_standard_error_of_a_difference() -> None:
    one, two = sweep(World(rows=40, seeds=1, shifts=(0, 1)), np.random.default_rng(3))[:, 0]
    covariance = fit(make_scores([one[None], two[None]])).row_covariance
    paired = (one - two).var(ddof=1) / 40
    assert covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1] == pytest.approx(paired)


def test_with_one_seed_each_the_fit_says_that_it_is_about_adapters() -> None:
    parts = fit(make_scores([np.ones((1, 5)), np.zeros((1, 5))])).components
    assert (parts.seed_df, parts.seed, parts.adapters_only, parts.few) == (0, 0.0, True, False)


@pytest.mark.parametrize(
    ("tables", "baselines", "words"),
    [
        ([], [], "no configuration"),
        ([np.ones((2, 1))], [], "two rows"),
        ([np.ones(4)], [], "shape"),
        ([np.ones((2, 4)), np.ones((2, 5))], [], "configuration 1 has 5 rows and configuration 0 has 4"),
        ([np.ones((2, 4))], [np.ones(3)], "configuration 1 has 3 rows"),
        ([np.array([[1.0, np.nan, 2.0]])], [], "missing or infinite"),
        ([np.array([[1.0, np.inf, 2.0]])], [], "missing or infinite"),
    ],
)
def test_scores_that_cannot_be_paired_are_refused(tables: list[Array], baselines: list[Array], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_scores(tables, baselines)

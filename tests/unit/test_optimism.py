"""What picking a maximum adds to it is estimated about right, whether the configurations differ or not."""

from __future__ import annotations

import numpy as np
import pytest
from rouge_like import World, sweep, true_means

from controller.stats.components import fit
from controller.stats.optimism import optimism_of_best
from controller.stats.scores import make_scores

ALL = tuple(range(8))


@pytest.mark.parametrize(
    "shifts", [(0.0,) * 8, (0, 0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4), (0, 0, 0, 0, 0, 0, 0, 4)], ids=["equal", "near", "far"]
)
def test_the_estimated_optimism_is_on_average_what_the_best_mean_was_too_high_by(shifts: tuple[float, ...]) -> None:
    world = World(seed_sd=0.5, residual_sd=10.0, shared=0.5, shifts=shifts)
    truth, rng = true_means(world), np.random.default_rng(3)
    estimated, real = [], []
    for _ in range(200):
        fitted = fit(make_scores(list(sweep(world, rng))))
        best = int(fitted.means.argmax())
        common = float((fitted.means - truth).mean())  # how easy the rows were picks nobody
        real.append(fitted.means[best] - truth[best] - common)
        estimated.append(optimism_of_best(fitted, candidates=ALL, direction="maximize").size)
    assert np.mean(estimated) == pytest.approx(np.mean(real), abs=0.0015)


def test_equal_configurations_are_optimistic_by_the_largest_of_as_many_noises() -> None:
    noise = np.random.default_rng(4).normal(0, 0.1, (20, 1, 400))
    noise -= noise.mean(axis=2, keepdims=True)
    found = optimism_of_best(fit(make_scores(list(noise))), candidates=tuple(range(20)), direction="maximize")
    assert found.kept == 0
    assert found.size == pytest.approx(1.867 * 0.1 / 20, rel=0.03)  # mean of the largest of 20 normals: 1.867


def test_it_is_the_same_whichever_end_is_better_and_nothing_for_a_single_candidate() -> None:
    table = sweep(World(), np.random.default_rng(5))
    up = optimism_of_best(fit(make_scores(list(table))), candidates=ALL, direction="maximize")
    down = optimism_of_best(fit(make_scores(list(-table))), candidates=ALL, direction="minimize")
    assert up.size == pytest.approx(down.size)
    assert optimism_of_best(fit(make_scores(list(table))), candidates=(3,), direction="maximize").size == 0


def test_of_nobody_there_is_no_best() -> None:
    with pytest.raises(ValueError, match="at least one candidate"):
        optimism_of_best(
            fit(make_scores(list(sweep(World(), np.random.default_rng(6))))), candidates=(), direction="maximize"
        )

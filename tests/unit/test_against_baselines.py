"""The winner is held against the variant of a baseline that is hardest to beat, with Holm over the baselines."""

from __future__ import annotations

import numpy as np
import pytest
from rouge_like import World, sweep

from controller.stats.baselines import against_baselines
from controller.stats.components import Fit, fit
from controller.stats.contrasts import difference, p_value
from controller.stats.scores import make_scores


def with_baselines(*below: float, seed: int = 1) -> Fit:
    """Three equal configurations at 0, 1, 2, and baselines as many points below the first one's rows, from 3 on."""
    rng = np.random.default_rng(seed)
    tables = sweep(World(seed_sd=0.3, shifts=(0, 0, 0)), rng)
    baselines = [tables[0].mean(axis=0) - points / 100 + rng.normal(0, 0.04, tables.shape[2]) for points in below]
    return fit(make_scores(list(tables), baselines))


def test_a_winner_well_above_both_beats_both() -> None:
    found = against_baselines(
        with_baselines(5.0, 8.0), winner=0, baselines={"zero-shot": (3,), "lead-3": (4,)}, direction="maximize"
    )
    assert [(one.baseline, one.beaten) for one in found] == [("zero-shot", True), ("lead-3", True)]
    assert found[0].better_by.estimate == pytest.approx(0.05, abs=0.01)


def test_the_better_variant_of_zero_shot_counts() -> None:
    fitted = with_baselines(9.0, 0.0, 8.0)
    found = against_baselines(fitted, winner=0, baselines={"zero-shot": (3, 4), "lead-3": (5,)}, direction="maximize")
    assert (found[0].variant, found[0].beaten) == (4, False)
    assert found[1].beaten


def test_holm_doubles_the_smaller_p_and_keeps_the_larger() -> None:
    fitted = with_baselines(0.8, 1.0)
    raw = [p_value(difference(fitted, 0, place), fitted.components) or 0.0 for place in (3, 4)]
    found = against_baselines(fitted, winner=0, baselines={"a": (3,), "b": (4,)}, direction="maximize")
    low, high = sorted(raw)
    assert sorted(one.p or 0.0 for one in found) == pytest.approx([2 * low, max(2 * low, high)])


def test_one_that_is_significantly_worse_beats_nothing() -> None:
    (found,) = against_baselines(with_baselines(-6.0), winner=0, baselines={"lead-3": (3,)}, direction="maximize")
    assert found.p is not None
    assert found.p < 0.01
    assert not found.beaten


def test_where_lower_is_better_a_lower_loss_beats() -> None:
    (found,) = against_baselines(with_baselines(-6.0), winner=0, baselines={"zero": (3,)}, direction="minimize")
    assert found.beaten
    assert found.better_by.estimate > 0


def test_with_baselines_as_good_as_the_winner_either_is_beaten_in_at_most_5_percent() -> None:
    beaten = 0
    for seed in range(400):
        found = against_baselines(
            with_baselines(0.0, 0.0, seed=seed), winner=1, baselines={"a": (3,), "b": (4,)}, direction="maximize"
        )
        beaten += any(one.beaten for one in found)
    assert beaten / 400 <= 0.05


def test_equal_scores_beat_nothing() -> None:
    fitted = fit(make_scores([np.full((1, 4), 0.5)], [np.full(4, 0.1)]))
    (found,) = against_baselines(fitted, winner=0, baselines={"lead-3": (1,)}, direction="maximize")
    assert (found.p, found.beaten) == (None, False)


def test_a_baseline_without_scores_is_refused() -> None:
    with pytest.raises(ValueError, match="'lead-3' has no scores"):
        against_baselines(with_baselines(1.0), winner=0, baselines={"lead-3": ()}, direction="maximize")

"""Losses of several prompts are brought to one unit."""

from __future__ import annotations

import numpy as np
import pytest

from controller.stats.components import fit
from controller.stats.contrasts import mean
from controller.stats.intervals import ratio_interval
from controller.stats.losses import comparable_losses
from controller.stats.scores import make_scores

RNG = np.random.default_rng(1)
TOKENS = RNG.integers(5, 60, 40).astype(float)
CHARACTERS = TOKENS * 4 + RNG.integers(0, 9, 40).astype(float)
NATS = TOKENS * RNG.gamma(4, 0.5, (2, 3, 40))


def test_with_equal_targets_the_mean_is_nats_over_tokens_of_the_whole_table() -> None:
    found = comparable_losses(list(NATS), [np.tile(TOKENS, (3, 1))] * 2, CHARACTERS)
    assert found.unit == "nats per token"
    for table, nats in zip(found.tables, NATS, strict=True):
        assert table.mean() == pytest.approx(nats.sum() / (3 * TOKENS.sum()))


def test_with_other_targets_the_mean_is_bits_over_characters() -> None:
    tokens = [np.tile(TOKENS, (3, 1)), np.tile(TOKENS + 1, (3, 1))]
    found = comparable_losses(list(NATS), tokens, CHARACTERS)
    assert found.unit == "bits per character"
    assert found.tables[1].mean() == pytest.approx(NATS[1].sum() / np.log(2) / (3 * CHARACTERS.sum()))


def test_one_row_of_other_length_is_enough_to_change_the_unit() -> None:
    other = np.tile(TOKENS, (3, 1))
    other[:, 7] += 1
    assert comparable_losses(list(NATS), [np.tile(TOKENS, (3, 1)), other], CHARACTERS).unit == "bits per character"


def test_the_interval_is_that_of_the_ratio() -> None:
    found = comparable_losses([NATS[0][:1]], [TOKENS[None]], CHARACTERS)
    here, there = mean(fit(make_scores(found.tables)), 0), ratio_interval(NATS[0][:1], TOKENS[None])
    assert (here.low, here.high) == pytest.approx((there.low, there.high))


def test_rows_that_do_not_fit_or_have_no_target_are_refused() -> None:
    with pytest.raises(ValueError, match="configuration 0 has nats of the shape"):
        comparable_losses([NATS[0]], [TOKENS[None]], CHARACTERS)
    with pytest.raises(ValueError, match="no target"):
        comparable_losses([np.ones((1, 2))], [np.array([[1.0, 0.0]])], np.ones(2))

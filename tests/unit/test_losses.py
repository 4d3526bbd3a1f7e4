"""Losses of several prompts are brought to one unit."""

from __future__ import annotations

import numpy as np
import pytest

from controller.stats.components import fit
from controller.stats.contrasts import mean
from controller.stats.losses import comparable_losses
from controller.stats.scores import make_scores
from controller.stats.student import t_quantile

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
    here = mean(fit(make_scores(found.tables)), 0)
    ratio = NATS[0][0].sum() / TOKENS.sum()
    residuals = (NATS[0][0] - ratio * TOKENS) / TOKENS.mean()  # Cochran 1977, section 6.4
    half = t_quantile(0.975, 39) * residuals.std(ddof=1) / 40**0.5
    assert (here.low, here.high) == pytest.approx((ratio - half, ratio + half))


def test_the_interval_of_a_loss_per_token_covers_the_true_ratio() -> None:
    rng = np.random.default_rng(3)
    covered, repetitions = 0, 1500
    for _ in range(repetitions):
        tokens = rng.integers(8, 60, (1, 150)).astype(float)
        nats = tokens * 2.0 + rng.normal(0, 0.4, (1, 150)) * tokens
        found = mean(fit(make_scores(comparable_losses([nats], [tokens], tokens[0]).tables)), 0)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 2.0 <= found.high
    assert abs(covered / repetitions - 0.95) <= 3 * (0.95 * 0.05 / repetitions) ** 0.5


def test_rows_that_do_not_fit_or_have_no_target_are_refused() -> None:
    with pytest.raises(ValueError, match="configuration 0 has nats of the shape"):
        comparable_losses([NATS[0]], [TOKENS[None]], CHARACTERS)
    with pytest.raises(ValueError, match="no target"):
        comparable_losses([np.ones((1, 2))], [np.array([[1.0, 0.0]])], np.ones(2))

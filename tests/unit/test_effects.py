"""Effects compare what differs in one factor alone, and say what cannot be compared."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from rouge_like import World, sweep

from controller.stats.components import Fit, fit
from controller.stats.contrasts import difference
from controller.stats.effects import effects
from controller.stats.factors import Confound, Settings, confounds
from controller.stats.scores import make_scores

FACTORS = ("lora.r", "learning_rate", "prompt")
GRID: Settings = [
    {"lora.r": rank, "learning_rate": rate, "prompt": prompt}
    for rank, rate, prompt in product((4, 8, 16), (1e-4, 3e-4), ("plain", "turns"))
]


def fitted(shifts: tuple[float, ...] = (0.0,) * 12, *, seed: int = 1, seeds: int = 3) -> Fit:
    return fit(make_scores(list(sweep(World(seed_sd=0.3, shifts=shifts, seeds=seeds), np.random.default_rng(seed)))))


def test_a_main_effect_is_the_mean_difference_over_the_blocks() -> None:
    one = fitted()
    found = effects(one, places=range(12), settings=GRID, factors=FACTORS)
    assert found.balanced
    assert [(effect.change.factor, effect.change.level, effect.size.blocks) for effect in found.main] == [
        (("lora.r",), (8,), 4),
        (("lora.r",), (16,), 4),
        (("learning_rate",), (3e-4,), 6),
        (("prompt",), ("turns",), 6),
    ]
    means = one.means.reshape(3, 2, 2)
    assert found.main[1].size.estimate == pytest.approx((means[2] - means[0]).mean())
    assert found.main[2].size.estimate == pytest.approx((means[:, 1] - means[:, 0]).mean())


def test_an_interaction_is_the_difference_of_two_differences() -> None:
    one = fitted()
    found = effects(one, places=range(12), settings=GRID, factors=FACTORS)
    assert len(found.interactions) == 2 + 2 + 1
    crossed = found.interactions[-1]
    assert (crossed.first.factor, crossed.second.factor, crossed.size.blocks) == (("learning_rate",), ("prompt",), 3)
    means = one.means.reshape(3, 2, 2)
    expected = ((means[:, 1, 1] - means[:, 0, 1]) - (means[:, 1, 0] - means[:, 0, 0])).mean()
    assert crossed.size.estimate == pytest.approx(expected)


def test_without_effects_all_intervals_of_a_kind_hold_together_in_95_percent_of_sweeps() -> None:
    wrong = [0, 0]
    for seed in range(200):
        found = effects(fitted(seed=seed), places=range(12), settings=GRID, factors=FACTORS)
        sizes = [[one.size for one in found.main], [one.size for one in found.interactions]]
        for kind, family in enumerate(sizes):
            wrong[kind] += any((size.low or 0) > 0 or (size.high or 0) < 0 for size in family)
    assert max(wrong) / 200 <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5


def test_an_effect_that_is_there_is_found_in_its_factor_alone() -> None:
    shifts = tuple(3.0 if setting["learning_rate"] == 3e-4 else 0.0 for setting in GRID)
    found = effects(fitted(shifts), places=range(12), settings=GRID, factors=FACTORS)
    shown = {one.change.factor for one in found.main if (one.size.low or 0) > 0 or (one.size.high or 0) < 0}
    assert shown == {("learning_rate",)}


def test_a_missing_configuration_costs_its_blocks_and_is_said() -> None:
    found = effects(fitted((0.0,) * 11), places=range(11), settings=GRID[:11], factors=FACTORS)
    assert not found.balanced
    sizes = {(one.change.factor, one.change.level): one.size for one in found.main}
    assert (sizes[("lora.r",), (8,)].blocks, sizes[("lora.r",), (8,)].left_out) == (4, 0)
    assert (sizes[("lora.r",), (16,)].blocks, sizes[("lora.r",), (16,)].left_out) == (3, 1)


def test_in_a_random_search_nothing_differs_in_one_factor_alone() -> None:
    pairs = zip((4, 8, 16, 8), (0.1, 0.2, 0.3, 0.4), strict=True)
    drawn: Settings = [{"lora.r": rank, "learning_rate": rate} for rank, rate in pairs]
    found = effects(fitted((0.0,) * 4), places=range(4), settings=drawn, factors=("lora.r", "learning_rate"))
    assert (found.main, found.without) == ((), (("lora.r",), ("learning_rate",)))
    assert confounds(drawn, ("lora.r", "learning_rate")) == (Confound("learning_rate", "lora.r", "decided"),)


def test_factors_that_vary_together_are_one_factor() -> None:
    linked: Settings = [
        {"data": name, "steps": steps, "lora.r": rank} for name, steps in (("a", 10), ("b", 20)) for rank in (4, 8)
    ]
    found = effects(fitted((0.0,) * 4), places=range(4), settings=linked, factors=("data", "steps", "lora.r"))
    assert [one.change.factor for one in found.main] == [("data", "steps"), ("lora.r",)]
    assert confounds(linked, ("data", "steps", "lora.r")) == (Confound("data", "steps", "same"),)


def test_the_effect_of_two_configurations_is_their_paired_difference() -> None:
    one = fitted((0.0, 1.0) + (0.0,) * 6)
    settings: Settings = [{"lora.r": 4}, {"lora.r": 8}]
    (effect,) = effects(one, places=(0, 1), settings=settings, factors=("lora.r",)).main
    plain = difference(one, 1, 0)
    assert effect.size.estimate == pytest.approx(plain.estimate)
    assert effect.size.low is not None
    assert plain.low is not None
    assert effect.size.estimate - effect.size.low == pytest.approx(plain.estimate - plain.low, rel=0.06)


@pytest.mark.parametrize(
    ("settings", "factors", "expected"),
    [
        (
            [{"lora.r": rank, "lora.lora_alpha": 16} for rank in (4, 8)],
            ("lora.r",),
            (Confound("lora.r", "lora.lora_alpha", "scale"),),
        ),
        ([{"lora.r": rank, "lora.lora_alpha": 2 * rank} for rank in (4, 8)], ("lora.r",), ()),
        (
            [{"lora.r": r, "lora.alpha_ratio": q, "lora.lora_alpha": q * r} for r in (4, 8) for q in (1, 2)],
            ("lora.r", "lora.alpha_ratio"),
            (),
        ),
        ([{"prompt": "a"}, {"prompt": "b"}], ("prompt",), ()),
    ],
)
def test_a_fixed_alpha_beside_several_ranks_is_a_confound_and_a_fixed_ratio_is_none(
    settings: Settings, factors: tuple[str, ...], expected: tuple[Confound, ...]
) -> None:
    assert confounds(settings, factors) == expected


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="12 settings for 2"):
        effects(fitted(), places=(0, 1), settings=GRID, factors=FACTORS)
    with pytest.raises(ValueError, match="the same in all factors"):
        effects(fitted(), places=range(12), settings=GRID, factors=("lora.r",))

"""Steps beyond a range, and losses that still fall: pure arithmetic of the rules for the next sweep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.report.advice.beyond import End, beyond, end_of, is_ordered, stretched
from controller.report.advice.falling import still_falling, still_falling_in_noise
from controller.spec.varied import VARIED_PATHS, admit_value


@pytest.mark.parametrize(
    ("path", "values", "end", "expected"),
    [
        ("lora.r", [8, 16], "highest", 32),
        ("lora.r", [8, 16], "lowest", 4),
        ("lora.r", [8, 64], "highest", 256),  # a factor of 4 at most
        ("lora.r", [1, 2], "lowest", None),
        ("lora.r", [2048, 4096], "highest", None),
        ("training.learning_rate", [5e-4, 2e-4], "highest", 1e-3),
        ("training.learning_rate", [5e-4, 2e-4], "lowest", 8e-5),
        ("training.num_train_epochs", [1, 2], "highest", 4),
        ("lora.lora_dropout", [0.0, 0.1], "highest", 0.2),
        ("lora.lora_dropout", [0.0, 0.1], "lowest", None),
        ("lora.lora_dropout", [0.0, 0.9], "highest", 0.95),
        ("training.adam_beta2", [0.99, 0.999], "highest", 0.9995),
        ("generation.top_p", [0.9, 1.0], "highest", None),
    ],
)
def test_a_range_goes_on_by_its_last_step(path: str, values: list[float], end: End, expected: float | None) -> None:
    assert beyond(path, values, end) == expected


@given(
    path=st.sampled_from([path for path in VARIED_PATHS if path.split(".")[0] in ("lora", "training", "generation")]),
    values=st.lists(st.one_of(st.integers(0, 10**8), st.floats(0, 1e308)), min_size=2, max_size=4, unique=True),
    end=st.sampled_from(["lowest", "highest"]),
)
def test_a_step_is_outside_of_the_range_and_one_that_the_field_takes(path: str, values: list[float], end: End) -> None:
    try:
        held = [admit_value(path, value) for value in values]
    except ValueError:
        return
    if not is_ordered(path, held):
        return
    value = beyond(path, held, end)
    assert value is None or (admit_value(path, value) == value and value not in held)
    assert value is None or (value > max(held) if end == "highest" else value < min(held))


@given(
    low=st.floats(1e-12, 1), width=st.floats(1e-9, 1e6), log=st.booleans(), end=st.sampled_from(["lowest", "highest"])
)
def test_a_drawn_range_grows_at_its_end(low: float, width: float, log: bool, end: End) -> None:
    high = low + width
    if not low < high:
        return
    value = stretched("training.learning_rate", low, high, log=log, end=end)
    assert value is None or (value > high if end == "highest" else 0 < value < low)


def test_flags_and_mixed_values_are_in_no_order() -> None:
    assert not is_ordered("lora.use_dora", [False, True])
    assert not is_ordered("model.dropout", [0.1, "keep"])
    assert not is_ordered("lora.r", [8, 8])
    assert not is_ordered("training.eval_steps", [4, 8])


def test_only_what_all_have_is_at_an_end() -> None:
    assert end_of([8, 16], [16, 16]) == "highest"
    assert end_of([8, 16], [8]) == "lowest"
    assert end_of([8, 16], [8, 16]) is None
    assert end_of([4, 8, 16], [8]) is None
    assert end_of([8, 16], []) is None


@pytest.mark.parametrize(
    ("points", "share"),
    [
        ([(0, 3.0), (6, 2.5), (12, 2.0)], 1 / 3),  # straight down
        ([(0, 3.0), (6, 2.05), (12, 2.0)], None),  # nearly over
        ([(0, 3.0), (6, 2.0), (12, 2.1)], None),  # rising again
        ([(0, 2.0), (6, 2.0), (12, 2.0)], None),
        ([(0, 3.0), (12, 2.0)], None),  # two points are no curve
    ],
)
def test_a_loss_on_many_rows_falls_still_where_the_last_third_brought_a_tenth(
    points: list[tuple[int, float]], share: float | None
) -> None:
    found = still_falling(points)
    assert (None if found is None else found.share) == (None if share is None else pytest.approx(share))


@given(half_lives=st.integers(6, 40))
def test_an_exponential_that_is_over_falls_no_more(half_lives: int) -> None:
    points = [(step, 2 + 0.5 ** (step * half_lives / 100)) for step in range(101)]
    assert still_falling(points) is None


def test_noisy_steps_fall_only_beyond_their_noise() -> None:
    noise = [0.3, -0.2, 0.25, -0.3, 0.1, -0.15]
    level = [(step, 2 + noise[step % 6]) for step in range(60)]
    falling = [(step, 3 - step / 30 + noise[step % 6]) for step in range(60)]
    assert still_falling_in_noise(level) is None
    found = still_falling_in_noise(falling)
    assert found is not None
    assert (found.from_step, found.to_step) == (20, 59)
    assert found.before > found.after
    assert still_falling_in_noise(falling[:8]) is None

"""Whether two measures order things alike."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from controller.stats.agreement import agreement

VALUES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=20)


@pytest.mark.parametrize(
    ("first", "second", "tau", "alike", "pairs"),
    [
        ([1, 2, 3], [10, 20, 30], 1, 3, 3),
        ([1, 2, 3], [3, 2, 1], -1, 0, 3),
        ([1, 2, 3], [1, 3, 2], 1 / 3, 2, 3),
        ([1, 1, 2], [1, 2, 3], 2 / 6**0.5, 2, 2),
    ],
)
def test_tau_counts_pairs(first: list[float], second: list[float], tau: float, alike: int, pairs: int) -> None:
    found = agreement(first, second)
    assert found is not None
    assert found.tau == pytest.approx(tau)
    assert (found.alike, found.pairs) == (alike, pairs)


@pytest.mark.parametrize(("first", "second"), [([], []), ([1], [2]), ([1, 1], [1, 2]), ([1, 2], [3, 3])])
def test_nothing_is_said_where_nothing_is_ordered(first: list[float], second: list[float]) -> None:
    assert agreement(first, second) is None


@settings(deadline=None)  # the first call imports half of scipy
@given(VALUES)
def test_tau_is_that_of_scipy(values: list[tuple[int, int]]) -> None:
    first, second = zip(*values, strict=True)
    found = agreement(first, second)
    if found is None:
        assert len(set(first)) == 1 or len(set(second)) == 1
    else:
        assert found.tau == pytest.approx(kendalltau(first, second).statistic)


def test_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 values beside 1"):
        agreement([1, 2], [1])

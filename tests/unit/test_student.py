"""Student's t distribution is the one that the tables and scipy have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from controller.stats.student import t_quantile, t_tail

FREEDOMS = st.floats(0, 5).map(lambda exponent: 10**exponent)  # 1 to 100,000


@pytest.mark.parametrize(
    ("df", "quantile"), [(1, 12.706), (2, 4.303), (5, 2.571), (10, 2.228), (30, 2.042), (120, 1.980), (10**6, 1.960)]
)
def test_two_sided_95_percent_has_the_quantiles_of_the_printed_table(df: int, quantile: float) -> None:
    assert t_quantile(0.975, df) == pytest.approx(quantile, abs=5e-4)


@given(probability=st.floats(0.5, 1 - 1e-9), df=FREEDOMS)
def test_a_quantile_is_that_of_scipy(probability: float, df: float) -> None:
    assert t_quantile(probability, df) == pytest.approx(stats.t.ppf(probability, df), rel=1e-9, abs=1e-12)


@given(t=st.floats(0, 1000), df=FREEDOMS)
def test_a_tail_is_that_of_scipy(t: float, df: float) -> None:
    assert t_tail(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(("probability", "df"), [(0.4, 3), (1.0, 3), (0.975, 0), (0.975, float("nan"))])
def test_what_has_no_quantile_here_is_refused(probability: float, df: float) -> None:
    with pytest.raises(ValueError, match="a t quantile needs"):
        t_quantile(probability, df)

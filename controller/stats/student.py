"""Student's t distribution, which the intervals rest on.

scipy has it as well, in 140 MB: as much as all else that the controller's image adds to its base.
"""

from __future__ import annotations

import math
from statistics import NormalDist

__all__ = ["t_quantile", "t_tail"]

_EPSILON = 1e-15
_STEPS = 200  # 60 are enough for every probability up to 1 - 1e-12 with one degree of freedom


def t_tail(t: float, df: float) -> float:
    """The probability of a value over `t`, which is not negative, for `df` degrees of freedom.

    Half the regularised incomplete beta function at df / (df + t^2) for (df / 2, 1 / 2): DLMF 8.17.
    """
    square = t * t
    return 0.5 * _beta_ratio(df / (df + square), square / (df + square), df / 2, 0.5)


def t_quantile(probability: float, df: float) -> float:
    """The value with `probability` below it, at least 0.5 and less than 1; `df` need not be whole.

    Raises ValueError outside of that.
    """
    if not 0.5 <= probability < 1 or not df > 0:
        raise ValueError(f"a t quantile needs 0.5 <= probability < 1 and df > 0, got {probability} and {df}")
    beyond = 1 - probability
    # The tail is convex and the normal quantile lies below: Newton's steps go up to the root and never past it.
    t = NormalDist().inv_cdf(probability)
    for _ in range(_STEPS):
        step = (t_tail(t, df) - beyond) / _density(t, df)
        t += step
        if step <= 1e-14 * t:
            break
    return t


def _density(t: float, df: float) -> float:
    return math.exp(-(df + 1) / 2 * math.log1p(t * t / df) - _log_beta(df / 2, 0.5)) / math.sqrt(df)


def _beta_ratio(x: float, rest: float, a: float, b: float) -> float:
    """I_x(a, b) with `rest` = 1 - x, by its continued fraction on the side where that converges at once."""
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_ratio(rest, x, b, a)
    if x == 0:
        return 0.0
    front = math.exp(a * math.log(x) + b * math.log(rest) - _log_beta(a, b)) / a
    return front / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d1 / (1 + d2 / (1 + ...)), DLMF 8.17.22, by Lentz's method (Numerical Recipes, section 5.2)."""
    whole = upper = 1.0
    lower = 0.0
    for n in range(1, 10_000):
        m = n // 2
        if n % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1 / (1 + term * lower)
        upper = 1 + term / upper
        whole *= upper * lower
        if abs(upper * lower - 1) < _EPSILON:
            break
    return whole


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

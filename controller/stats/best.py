"""The configurations that are not shown worse than the best: the verdict is a set.

Simultaneous intervals for the differences of all pairs (max-T): with probability 95 % every one of them holds, so
whichever pair one looks at after seeing the scores was paid for. A configuration leaves the set when some other is
shown better than it.

Why not the others (measured in benchmarks/error_rates.md, for configurations that are all equal):
- Holm's or plain tests of each against the observed best exclude somebody too often: the best was picked for its luck.
- Hsu's multiple comparisons with the best (Edwards and Hsu 1983, JASA 78) keep the one best configuration with 95 %.
  Of several that are equally good they may drop one more often than that, and equally good ones must not be dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.stats.components import Components, Fit
from controller.stats.contrasts import LEVEL, degrees_of_freedom
from controller.stats.draws import DRAWING_SEED, critical_of_pairs, noise_of_means, nothing, pair_standard_errors
from controller.stats.scores import Direction

__all__ = ["Best", "Judged", "judge"]


@dataclass(frozen=True, slots=True)
class Judged:
    """One configuration beside the one with the best mean; differences are in the unit of the scores."""

    place: int
    """Of the configuration in the scores."""
    behind: float
    """How much worse its mean is than the best one's; 0 for that one, never negative."""
    low: float | None
    high: float | None
    """Of `behind`; simultaneous over all pairs. None for the best itself, and where nothing varies."""
    in_set: bool
    """Not shown worse than any other."""
    worse_than: int | None
    """The configuration that shows it, by the clearest margin; None in the set."""


@dataclass(frozen=True, slots=True)
class Best:
    """The verdict on the candidates."""

    best: int
    """With the best mean; the first of equals."""
    judged: tuple[Judged, ...]
    """In the order of the candidates."""
    critical: float
    """Half of an interval is about this many standard errors; with few seeds, that of the rows' part."""
    df: float
    """Which the critical value allows for: the smallest of all pairs."""
    pairs: int
    few_seeds: bool
    adapters_only: bool

    @property
    def in_set(self) -> tuple[int, ...]:
        return tuple(one.place for one in self.judged if one.in_set)


@dataclass(frozen=True, slots=True)
class _Halves:
    widths: NDArray[np.float64]
    critical: float
    df: float


def judge(
    fitted: Fit,
    *,
    candidates: tuple[int, ...],
    direction: Direction,
    level: float = LEVEL,
    seed: int = DRAWING_SEED,
) -> Best:
    """Which of the candidates are not shown worse than the best of them.

    Raises ValueError when there is none.
    """
    if not candidates:
        raise ValueError("the best of no configuration; give at least one candidate")
    places = np.array(candidates, dtype=np.int64)
    goodness = fitted.means[places] * (1 if direction == "maximize" else -1)
    best = int(np.argmax(goodness))
    halves = _halves(fitted, places, level=level, seed=seed)
    # margins[i, j] > 0: j is shown better than i.
    margins = goodness[None, :] - goodness[:, None] - halves.widths
    np.fill_diagonal(margins, -np.inf)
    clearest = margins.argmax(axis=1)
    shown = margins.max(axis=1) > 0
    return Best(
        best=candidates[best],
        judged=tuple(
            _judged(
                place,
                behind=float(goodness[best] - goodness[at]),
                half=float(halves.widths[at, best]) if at != best else math.inf,
                worse_than=candidates[int(clearest[at])] if shown[at] else None,
            )
            for at, place in enumerate(candidates)
        ),
        critical=halves.critical,
        df=halves.df,
        pairs=len(candidates) * (len(candidates) - 1) // 2,
        few_seeds=fitted.components.few,
        adapters_only=fitted.components.adapters_only,
    )


def _judged(place: int, *, behind: float, half: float, worse_than: int | None) -> Judged:
    known = math.isfinite(half)
    return Judged(
        place=place,
        behind=behind,
        low=behind - half if known else None,
        high=behind + half if known else None,
        in_set=worse_than is None,
        worse_than=worse_than,
    )


def _halves(fitted: Fit, places: NDArray[np.int64], *, level: float, seed: int) -> _Halves:
    rows = fitted.row_covariance[np.ix_(places, places)]
    shares = fitted.seed_shares[places]
    parts = fitted.components
    if len(places) == 1:
        return _Halves(widths=np.full((1, 1), np.inf), critical=0.0, df=float(parts.rows - 1))
    rng, least = np.random.default_rng(seed), nothing(fitted.means[places])
    if parts.few:
        return _few(rows, shares, parts, least=least, level=level, rng=rng)
    covariance = rows + np.diag(shares * parts.seed)
    errors = pair_standard_errors(covariance, nothing=least)
    df = _smallest_df(rows, shares, parts, errors)
    noise = noise_of_means(covariance, rng=rng)
    critical = critical_of_pairs(noise, errors, df=df, level=level, rng=rng)
    squared = (critical * np.nan_to_num(errors, posinf=0.0)) ** 2
    return _Halves(widths=_infinite_for_nothing(squared), critical=critical, df=df)


def _few(
    rows: NDArray[np.float64],
    shares: NDArray[np.float64],
    parts: Components,
    *,
    least: float,
    level: float,
    rng: np.random.Generator,
) -> _Halves:
    """Each part of the variance with a critical value of its own, as for single contrasts."""
    squared = np.zeros_like(rows)
    criticals = []
    for covariance, df in ((rows, parts.rows - 1), (np.diag(shares * parts.between_seeds), parts.seed_df)):
        errors = pair_standard_errors(covariance, nothing=least)
        noise = noise_of_means(covariance, rng=rng)
        critical = critical_of_pairs(noise, errors, df=df, level=level, rng=rng)
        criticals.append(critical)
        squared += (critical * np.nan_to_num(errors, posinf=0.0)) ** 2
    return _Halves(widths=_infinite_for_nothing(squared), critical=criticals[0], df=float(parts.seed_df))


def _infinite_for_nothing(squared: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half widths from their squares; where nothing varies, nothing is shown."""
    return np.where(squared > 0, np.sqrt(squared), np.inf)


def _smallest_df(
    rows: NDArray[np.float64], shares: NDArray[np.float64], parts: Components, errors: NDArray[np.float64]
) -> float:
    of_rows = np.diag(rows)[:, None] + np.diag(rows)[None, :] - 2 * rows
    df = degrees_of_freedom(np.maximum(of_rows, 0.0), shares[:, None] + shares[None, :], parts)
    apart = np.isfinite(errors) & ~np.eye(len(rows), dtype=bool)
    return float(df[apart].min()) if apart.any() else float(parts.rows - 1)

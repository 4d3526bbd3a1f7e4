"""How often the statistics of controller/stats are wrong: on simulated sweeps, with scores like those of ROUGE.

`make bench-statistics`, about ten minutes on two cores. It prints Markdown; benchmarks/error_rates.md keeps one.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
from rouge_like import Array, World, sweep, true_means

from controller.stats.best import judge
from controller.stats.components import Fit, fit
from controller.stats.contrasts import Contrast, difference, mean, means
from controller.stats.draws import noise_of_means, pair_standard_errors
from controller.stats.effects import effects
from controller.stats.optimism import optimism_of_best
from controller.stats.scores import make_scores
from controller.stats.student import t_quantile

R = TypeVar("R")
WORLD = World()
GRID = (0.0, 0.3, 0.5, 1.0), (5.0, 10.0)
"""Seed SD and residual SD, in points."""

_DRAWS = 2000


class Cell(NamedTuple):
    """One world, drawn many times."""

    world: World
    sweeps: int
    seed: int


class Rates(NamedTuple):
    """Shares of sweeps, or of intervals."""

    ours: float
    """Sweeps of equal configurations in which one is excluded, by all-pairs max-T."""
    hsu: float
    holm: float
    """Holm's procedure against the observed best, over the same paired tests."""
    naive: float
    """The same over rows alone."""
    mean: float
    """Intervals that hold the true mean."""
    difference: float
    rows_only: float
    """The same of differences, for intervals over rows alone."""


class Power(NamedTuple):
    """Shares of sweeps."""

    alone: float
    """The better one is alone in the set."""
    each: float
    """Of the others, those that are excluded."""
    kept: float
    """The better one is in the set."""


class Luck(NamedTuple):
    """In points, averaged over sweeps."""

    real: float
    estimated: float


class Scale(NamedTuple):
    """The largest sweep."""

    seconds: float
    peak_mb: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sweeps", type=int, default=2000, help="of each line of the first table (default: 2000)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--closer", action="store_true", help="the lines closest to a limit alone, with other draws")
    arguments = parser.parse_args()
    started = time.monotonic()
    with ProcessPoolExecutor(arguments.workers) as pool:
        _say(f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release().split('-')[0]}, ")
        _say(f"Python {platform.python_version()}, numpy {np.__version__}\n\n")
        if arguments.closer:
            _say_rates(pool, _closest(), sweeps=arguments.sweeps, seed=1000)
            return 0
        _say_scale(pool.submit(scale).result())
        _say_rates(pool, _realistic(), sweeps=arguments.sweeps)
        _say_rates(pool, _other_sizes(), sweeps=arguments.sweeps // 2)
        _say_power(pool, sweeps=arguments.sweeps // 4)
        _say_luck(pool, sweeps=arguments.sweeps // 4)
    _say(f"\nAll of it took {time.monotonic() - started:.0f} s.\n")
    return 0


def _realistic() -> list[World]:
    """What the intervals are promised for: 8 configurations x 3 seeds x 200 rows."""
    return [
        replace(WORLD, seed_sd=seed_sd, residual_sd=residual_sd, shared=shared)
        for shared, residual_sd, seed_sd in itertools.product((0.0, 0.5), GRID[1], GRID[0])
    ]


def _other_sizes() -> list[World]:
    sizes = [(2, 2, 200), (2, 3, 200), (4, 2, 200), (8, 2, 200), (5, 3, 200), (24, 3, 200), (8, 3, 32), (8, 3, 819)]
    many = [_of(replace(WORLD, seeds=seeds, rows=rows, shared=0.5), count) for count, seeds, rows in sizes]
    single = [_of(replace(WORLD, seeds=1, rows=rows, seed_sd=0.0), 8) for rows in (32, 200)]
    return [*many, *single]


def _closest() -> list[World]:
    """What came out closest to a limit in the run that benchmarks/error_rates.md keeps."""
    base = replace(WORLD, shared=0.5)
    return [base, replace(base, residual_sd=10.0, seed_sd=0.3), replace(base, rows=819)]


def _of(world: World, configurations: int) -> World:
    return replace(world, shifts=(0.0,) * configurations)


def rates(cell: Cell) -> Rates:
    """Error rates where all configurations are equally good."""
    rng, truth = np.random.default_rng(cell.seed), float(true_means(cell.world)[0])
    everyone = tuple(range(len(cell.world.shifts)))
    pairs = list(zip(everyone[::2], everyone[1::2], strict=False))
    found = []
    for _ in range(cell.sweeps):
        fitted = fit(make_scores(list(sweep(cell.world, rng))))
        verdict = judge(fitted, candidates=everyone, direction="maximize")
        apart = [difference(fitted, *pair) for pair in pairs]
        rows_only = t_quantile(0.975, cell.world.rows - 1)
        found.append(
            (
                len(verdict.in_set) < len(everyone),
                _hsu_excludes(fitted, df=verdict.df, rng=rng),
                _holm_excludes(fitted),
                _naive_excludes(fitted),
                _holds(mean(fitted, 0), truth),
                np.mean([_holds(one, 0.0) for one in apart]),
                np.mean([abs(one.estimate) <= rows_only * one.from_rows**0.5 for one in apart]),
            )
        )
    return Rates(*(float(share) for share in np.mean(np.array(found, dtype=float), axis=0)))


def _holds(found: Contrast, truth: float) -> bool:
    return found.low is not None and found.high is not None and found.low <= truth <= found.high


def _holm_excludes(fitted: Fit) -> bool:
    """The first step of Holm's procedure over the paired tests of each against the observed best."""
    best, others = int(fitted.means.argmax()), len(fitted.means) - 1
    ahead = (fitted.means[best] - fitted.means) / pair_standard_errors(_covariance(fitted), nothing=0.0)[best]
    clearest = difference(fitted, best, int(ahead.argmax()), level=1 - 0.05 / others)
    return clearest.low is not None and clearest.low > 0


def _naive_excludes(fitted: Fit) -> bool:
    """The same with paired tests over rows alone."""
    best, others = int(fitted.means.argmax()), len(fitted.means) - 1
    errors = pair_standard_errors(fitted.row_covariance, nothing=0.0)[best]
    limit = t_quantile(1 - 0.025 / others, fitted.components.rows - 1)
    return bool(((fitted.means[best] - fitted.means) / errors).max() > limit)


def _covariance(fitted: Fit) -> Array:
    return fitted.row_covariance + np.diag(fitted.seed_shares * fitted.components.seed)


def _hsu_excludes(fitted: Fit, *, df: float, rng: np.random.Generator) -> bool:
    """Edwards and Hsu 1983: each is compared with all others by the critical value of Dunnett's one-sided test."""
    covariance = _covariance(fitted)
    errors = pair_standard_errors(covariance, nothing=0.0)
    noise = noise_of_means(covariance, draws=_DRAWS, rng=rng)
    noise /= np.sqrt(rng.chisquare(df, (_DRAWS, 1)) / df)
    for at, average in enumerate(fitted.means):
        ahead = (noise - noise[:, [at]]) / errors[at]
        if ((fitted.means - average) / errors[at]).max() > np.quantile(ahead.max(axis=1), 0.95):
            return True
    return False


def power(cell: Cell) -> Power:
    """How often one configuration that is better than seven equal ones is found."""
    rng, alone, out, kept = np.random.default_rng(cell.seed), 0, 0, 0
    everyone = tuple(range(len(cell.world.shifts)))
    for _ in range(cell.sweeps):
        fitted = fit(make_scores(list(sweep(cell.world, rng))))
        in_set = judge(fitted, candidates=everyone, direction="maximize").in_set
        alone += in_set == (0,)
        kept += 0 in in_set
        out += sum(one not in in_set for one in everyone[1:])
    return Power(alone / cell.sweeps, out / cell.sweeps / (len(everyone) - 1), kept / cell.sweeps)


def luck(cell: Cell) -> Luck:
    """By how much the best mean is too high, and what is estimated from the same sweep alone."""
    rng, truth, found = np.random.default_rng(cell.seed), true_means(cell.world), []
    everyone = tuple(range(len(cell.world.shifts)))
    for _ in range(cell.sweeps):
        fitted = fit(make_scores(list(sweep(cell.world, rng))))
        above: Array = fitted.means - truth
        estimated = optimism_of_best(fitted, candidates=everyone, direction="maximize").size
        found.append((float(above[fitted.means.argmax()] - above.mean()), estimated))
    real, estimated = np.mean(found, axis=0) * 100
    return Luck(float(real), float(estimated))


def scale() -> Scale:
    """1,000 configurations x 3 seeds x 819 rows: all means, all pairs, the optimism, effects of three factors."""
    rng = np.random.default_rng(1)
    tables = list(sweep(replace(WORLD, rows=819, shifts=tuple(rng.normal(0, 0.5, 1000))), rng))
    settings = [dict(zip("abc", levels, strict=True)) for levels in itertools.product(range(10), repeat=3)]
    started = time.monotonic()
    fitted, everyone = fit(make_scores(tables)), tuple(range(1000))
    means(fitted)
    judge(fitted, candidates=everyone, direction="maximize")
    optimism_of_best(fitted, candidates=everyone, direction="maximize")
    effects(fitted, places=everyone, settings=settings, factors=("a", "b", "c"))
    return Scale(time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


def _say_scale(found: Scale) -> None:
    _say(
        "1,000 configurations x 3 seeds x 819 rows, with all means, all 499,500 pairs, the optimism and the effects of "
    )
    _say(f"three factors with ten levels: {found.seconds:.1f} s, {found.peak_mb:.0f} MB at most.\n")


def _say_rates(pool: ProcessPoolExecutor, worlds: Sequence[World], *, sweeps: int, seed: int = 0) -> None:
    _say(f"\nEqual configurations, {sweeps:,} sweeps each.\n\n")
    _say("| configurations x seeds x rows | residual SD | shared | seed SD | excluded, max-T | excluded, Hsu ")
    _say(
        "| excluded, Holm | excluded, Holm over rows alone | mean | difference | difference, rows alone |\n|---|"
        + "---:|" * 10
        + "\n"
    )
    for world, found in zip(worlds, _each(pool, rates, worlds, sweeps=sweeps, seed=seed), strict=True):
        _say(f"| {_size(world)} | {world.residual_sd:g} | {world.shared:.0%} | {world.seed_sd:g} ")
        _say("".join(f"| {share:.1%} " for share in found) + "|\n")


def _say_power(pool: ProcessPoolExecutor, *, sweeps: int) -> None:
    base = replace(WORLD, shared=0.5)
    sizes = [base, replace(base, seeds=5), replace(base, rows=819), replace(base, rows=819, seeds=5)]
    worlds = [
        replace(size, shifts=(lead, *(0.0,) * 7)) for size, lead in itertools.product(sizes, (0.5, 1.0, 1.5, 2.0, 3.0))
    ]
    _say(
        f"\nOne configuration is better than seven equal ones, {sweeps:,} sweeps each (seed SD 0.5, residual SD 5).\n\n"
    )
    _say("| configurations x seeds x rows | better by, points | alone in the set | of the others, excluded | kept |\n")
    _say("|---|---:|---:|---:|---:|\n")
    for world, found in zip(worlds, _each(pool, power, worlds, sweeps=sweeps), strict=True):
        lead = 100 * float(np.ptp(true_means(world)))
        _say(f"| {_size(world)} | {lead:.2f} " + "".join(f"| {share:.1%} " for share in found) + "|\n")


def _say_luck(pool: ProcessPoolExecutor, *, sweeps: int) -> None:
    base = replace(WORLD, residual_sd=10.0, shared=0.5)
    steps = tuple(np.linspace(0, 1.4, 8).tolist())
    worlds = [base, replace(base, shifts=steps), replace(base, shifts=(*(0.0,) * 7, 4.0)), _of(base, 48)]
    _say(f"\nOptimism of the best mean in points, {sweeps:,} sweeps each (seed SD 0.5, residual SD 10).\n\n")
    _say("| configurations x seeds x rows | they differ by, points | real | estimated |\n|---|---:|---:|---:|\n")
    for world, found in zip(worlds, _each(pool, luck, worlds, sweeps=sweeps), strict=True):
        apart = "0 to 1.4" if len(set(world.shifts)) > 2 else f"{max(world.shifts):g}"
        _say(f"| {_size(world)} | {apart} | {found.real:.2f} | {found.estimated:.2f} |\n")


def _each(
    pool: ProcessPoolExecutor, measure: Callable[[Cell], R], worlds: Sequence[World], *, sweeps: int, seed: int = 0
) -> list[R]:
    return list(pool.map(measure, [Cell(world, sweeps, seed + at) for at, world in enumerate(worlds)]))


def _size(world: World) -> str:
    return f"{len(world.shifts)} x {world.seeds} x {world.rows}"


def _say(words: str) -> None:
    sys.stdout.write(words)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

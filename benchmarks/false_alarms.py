"""How often the nightly's decision (controller/regression) is wrong: on simulated nights with scores like ROUGE.

`python benchmarks/false_alarms.py`, about four minutes on one core. It prints Markdown;
benchmarks/false_alarms.md keeps one.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
from nights import Nights, pages
from rouge_like import World

WORLD = World(residual_sd=10.0)
"""8 configurations x 3 seeds x 200 rows, seed SD 0.5 points: the standard error of a drop is about 0.19 points."""


class Cell(NamedTuple):
    """Nights of one kind."""

    name: str
    nights: Nights
    reference: int
    """Good runs whose mean is the reference."""


class Found(NamedTuple):
    """Shares of nights that page."""

    two_stages: float
    at_once: float
    """Where no seeds may be added."""
    nights: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nights", type=int, default=2000, help="of each line (default: 2000)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.workers) as pool:
        _say("Nothing is worse: false alarms\n\n", _quiet(), pool, nights=arguments.nights)
        _say("\nTonight is worse: alarms\n\n", _worse(), pool, nights=arguments.nights // 2)
    return 0


def _quiet() -> list[Cell]:
    nights = Nights(WORLD)
    return [
        Cell("mean of 7, rotating seeds", nights, 7),
        Cell("the same, half of the residuals a configuration's own", replace(nights, world=_shared(WORLD)), 7),
        Cell("the same, residual SD 5", replace(nights, world=replace(WORLD, residual_sd=5.0)), 7),
        Cell("the same, seed SD 0", replace(nights, world=replace(WORLD, seed_sd=0.0)), 7),
        Cell("the same, nights move by SD 0.1", replace(nights, night_sd=0.1), 7),
        Cell("the same, nights move by SD 0.3", replace(nights, night_sd=0.3), 7),
        Cell("the run before, 7 good ones known", nights, 1),
        Cell("the run before, 3 good ones known", replace(nights, past=3), 1),
        Cell("the same, nights move by SD 0.1", replace(nights, past=3, night_sd=0.1), 1),
        Cell("the same, nights move by SD 0.3", replace(nights, past=3, night_sd=0.3), 1),
        Cell("the same seeds each night, nothing changes", replace(nights, fixed_seeds=True), 1),
        Cell("the same seeds, and a library upgrade tonight", replace(nights, fixed_seeds=True, upgrade_sd=5.0), 1),
    ]


def _worse() -> list[Cell]:
    sizes = [(WORLD, "8 x 3 x 200")]
    sizes += [(replace(WORLD, seeds=4, rows=819), "8 x 4 x 819"), (replace(WORLD, seeds=5, rows=819), "8 x 5 x 819")]
    cells = [
        Cell(f"{drop:g} point{'s' if drop != 1 else ''}, {name}", Nights(world, drop=drop), 7)
        for (world, name), drops in zip(sizes, ((0.5, 0.75, 1.0, 1.5), (0.5,), (0.5,)), strict=True)
        for drop in drops
    ]
    return [*cells, Cell("1 point, 8 x 3 x 200, the run before", Nights(WORLD, drop=1.0), 1)]


def _shared(world: World) -> World:
    return replace(world, shared=0.5)


def measure(cell: Cell, count: int, seed: int) -> Found:
    """Both decisions on the same nights."""
    shares = []
    for stage in ("first", "only"):
        rng = np.random.default_rng(seed)
        shares.append(sum(pages(cell.nights, rng, reference=cell.reference, stage=stage) for _ in range(count)) / count)
    return Found(shares[0], shares[1], count)


def _say(heading: str, cells: Sequence[Cell], pool: ProcessPoolExecutor, *, nights: int) -> None:
    sys.stdout.write(f"{heading}| nights | of | alarms in two stages | alarms at once |\n|---|---:|---:|---:|\n")
    found = pool.map(measure, cells, [nights] * len(cells), range(len(cells)))
    for cell, one in zip(cells, found, strict=True):
        sys.stdout.write(f"| {cell.name} | {one.nights:,} | {_share(one.two_stages, one.nights)} ")
        sys.stdout.write(f"| {_share(one.at_once, one.nights)} |\n")
        sys.stdout.flush()


def _share(share: float, count: int) -> str:
    """With its Monte-Carlo standard error; of none or all, at most 3 / count is missed with 95 %."""
    error = math.sqrt(share * (1 - share) / count)
    return f"{share:.2%} ± {error:.2%}" if error else f"{share:.2%} (± {3 / count:.2%})"


if __name__ == "__main__":
    sys.exit(main())

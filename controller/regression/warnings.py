"""What a night shows beside the verdict: single configurations, other metrics, speed and memory. Nobody is paged. Pure.

Configurations and other metrics are tested together at the 1 % of the night (Holm). Seconds and bytes are compared with
the median of the past runs: a machine that others use is no random sample, so their limits are customary ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean, median
from typing import NamedTuple

from controller.regression.decision import ALPHA, holm
from controller.regression.match import Matched, direction_of
from controller.regression.noise import Side, Tested, drop_from
from controller.report.numbers import bytes_written, counted, seconds, spoken, written_number
from controller.spec.model import Regression as Asked
from job.contract.documents import Result
from job.contract.metric_names import DIRECTIONS

__all__ = ["warnings_of"]

_SLOWER, _LARGER = 1.25, 1.10
"""Times the median of past runs, from which on seconds and peak memory are worth a line."""


class _Test(NamedTuple):
    what: str
    metric: str
    tested: Tested


def warnings_of(
    matched: Matched, run: str, *, reference: tuple[str, ...], past: tuple[str, ...], asked: Asked
) -> tuple[str, ...]:
    """Sentences, none of which changes an exit code."""
    found = [f"Run {one.run} was left out: {one.why}." for one in matched.skipped]
    if matched.unmatched and reference:
        verb = "is" if len(matched.unmatched) == 1 else "are"
        found.append(
            f"{counted(len(matched.unmatched), 'configuration')} {verb} not in the reference and not compared."
        )
    if reference:
        found += _of_scores(matched, run, reference=reference, past=past, asked=asked)
        found += _of_resources(matched, run, before=reference)
    return tuple(found)


def _of_scores(
    matched: Matched, run: str, *, reference: tuple[str, ...], past: tuple[str, ...], asked: Asked
) -> Iterator[str]:
    tests = list(_tests(matched, run, reference=reference, past=past, asked=asked))
    for one, p in zip(tests, holm([one.tested.p for one in tests]), strict=True):
        if p < ALPHA:
            lost = written_number(one.tested.size, one.metric)
            yield f"{one.what}: {spoken(one.metric)} is {lost} worse than in the reference (p = {p:.2g})."


def _tests(
    matched: Matched, run: str, *, reference: tuple[str, ...], past: tuple[str, ...], asked: Asked
) -> Iterator[_Test]:
    for at, label in enumerate(matched.labels if len(matched.labels) > 1 else ()):
        one = {name: Side((side.places[at],)) for name, side in matched.places.items()}
        yield _Test(label, matched.metric, _drop(matched, matched.metric, one, (run, reference, past), 0.0))
    for metric in matched.tables:
        if metric in DIRECTIONS and metric != matched.metric:
            tolerance = asked.drops.get(metric, 0.0)
            tested = _drop(matched, metric, dict(matched.places), (run, reference, past), tolerance)
            yield _Test("Over all configurations", metric, tested)


def _drop(
    matched: Matched,
    metric: str,
    places: dict[str, Side],
    runs: tuple[str, tuple[str, ...], tuple[str, ...]],
    tolerance: float,
) -> Tested:
    tonight, reference, past = runs
    fitted = matched.fitted(metric)
    if fitted is None:
        return Tested(0.0, None, 1.0, "none", 0.0)
    return drop_from(
        fitted,
        places[tonight],
        [places[name] for name in reference],
        past=[places[name] for name in past],
        direction=direction_of(metric),
        tolerance=tolerance,
    )


def _of_resources(matched: Matched, run: str, *, before: tuple[str, ...]) -> Iterator[str]:
    ours, usual = _seconds(matched, run), median(_seconds(matched, name) for name in before)
    if usual > 0 and ours > _SLOWER * usual:
        yield f"Training took {seconds(ours)} device-seconds a trial, {ours / usual:.1f} times those of the reference."
    peak, usual_peak = _peak(matched, run), median(_peak(matched, name) for name in before)
    if peak > _LARGER * usual_peak:
        yield f"Peak memory is {bytes_written(peak)}, {peak / usual_peak:.1f} times that of the reference."


def _seconds(matched: Matched, run: str) -> float:
    """Of training, for each trial that trained an adapter of its own."""
    spent = [found.seconds.train * found.device.count for found in _results(matched, run) if found.reused_from is None]
    return mean(spent) if spent else 0.0


def _peak(matched: Matched, run: str) -> int:
    return max(found.device.peak_bytes for found in _results(matched, run))


def _results(matched: Matched, run: str) -> list[Result]:
    return [seed.result for label in matched.labels for seed in matched.nights[run].configurations[label]]

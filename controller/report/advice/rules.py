"""The four rules: what the numbers of a report say about what to do next. Pure; each sentence follows from a number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count, islice
from typing import NamedTuple

from controller.collect import Collected
from controller.report.advice.edges import Edge, Tried, edges_of
from controller.report.advice.edits import Edit, Spec, at
from controller.report.advice.falling import Falling, still_falling, still_falling_in_noise
from controller.report.choices import Rule
from controller.report.conclusions import BesideBaseline, MoreData, Verdict
from controller.report.document import Report
from controller.report.numbers import counted, listed, spoken, written_number
from controller.report.series import series_of
from controller.report.verdict_words import about, difference, spanned
from controller.spec.varied import admit_value
from controller.spec.vary import written
from controller.spec.yaml_tree import Path

__all__ = ["MOST_MORE", "Finding", "findings_of"]

MOST_MORE = 9
"""Times as many rows or seeds as there are, that a next sweep may add; beyond, the difference is not worth it."""
_KNOWN_SEEDS = 3
"""With fewer the spread of seeds is hardly known."""
_FULL = 0.8
"""Share of the time limit that a trial is expected to take at most."""


class Finding(NamedTuple):
    """What one rule says, and what it changes."""

    rule: Rule
    sentences: tuple[str, ...]
    edits: tuple[Edit, ...] = ()


def findings_of(report: Report, collected: Collected, tree: Spec) -> tuple[Finding, ...]:
    """What the rules find, the gravest first; empty where none applies."""
    if report.verdict.kind == "none":
        return ()
    return (
        *_not_above_zero_shot(report.verdict),
        *_best_at_edge(report.verdict, collected, tree),
        *_loss_still_falling(report, collected, tree),
        *_tied(report, tree),
    )


def _not_above_zero_shot(verdict: Verdict) -> Iterator[Finding]:
    best, split = verdict.best[0], verdict.baselines_split
    for one in verdict.baselines:
        if not one.label.startswith("zero-shot") or one.shown == "better":
            continue
        sentences = [
            f"{best} {_beside(one, verdict.metric)} zero-shot on {split}: look at the data and the prompt before a "
            "larger sweep, as nothing shows that training helped."
        ]
        leads = [other for other in verdict.baselines if other.label.startswith("lead-") and other.shown != "better"]
        sentences += [
            f"{best} {_beside(lead, verdict.metric)} {lead.label} either, so copying the input would score as well."
            for lead in leads
        ]
        yield Finding("not_above_zero_shot", tuple(sentences))


def _beside(one: BesideBaseline, metric: str) -> str:
    span = spanned(one.low, one.high, metric)
    if one.shown == "worse":
        return f"is shown worse (by {difference(-one.better_by, metric)}) than"
    return f"is not shown better (by {difference(one.better_by, metric)}, {span}) than"


def _best_at_edge(verdict: Verdict, collected: Collected, tree: Spec) -> Iterator[Finding]:
    compared = [one.letter for one in verdict.compared]
    if len(compared) < 2:
        return
    edges = tuple(edges_of(collected.spec, tree, Tried.of(collected.trials, top=verdict.tied, compared=compared)))
    if edges:
        yield Finding(
            "best_at_edge",
            tuple(_edge_words(edge, verdict) for edge in edges),
            tuple(edit for edge in edges for edit in edge.edits),
        )


def _edge_words(edge: Edge, verdict: Verdict) -> str:
    tied = verdict.tied
    who = f"{tied[0]}, alone at the top, has" if len(tied) == 1 else f"All {len(tied)} tied at the top have"
    if edge.drawn:
        side = "upper" if edge.end == "highest" else "lower"
        where = f"{edge.path} within a tenth of the {side} end of its range, {edge.value}"
        onwards = f"the range goes on to {edge.beyond}, which makes every drawn point another one"
    else:
        where = f"{edge.path}={edge.value}, the {edge.end} that was tried"
        onwards = f"{edge.beyond} is worth a try"
    return f"{who} {where}: {onwards if edge.beyond is not None else f'it goes no further, as {edge.why_not}'}."


def _loss_still_falling(report: Report, collected: Collected, tree: Spec) -> Iterator[Finding]:
    best = report.verdict.best[0]
    found = _falling(report, best)
    if found is None:
        return
    what, falling = found
    said = (
        f"The {what} of {best} still fell at the end: from {written_number(falling.before)} at step "
        f"{falling.from_step:,}{' (between two evaluations)' if falling.between else ''} "
        f"to {written_number(falling.after)} at step {falling.to_step:,}, "
        f"{100 * falling.share:.0f} % of its whole fall"
    )
    path = _length_path(collected)
    if f"training.{path[-1]}" in collected.spec.vary.paths:
        yield Finding("loss_still_falling", (f"{said}; training.{path[-1]} is varied, and its range says how far.",))
        return
    present = at(tree, path)
    doubled = _doubled(path, present)
    if doubled is None:
        yield Finding("loss_still_falling", (f"{said}, and {path[-1]} takes no more.",))
        return
    edits = (Edit(path, doubled), *_longer_limit(collected))
    longer = f"{said}: try {written(doubled)} {path[-1]} instead of {written(present)}, with which every trial is new."
    yield Finding("loss_still_falling", (longer,), edits)


def _falling(report: Report, best: str) -> tuple[str, Falling] | None:
    """By the loss on validation where it was measured on the way, else by that of the steps."""
    for split, metric in (("validation", "completion_loss"), ("train", "loss")):
        lines = [line for line in series_of(report, split, metric) if not line.level]
        points = next((line.points for line in lines if line.letter == best), ())
        if split == "train":
            found = still_falling_in_noise(points)
            return None if found is None else ("training loss", found)
        if len(points) > 2:
            found = still_falling(points)
            return None if found is None else (f"{spoken(metric)} on validation", found)
    return None


def _length_path(collected: Collected) -> Path:
    """Where the spec says how long a trial is."""
    epochs = collected.spec.trial.training.num_train_epochs is not None
    epochs = epochs or "training.num_train_epochs" in collected.spec.vary.paths
    return ("trial", "training", "num_train_epochs" if epochs else "max_steps")


def _doubled(path: Path, present: object) -> int | float | None:
    if not isinstance(present, int | float):
        return None
    try:
        admit_value(f"training.{path[-1]}", 2 * present)
    except ValueError:
        return None
    return 2 * present


def _longer_limit(collected: Collected) -> tuple[Edit, ...]:
    """Twice the time limit where twice the training would come near it."""
    spent = [one.measured.result.seconds for one in collected.trials if one.measured is not None]
    longest = max((2 * seconds.train + seconds.evaluate for seconds in spent), default=0.0)
    limit = collected.spec.execution.trial_timeout_s
    return (Edit(("execution", "trial_timeout_s"), 2 * limit),) if longest > _FULL * limit else ()


def _tied(report: Report, tree: Spec) -> Iterator[Finding]:
    verdict, more = report.verdict, report.verdict.would_show
    if more is None or verdict.kind != "tied":
        return
    tied = f"{listed(verdict.tied)} are tied at the top"
    if not more.size:
        yield Finding("tied", (f"{tied} with equal means, which no number of rows or seeds would tell apart.",))
        return
    size = f"{verdict.best[0]} and {more.against} differ by {difference(more.size, verdict.metric)}"
    if not more.seeds_known and len(report.setup.seeds) < _KNOWN_SEEDS:
        added = _KNOWN_SEEDS - len(report.setup.seeds)
        said = (
            f"{tied}; {size}{_rows_of_adapters(more)}. With {counted(added, 'more seed')} each the numbers are about "
            "the configurations, and say how many more seeds it takes."
        )
        yield Finding("tied", (said,), (_seeds(report, tree, added),))
        return
    yield _more(report, tree, more, f"{tied}; {size}")


def _rows_of_adapters(more: MoreData) -> str:
    if not more.rows:
        return ""
    return f", which about {about(more.rows)} more rows would show of these adapters alone"


def _more(report: Report, tree: Spec, more: MoreData, said: str) -> Finding:
    """Whichever of the two trains less: more seeds keep what there is, another choice of rows makes all trials new."""
    verdict = report.verdict
    ways = [f"about {about(more.rows)} more rows"] if more.rows else []
    ways += [f"about {about(more.seeds)} more seeds each"] if more.seeds else []
    if not ways:
        return Finding("tied", (f"{said}, and neither more rows nor more seeds alone would show that.",))
    needs = f"{said}, which {' or '.join(ways)} would show"
    seeds = more.seeds if more.seeds and more.seeds <= MOST_MORE * verdict.seeds else None
    rows = _more_rows(report, tree, more)
    if seeds is not None and (rows is None or seeds <= verdict.seeds):
        kept = "what is trained is kept"
        return Finding("tied", (f"{needs}: seeds are added, and {kept}.",), (_seeds(report, tree, seeds),))
    if rows is not None:
        return Finding("tied", (f"{needs}: rows are added, which makes every trial a new one.",), (rows,))
    return Finding("tied", (f"{needs}: {_why_neither(report, tree, more)}.",))


def _more_rows(report: Report, tree: Spec, more: MoreData) -> Edit | None:
    """A higher limit, where a limit is what keeps more rows away."""
    verdict = report.verdict
    path = ("data", "limits", verdict.split)
    limit = at(tree, path)
    left_out = sum(rows for cause, rows in report.setup.dropped.items() if cause.startswith(f"{verdict.split}."))
    there = report.setup.rows.get(verdict.split, 0) + left_out
    if not more.rows or more.rows > MOST_MORE * verdict.rows or not isinstance(limit, int | float) or there < limit:
        return None
    unit = 10 ** max(len(str(more.rows)) - 2, 0)
    return Edit(path, int(limit) + math.ceil(more.rows / unit) * unit)


def _why_neither(report: Report, tree: Spec, more: MoreData) -> str:
    many = f"more than {MOST_MORE} times as many as there are"
    if more.rows and more.rows <= MOST_MORE * report.verdict.rows:
        split = report.verdict.split
        return f"all rows that the data has for {split} are in use, so take the one that needs least, or get more data"
    return f"that is {many}, so take the one that needs least"


def _seeds(report: Report, tree: Spec, added: int) -> Edit:
    rotating = at(tree, ("vary", "rotating_seeds"))
    if isinstance(rotating, int | float):
        return Edit(("vary", "rotating_seeds"), int(rotating) + added)
    present = report.setup.seeds
    unused = (seed for seed in count() if seed not in present)
    return Edit(("vary", "seeds"), [*present, *islice(unused, added)])

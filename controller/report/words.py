"""Phrases that Markdown, HTML and the terminal share."""

from __future__ import annotations

from collections.abc import Sequence

from controller.collect import UNNAMED_STORE
from controller.report.document import Configuration, FailedTrial, Report
from controller.report.numbers import money, seconds, written_number
from controller.report.text import first_line, shortened
from controller.report.verdict_words import spanned
from job.contract.documents import ScoredSplit

__all__ = ["baseline_words", "headline", "opening", "rows_words", "short_label", "spent_words", "splits_of"]
__all__ += ["behind_words", "store_words", "tied_letters", "train_words", "trial_words"]

_OPENING_LIMIT = 300  # characters


def headline(report: Report) -> str:
    """How far the run got, in a few words."""
    trials = [trial for configuration in report.configurations for trial in configuration.trials]
    done = sum(trial.state == "succeeded" for trial in trials)
    failed = f", {len(report.failures)} failed" if report.failures else ""
    partial = "" if report.state == "complete" else ", not finished"
    return f"{done} of {len(trials)} trials have a result{failed}{partial}"


def opening(failed: FailedTrial) -> str:
    """The first line of what a failed trial said, as long as a reader takes it in."""
    return shortened(first_line(failed.message), _OPENING_LIMIT)


def rows_words(configurations: Sequence[Configuration], split: ScoredSplit) -> str:
    """How many rows and seeds are behind the means of a split."""
    metrics = [(found.kind, metric) for found in configurations for metric in found.metrics.get(split, {}).values()]
    trained = [metric.seeds for kind, metric in metrics if kind == "lora"]
    rows = _span([metric.rows for _, metric in metrics], "row")
    seeds = _span(trained, "seed")
    return f"{rows}, {seeds} per trained configuration." if trained else f"{rows}."


def short_label(configuration: Configuration, report: Report) -> str:
    """The label with each path as its last part, where that leaves no doubt; a baseline's label as it is."""
    if not configuration.values:
        return configuration.label
    paths = dict.fromkeys(varied.path for varied in report.setup.varied)
    last = [path.rsplit(".", 1)[-1] for path in paths]
    short = {path: name if last.count(name) == 1 else path for path, name in zip(paths, last, strict=True)}
    values = configuration.values.items()
    return ", ".join(f"{short.get(path, path)}={value}" for path, value in values if value) or configuration.label


def splits_of(report: Report) -> tuple[ScoredSplit, ...]:
    """The scored splits that have results, the objective's first."""
    found = {split for configuration in report.configurations for split in configuration.metrics}
    order: tuple[ScoredSplit, ...] = ("validation", "test")
    return tuple(split for split in sorted(order, key=lambda split: split != report.objective.split) if split in found)


def trial_words(letter: str, seed: int | None) -> str:
    """A trial as people call it."""
    return letter if seed is None else f"{letter}, seed {seed}"


def train_words(configuration: Configuration) -> str:
    """Device-seconds of training, and whose adapter it is where it was not trained here; empty for a baseline."""
    if not configuration.steps:
        return ""
    done = [trial for trial in configuration.trials if trial.state == "succeeded"]
    owners = dict.fromkeys(trial.adapter_of for trial in done if trial.adapter_of is not None)
    spent = [] if owners and all(trial.adapter_of for trial in done) else [seconds(configuration.train_s)]
    return ", ".join([*spent, *(f"adapter of {owner}" for owner in owners)])


def spent_words(report: Report) -> str:
    """What all results took, in device-seconds and, where the spec has a price, in money."""
    spent = report.spent
    took = f"All results together took {seconds(spent.device_s)} device-seconds ({spent.device_s / 3600:,.2f} hours)"
    if spent.cost is not None:
        took += f" and cost {money(spent.cost)} at {money(spent.price_per_gpu_hour)} per device-hour"
    return f"{took}; attempts of trials without a result are not counted."


def store_words(report: Report) -> str:
    """What the reader has to fill in in commands; empty where they can be typed as they are."""
    named = report.place.startswith(f"{UNNAMED_STORE}/")
    return (
        f"In commands, {UNNAMED_STORE} stands for the folder that the run was started with (--store)." if named else ""
    )


def tied_letters(report: Report) -> frozenset[str]:
    """Of the configurations that share the top; empty where one stands alone there."""
    tied = report.verdict.tied
    return frozenset(tied) if len(tied) > 1 else frozenset()


def behind_words(report: Report) -> dict[str, str]:
    """Letter to how far behind the best it is, with the interval; of the configurations that were compared."""
    verdict = report.verdict
    if len(verdict.compared) < 2:
        return {}
    spans = {
        one.letter: f"{written_number(one.behind, verdict.metric)} ({spanned(one.low, one.high, verdict.metric)})"
        for one in verdict.compared
    }
    return {**spans, verdict.best[0]: "the best"}


def baseline_words(configuration: Configuration) -> str:
    """Whether a configuration was trained; of a zero-shot baseline also which part of its texts is scored."""
    if configuration.kind == "lora":
        return "trained"
    return "baseline" if configuration.variant == "whole" else "baseline, first line"


def _span(counts: Sequence[int], noun: str) -> str:
    if not counts:
        return f"no {noun}s"
    low, high = min(counts), max(counts)
    number = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return f"{number} {noun}" if high == 1 else f"{number} {noun}s"

"""report.csv: a line for each configuration, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io

from controller.report.document import Configuration, Report
from controller.report.text import shortened

__all__ = ["CELL", "csv_report"]

CELL = 32_000
"""Characters; a spreadsheet cuts a cell at 32,767 without a word (Excel's and LibreOffice's limit)."""


def csv_report(report: Report) -> str:
    """A header and a line for each configuration, in the order of the ranking; numbers in full precision."""
    paths = [varied.path for varied in report.setup.varied]
    measured = {
        (split, name): None
        for configuration in report.configurations
        for split, metrics in configuration.metrics.items()
        for name in metrics
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_FIXED, *dict.fromkeys(paths), *(column for key in measured for column in _columns(*key))])
    for configuration in report.configurations:
        cells = [*_fixed(configuration), *(configuration.values.get(path, "") for path in dict.fromkeys(paths))]
        for split, name in measured:
            metric = configuration.metrics.get(split, {}).get(name)
            cells += [""] * 5 if metric is None else [metric.mean, metric.half, metric.low, metric.high, metric.rows]
        writer.writerow([_harmless(cell) for cell in cells])
    return text.getvalue()


_FIXED = (
    "rank",
    "letter",
    "label",
    "kind",
    "config_id",
    "trial_ids",
    "seeds_done",
    "seeds_planned",
    "steps",
    "train_tokens",
    "train_device_s",
    "evaluate_device_s",
    "other_device_s",
    "cost",
    "adapter_of",
    "peak_bytes",
    "adapter_bytes",
)


def _fixed(configuration: Configuration) -> list[object]:
    trials = configuration.trials
    return [
        configuration.rank,
        configuration.letter,
        configuration.label,
        configuration.kind,
        configuration.config_id,
        " ".join(trial.trial_id for trial in trials),
        sum(trial.state == "succeeded" for trial in trials),
        len(trials),
        configuration.steps,
        configuration.train_tokens,
        configuration.train_s,
        configuration.evaluate_s,
        configuration.other_s,
        configuration.cost,
        " ".join(dict.fromkeys(trial.adapter_of for trial in trials if trial.adapter_of)),
        configuration.peak_bytes,
        configuration.adapter_bytes,
    ]


def _columns(split: str, name: str) -> tuple[str, ...]:
    return tuple(f"{split}.{name}{part}" for part in ("", ".half", ".low", ".high", ".rows"))


def _harmless(cell: object) -> object:
    """Text that a spreadsheet would run as a formula gets a quote in front (OWASP, CSV injection)."""
    if not isinstance(cell, str):
        return cell
    text = shortened(cell, CELL - _MORE)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


_MORE = 100
"""Characters that saying how many were cut takes, at most."""

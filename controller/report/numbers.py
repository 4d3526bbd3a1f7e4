"""Numbers as people read them; every rendering of the report writes them in the same way."""

from __future__ import annotations

from collections.abc import Sequence

from controller.report.comparable import BITS
from controller.report.document import Metric
from job.contract.metric_names import DIRECTIONS

__all__ = [
    "NO_SPREAD",
    "arrow",
    "better",
    "bytes_written",
    "counted",
    "half_width",
    "has_no_spread",
    "listed",
    "metric_names",
    "money",
    "plus_minus",
    "seconds",
    "spoken",
    "title",
    "written_number",
]

_ORDER = ("rouge1", "rouge2", "rougeL", "completion_loss", BITS, "generated_tokens")
_DIRECTIONS = {**DIRECTIONS, BITS: DIRECTIONS["completion_loss"]}
_TITLES = {
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "rougeLsum": "ROUGE-Lsum",
    "completion_loss": "Completion loss",
    BITS: "Completion loss in bits per character",
    "generated_tokens": "Generated tokens",
}
NO_SPREAD = "no spread"
_LISTED = 8  # names in one sentence
_DIGITS = {"generated_tokens": 1}


def metric_names(found: Sequence[str], *, objective: str) -> tuple[str, ...]:
    """The columns of the ranking: the objective, then the customary ones that were measured."""
    return (objective, *(name for name in _ORDER if name in found and name != objective))


def title(name: str) -> str:
    """What a column is called."""
    return _TITLES.get(name, name)


def spoken(name: str) -> str:
    """What a metric is called inside a sentence."""
    words = title(name)
    return words if words[:2].isupper() else f"{words[0].lower()}{words[1:]}"


def arrow(name: str) -> str:
    """Which way is better; empty where neither is."""
    return {"maximize": "\N{UPWARDS ARROW}", "minimize": "\N{DOWNWARDS ARROW}", None: ""}[_DIRECTIONS.get(name)]


def better(name: str) -> str:
    """The arrow in words."""
    return {"maximize": "higher is better", "minimize": "lower is better", None: ""}[_DIRECTIONS.get(name)]


def written_number(value: float, name: str = "") -> str:
    """Three decimals, or what the metric of that name has."""
    # The z makes a rounded -0.0001 a plain 0.000 (PEP 682).
    return f"{value:z.{_DIGITS.get(name, 3)}f}".replace("-", "\N{MINUS SIGN}")


def half_width(metric: Metric, name: str = "") -> str:
    """Half the 95 % interval, as `0.021`; empty where there is no interval."""
    return "" if metric.half is None else written_number(metric.half, name)


def plus_minus(metric: Metric, name: str = "") -> str:
    """`0.231 \N{PLUS-MINUS SIGN} 0.021`, `0.231 (no spread)` where all rows are equal, or the mean of a single row."""
    mean = written_number(metric.mean, name)
    if half := half_width(metric, name):
        return f"{mean} \N{PLUS-MINUS SIGN} {half}"
    return f"{mean} ({NO_SPREAD})" if has_no_spread(metric) else mean


def has_no_spread(metric: Metric) -> bool:
    """Whether there are rows, and they are all equal."""
    return metric.half is None and metric.rows > 1


def listed(names: Sequence[str], *, separator: str = ", ") -> str:
    """The names without repeats, of many the first few and how many more."""
    unique = list(dict.fromkeys(names))
    more = len(unique) - _LISTED
    return separator.join(unique[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def counted(number: int, noun: str) -> str:
    """`1 row`, `32 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def seconds(value: float) -> str:
    """Seconds without decimals from ten on."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"


def money(value: float | None) -> str:
    """An amount in whatever currency the price was; a small one with three digits that say something."""
    if value is None:
        return ""
    return f"{value:,.2f}" if value >= 0.995 or value == 0 else f"{value:#.3g}"


def bytes_written(count: int) -> str:
    """Binary units with one decimal."""
    if not count:
        return "\N{EN DASH}"
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"

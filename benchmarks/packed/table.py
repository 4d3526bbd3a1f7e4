"""The page: what was measured, on what, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from packed.agreement import Agreement
from packed.measured import STAGES, MeasuredWay
from packed.settings import WAYS, Settings

__all__ = ["Page", "page"]

_HEADER = (
    "way", "total s", "x TRL", *(f"{stage} s" for stage in STAGES), "train tokens/s",
    "evaluated rows/s", "peak MiB", "test loss",
)  # fmt: skip


class Page(NamedTuple):
    """Everything that the page says."""

    ways: Sequence[MeasuredWay]
    agreements: Sequence[Agreement]
    machine: str
    model: str
    dtype: str
    settings: Settings
    command: str
    repeated: Mapping[str, int]
    """Rows of each split that stand there a second time."""
    tokens_written: int | None
    """Fixed length of every text; None: as the model ends it."""
    plot: str
    """File beside the page."""


def page(of: Page) -> str:
    """In Markdown."""
    return "\n".join(
        [
            "# One sweep, four ways",
            "",
            f"`{of.command}`, {of.ways[0].measured_at}. benchmarks/README.md says how to read it.",
            "",
            f"{of.machine}.",
            "",
            *_setting(of),
            "",
            *_table(of.ways),
            "",
            f"![Seconds of each way by stage]({of.plot})",
            "",
            *_agreements(of.agreements),
            "",
        ]
    )


def _setting(of: Page) -> Iterator[str]:
    s = of.settings
    trained = f"{s.trials} configurations x {s.steps} steps x {s.batch * s.accumulation} rows"
    trained += f" (batch {s.batch} x accumulation {s.accumulation})"
    baselines = ", and 2 baselines" if s.baselines else ""
    scored = f"{s.validation_rows} validation rows every {s.eval_steps} steps and {s.test_rows} test rows at the end"
    yield f"{of.model} in {of.dtype}; {trained}{baselines}; {scored}, in batches of {s.eval_batch_size}; greedy."
    if of.tokens_written:
        yield f"Every text has {of.tokens_written} tokens, the references' mean or the cap: random weights end no text."
    else:
        yield f"A text ends where the model ends it, after at most {s.max_new_tokens} tokens."
    if any(of.repeated.values()):
        again = ", ".join(f"{count} {split}" for split, count in of.repeated.items() if count)
        yield f"Of the rows of examples/dialogues some stand there more than once, under other ids: {again}."


def _table(ways: Sequence[MeasuredWay]) -> Iterator[str]:
    first = next((way.seconds for way in ways if way.way == "trl"), None)
    yield f"| {' | '.join(_HEADER)} |"
    yield f"|---{'|---:' * (len(_HEADER) - 1)}|"
    for way in ways:
        cells = [
            WAYS[way.way],
            f"{way.seconds:.1f}",
            "" if first is None else f"{first / way.seconds:.2f}",
            *(f"{way.stage(stage):.1f}" for stage in STAGES),
            f"{way.tokens_per_s:,.0f}",
            f"{way.sequences_per_s:.2f}",
            f"{way.peak_bytes / 2**20:,.0f}",
            f"{way.test_loss:.4f}",
        ]
        yield f"| {' | '.join(cells)} |"


def _agreements(found: Sequence[Agreement]) -> Iterator[str]:
    yield "| losses of | against | compared | largest relative difference | at |"
    yield "|---|---|---:|---:|---|"
    for one in found:
        yield f"| {one.way} | {one.other} | {one.losses} | {one.largest:.1e} | {one.where} |"

"""The outlook of a plan as text; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controller.planning.outlook import Bounds, GroupOutlook, Outlook

__all__ = ["outlook_text"]

_LISTED = 12


def outlook_text(outlook: Outlook) -> str:
    """What `lorasweep plan` prints."""
    return "\n".join(_lines(outlook)) + "\n"


def _lines(outlook: Outlook) -> Iterator[str]:
    counts = outlook.counts
    made = "its plan is stored" if outlook.stored else "not planned yet"
    yield f"sweep   {outlook.sweep}, run {outlook.run} in {outlook.store} ({made})"
    yield f"model   {outlook.model.location} ({outlook.model.digest[:19]})"
    yield f"data    {outlook.data.location} ({outlook.data.digest[:19]})"
    yield (
        f"trials  {len(outlook.trials):,}: {counts.trained:,} trained ({_of(counts.configurations, 'configuration')} x "
        f"{_of(counts.seeds, 'seed')}), {_of(counts.baselines, 'baseline')}; {_of(counts.jobs, 'job')}"
    )
    damaged = f", {counts.damaged:,} with a damaged result (see `lorasweep retry`)" if counts.damaged else ""
    yield f"exist   {counts.done:,} with a result, {counts.new:,} to run{damaged}"
    yield from _bound_lines(outlook.bounds, engine=" and ".join(outlook.engines))
    yield from _group_lines(outlook.groups)
    for label in outlook.duplicates:
        yield f"same    {label}: is a configuration already listed, and runs once"
    yield ""
    yield from _table(outlook)


def _bound_lines(bounds: Bounds, *, engine: str) -> Iterator[str]:
    if bounds.rows_per_step:
        steps = f"{_span(bounds.steps)} optimizer steps" if bounds.steps else "epochs"
        yield f"train   {steps} x {_span(bounds.rows_per_step)} rows a trial, engine {engine}"
    cost = f", cost {bounds.cost:,.2f}" if bounds.cost is not None else ""
    yield (
        f"bound   {_duration(bounds.wall_s)} at {bounds.trial_timeout_s:,.0f} s a trial and parallelism "
        f"{bounds.parallelism}; {bounds.gpu_hours:,.1f} GPU-hours{cost}"
    )


def _group_lines(groups: Sequence[GroupOutlook]) -> Iterator[str]:
    """Each Job of several trials by itself; the others by the reason that they are alone."""
    alone: dict[tuple[str, str], list[str]] = {}
    for group in groups:
        if group.lanes > 1:
            together = "together on one base model" if group.engine == "lanes" else "one after the other"
            yield _group_line(group.engine, f"{_listed(group.letters)}: {group.lanes} {together}", group.why)
        else:
            alone.setdefault((group.engine, group.why), []).extend(group.letters)
    for (engine, why), letters in alone.items():
        yield _group_line(engine, f"{_listed(letters)}: one a Job", why)


def _group_line(engine: str, said: str, why: str) -> str:
    return f"group   {engine}, {said}" + (f" ({why})" if why else "")


def _listed(letters: Sequence[str]) -> str:
    """Each once, as the seeds of a configuration share theirs; of many the first."""
    names = list(dict.fromkeys(letters))
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def _table(outlook: Outlook) -> Iterator[str]:
    rows = [("", "id", "seed", "state", "job", "label")]
    rows += [
        (one.letter, one.trial_id, "-" if one.seed is None else str(one.seed), one.state, one.job, one.label)
        for one in outlook.trials
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  ".join([*cells, row[5]]).rstrip()


def _of(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _span(ends: tuple[int, int]) -> str:
    low, high = ends
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"at most {hours:,} h {minutes:02d} min"

"""report.md: the report for a pull request or a terminal pager.

Foreign text is either in code, where Markdown means nothing, or has every character escaped that could mean something.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from controller.report.brief import Brief, brief
from controller.report.choices_markdown import reproduction_parts, takeaways_parts, tradeoffs_parts
from controller.report.diagnosis_words import HEADING as SHORTCOMINGS
from controller.report.document import Configuration, Report
from controller.report.effects_words import EFFECTS_LEGEND, effect_lines, effects_heading, effects_sentences
from controller.report.escaped import code, fenced, prose
from controller.report.examples_words import RowView, compare_command, set_views
from controller.report.fitting import Part, fitted
from controller.report.numbers import (
    arrow,
    bytes_written,
    metric_names,
    money,
    plus_minus,
    seconds,
    title,
    written_number,
)
from controller.report.regression_markdown import regression_parts, regression_title
from controller.report.series import few_steps, series_of
from controller.report.svg import DRAWN
from controller.report.words import (
    baseline_words,
    behind_words,
    headline,
    opening,
    rows_words,
    spent_words,
    splits_of,
    store_words,
    tied_letters,
    train_words,
    trial_words,
)
from job.contract.documents import ScoredSplit
from job.store import Keys

__all__ = ["MAX_BYTES", "markdown_report"]

MAX_BYTES = 60_000
"""Below what a comment on a pull request may hold: 65,536 characters on GitHub."""

_DASH = "\N{EN DASH}"
_CURVE_ROWS = 12
_BEHIND = "*Behind the best* is the difference row by row; the intervals of all pairs hold together with 95 %."
_TIED = " **= tied**: not shown worse than any other."


def markdown_report(whole: Report, *, max_bytes: int = MAX_BYTES) -> str:
    """The report, of a large sweep its first configurations, in at most `max_bytes` bytes; ends in a newline.

    What a reader needs first is kept first, and the last line says what was left out. Raises SpecError when not even
    title and verdict fit.
    """
    shown = brief(whole)
    report = shown.report
    parts = [
        _part("Title", 0, _title(report, headline(whole))),
        _part("Regression", 0, regression_title(report)),
        _part("What changed since", 1, regression_parts(report)),
        _part("What was tried", 1, _asked(report)),
        _part("What was varied", 5, _varied(report)),
        _part("Verdict", 0, _verdict(report)),
        _part("Notes to the verdict", 1, _notes(report)),
        *(
            _part(f"Configurations on {split}", 2 if split == report.objective.split else 3, _ranking(shown, split))
            for split in splits_of(report)
        ),
        _part("Effects", 4, _effects(report)),
        _part("Trade-offs", 4, tradeoffs_parts(report)),
        _part("Failed trials", 3, _failures(shown)),
        _part("Trials without a result", 4, _pending(report)),
        _part("Takeaways", 3, takeaways_parts(report)),
        _part(SHORTCOMINGS, 4, _shortcomings(report)),
        _part("Learning curves", 7, _curves(report)),
        _part("Examples", 9, _examples(report)),
        _part("Configurations", 7, _configurations(report)),
        _part("Setup", 8, _setup(report)),
        _part("Provenance", 6, (*_provenance(report), *reproduction_parts(report))),
    ]
    return fitted(parts, max_bytes=max_bytes, whole_at=code(f"{report.place}/{Keys.report('report.html')}"))


def _part(name: str, rank: int, blocks: Iterable[str]) -> Part:
    """A section; the rank says how soon it is wanted (controller/report/fitting.py)."""
    return Part(name, rank, tuple(blocks))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers_from: int) -> str:
    """A table whose columns from `numbers_from` on are aligned right."""
    rule = ["---" if column < numbers_from else "---:" for column in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def _title(report: Report, progress: str) -> Iterator[str]:
    yield f"# {prose(report.sweep)}: {progress}"


def _asked(report: Report) -> Iterator[str]:
    if report.description:
        yield f"**What was tried.** {prose(report.description)}"
    if report.success:
        yield f"**Success criterion.** {prose(report.success)}"


def _verdict(report: Report) -> Iterator[str]:
    yield f"## Verdict: {prose(report.verdict.heading)}"
    yield prose(" ".join(report.verdict.sentences))


def _notes(report: Report) -> Iterator[str]:
    if small := (*report.verdict.notes, *report.findings):
        yield "\n".join(f"- {prose(sentence)}" for sentence in small)
    if report.warnings:
        yield "\n".join(f"- **Note.** {prose(sentence)}" for sentence in report.warnings)


def _ranking(whole: Brief, split: ScoredSplit) -> Iterator[str]:
    report = whole.report
    goal = report.objective
    shown = [configuration for configuration in report.configurations if configuration.metrics.get(split)]
    if not shown:
        return
    ranks = split == goal.split
    yield f"## Ranked by {title(goal.metric)} on {split}" if ranks else f"## The same configurations on {split}"
    found = {name for configuration in shown for name in configuration.metrics[split]}
    names = metric_names(sorted(found), objective=goal.metric)
    header = ["Rank", "", "Configuration", *(f"{title(name)} {arrow(name)}".strip() for name in names)]
    behind, tied = (behind_words(report), tied_letters(report)) if ranks else ({}, frozenset())
    if behind:
        header.append("Behind the best")
    rows = (
        _ranking_row(configuration, split, names, ranks=ranks, behind=behind, tied=configuration.letter in tied)
        for configuration in shown
    )
    costs = ["Train s", "Evaluate s", *([] if report.spent.cost is None else ["Cost"])]
    yield _table([*header, *costs] if ranks else header, rows, numbers_from=3)
    yield (
        f"{prose(rows_words(shown, split))} \N{PLUS-MINUS SIGN} is half a 95 % interval of the mean"
        f"{'; seconds are device-seconds over all seeds' if ranks else ''}. *Baselines* have no rank."
    )
    if behind:
        yield f"{_BEHIND}{_TIED if tied else ''}"
    if ranks:
        yield prose(spent_words(report))
    if whole.left_out:
        yield f"{whole.left_out:,} more configurations are in report.csv."


def _ranking_row(
    configuration: Configuration,
    split: ScoredSplit,
    names: Sequence[str],
    *,
    ranks: bool,
    behind: Mapping[str, str],
    tied: bool,
) -> list[str]:
    metrics = configuration.metrics[split]
    label = code(configuration.label) + (f" *{baseline_words(configuration)}*" if configuration.kind != "lora" else "")
    label += " **= tied**" if tied else ""
    numbers = [plus_minus(metrics[name], name) if name in metrics else _DASH for name in names]
    numbers += [behind.get(configuration.letter, _DASH)] if behind else []
    row = [str(configuration.rank or _DASH), configuration.letter, label, *numbers]
    if ranks:
        row += [prose(train_words(configuration)) or _DASH, seconds(configuration.evaluate_s)]
        row += [] if configuration.cost is None else [money(configuration.cost)]
    return row


def _effects(report: Report) -> Iterator[str]:
    found = report.effects
    if found is None:
        return
    yield f"## {effects_heading(found)}"
    if lines := effect_lines(found):
        rows = [
            [
                code(one.factor),
                code(one.against),
                code(one.level),
                f"{one.change} ({one.span})",
                one.shown,
                one.rests_on,
            ]
            for one in lines
        ]
        yield _table(["Setting", "From", "To", "Mean changes by", "To is", "Rests on"], rows, numbers_from=3)
        yield EFFECTS_LEGEND
    if said := effects_sentences(found):
        yield "\n".join(f"- {prose(sentence)}" for sentence in said)


def _shortcomings(report: Report) -> Iterator[str]:
    if report.shortcomings is not None and report.shortcomings.sentences:
        yield f"## {SHORTCOMINGS}"
        yield "\n".join(f"- {prose(sentence)}" for sentence in report.shortcomings.sentences)


def _failures(shown: Brief) -> Iterator[str]:
    failures = shown.report.failures
    if not failures:
        return
    yield f"## Failed trials ({len(failures) + shown.failures_left_out:,})"
    if shown.failures_left_out:
        yield f"The first {len(failures)}; report.json has all of them."
    if note := store_words(shown.report):
        yield prose(note)
    for failed in failures:
        attempts = f", {failed.attempts} failed attempts" if failed.attempts > 1 else ""
        name = trial_words(failed.letter, failed.seed)
        yield f"**{name}** {code(failed.label)} {failed.reason}{attempts}: {prose(opening(failed))}"
        if opening(failed) != failed.message:
            yield f"<details><summary>The whole message</summary>\n\n{fenced(failed.message)}\n\n</details>"
        yield prose(f"Way on: {failed.way_on}.")
        yield fenced("\n".join(command for command in (failed.log, failed.retry) if command))
        if failed.log_tail:
            yield f"<details><summary>End of its log</summary>\n\n{fenced(failed.log_tail)}\n\n</details>"


def _pending(report: Report) -> Iterator[str]:
    if report.pending:
        yield f"## Without a result yet ({len(report.pending)})"
        yield ", ".join(map(prose, report.pending))


def _varied(report: Report) -> Iterator[str]:
    yield "## What was varied, and why"
    if not report.setup.varied:
        yield "Nothing: there is one trained configuration at most."
        return
    rows = [
        [code(varied.path), ", ".join(map(code, varied.values)), varied.how, prose(varied.why or _DASH)]
        for varied in report.setup.varied
    ]
    yield _table(["Setting", "Values", "Combined as", "Why"], rows, numbers_from=4)
    seeds = ", ".join(map(str, report.setup.seeds))
    yield f"Every trained configuration runs with {len(report.setup.seeds)} seed(s): {seeds}."


def _configurations(report: Report) -> Iterator[str]:
    yield "## Configurations"
    by_letter = sorted(report.configurations, key=lambda found: (len(found.letter), found.letter))
    rows = [
        [
            found.letter,
            code(found.label),
            baseline_words(found),
            f"{found.steps:,}",
            f"{found.train_tokens:,}",
            bytes_written(found.peak_bytes),
            bytes_written(found.adapter_bytes),
            ", ".join(code(trial.trial_id) for trial in found.trials),
        ]
        for found in by_letter
    ]
    yield _table(
        ["", "Key change", "Kind", "Steps", "Train tokens", "Peak memory", "Adapter", "Trials"], rows, numbers_from=3
    )


def _curves(report: Report) -> Iterator[str]:
    kinds = dict.fromkeys((curve.split, curve.metric) for found in report.configurations for curve in found.curves)
    for split, metric in kinds:
        series = series_of(report, split, metric)
        drawn = [line for line in series if not line.level][:DRAWN]
        columns = {line.letter: dict(line.points) for line in drawn}
        rows = [
            [str(step), *(f"{column[step]:.3f}" if step in column else _DASH for column in columns.values())]
            for step in few_steps(drawn, _CURVE_ROWS)
        ]
        yield f"## {'Training loss' if split == 'train' else f'{title(metric)} on {split}'} by step"
        yield _table(["Step", *columns], rows, numbers_from=0)
        if any(column.get(0) is not None for column in columns.values()):
            yield "Step 0 is the zero-shot baseline of the prompt."
        if levels := [f"{line.letter} {written_number(line.points[-1][1], metric)}" for line in series if line.level]:
            yield f"Baselines and floors, at every step: {', '.join(levels)}."


def _examples(report: Report) -> Iterator[str]:
    views = set_views(report)
    if not views:
        return
    yield "## Examples"
    if command := compare_command(report):
        yield f"Two configurations stand side by side; any other two do after {code(command)}."
    for view in views:
        yield f"### {prose(view.heading)}"
        yield prose(view.legend)
        for group in view.groups:
            yield f"**{prose(group.heading)}**"
            yield from (_example(row, report.objective.metric) for row in group.rows)


def _example(view: RowView, metric: str) -> str:
    """One row, folded; nothing foreign is in its summary, which is HTML."""
    scores = [f"{one.letter} {written_number(one.score, metric)}" for one in view.outputs if one.score is not None]
    summary = ", ".join([*scores, *([view.apart] if view.apart else [])]) or "no score"
    parts = [
        f"Row {code(view.row.example_id)}, input",
        fenced(view.row.input),
        "Reference",
        fenced(view.row.reference),
        *(part for one in view.outputs for part in (f"{one.letter} {code(one.label)}", fenced(one.text))),
    ]
    inner = "\n\n".join(parts)
    return f"<details><summary>{title(metric)}: {summary}</summary>\n\n{inner}\n\n</details>"


def _setup(report: Report) -> Iterator[str]:
    setup = report.setup
    yield "## Setup"
    rows = [[f"rows of {split}", f"{count:,}"] for split, count in setup.rows.items()]
    rows += [[f"left out, {code(cause)}", f"{count:,}"] for cause, count in setup.dropped.items() if count]
    yield _table(["", ""], [["model", code(setup.model)], ["data", code(setup.data)], *rows], numbers_from=2)
    for name, prompt in setup.prompts.items():
        chat = " (as turns of the model's chat template)" if prompt.chat else ""
        yield f"Prompt {code(name)}{chat}\n\n{fenced(prompt.prompt)}"
        yield f"and its completion\n\n{fenced(prompt.completion)}"
    if setup.shared:
        yield "What all trained trials share"
        yield _table(["Setting", "Value"], [[code(k), code(v)] for k, v in setup.shared.items()], numbers_from=2)


def _provenance(report: Report) -> Iterator[str]:
    made = report.provenance
    yield "## Provenance"
    rows = [
        ["run", code(report.place)],
        ["spec, SHA-256", code(report.spec_sha256)],
        ["model", code(report.setup.model_digest)],
        ["data", code(report.setup.data_digest)],
        ["data until", report.data_until.isoformat() if report.data_until else _DASH],
        ["engine", ", ".join(map(code, made.engines)) or _DASH],
        ["device", ", ".join(map(code, made.devices)) or _DASH],
        ["versions", ", ".join(code(f"{name} {' / '.join(found)}") for name, found in made.versions.items()) or _DASH],
        ["identity version", str(made.identity_version)],
    ]
    for source in made.sources:
        rows += [["git commit", code(source.git_commit)]] if source.git_commit else []
        rows += [["image", code(source.image)]] if source.image else []
    yield _table(["", ""], rows, numbers_from=2)

"""What the numbers show and what makes them doubtful, as sentences that are derived from numbers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from controller.collect import Collected, Measured
from controller.report.document import Objective, ReportProvenance
from controller.report.numbers import counted, listed, plus_minus, spoken
from controller.report.ranking import Standing
from controller.report.setup import dropped_between
from controller.report.text import one_line

__all__ = ["findings_of", "warnings_of"]


def findings_of(standings: Sequence[Standing], objective: Objective) -> tuple[str, ...]:
    """How many of all trained configurations are above the baselines; the verdict tests the best one alone."""
    counts, variants = tuple(_against_baselines(standings, objective)), _variants(standings, objective)
    caveat = ("These counts compare means alone: no test says whether a difference is more than chance.",)
    return (*counts, *(caveat if counts else ()), *variants)


def warnings_of(
    collected: Collected, standings: Sequence[Standing], *, objective: Objective, provenance: ReportProvenance
) -> tuple[str, ...]:
    """What a reader has to know before trusting the ranking, the gravest first."""
    sentences = (
        *_mixed(provenance),
        *_without_objective(standings, objective),
        *_seeds_missing(standings),
        *_rows_differ(standings, objective),
        *_completions_differ(standings),
        *_dropped_differ([seed for standing in standings for seed in standing.measured]),
        *_left_the_grid(collected),
        *(f"{label}: came out as a trial already listed, and is counted once" for label in collected.plan.duplicates),
        *collected.plan.warnings,
        *collected.notes,
    )
    return tuple(dict.fromkeys(sentences))  # the plan may have warned of the same


def _against_baselines(standings: Sequence[Standing], objective: Objective) -> Iterator[str]:
    """Counts by mean alone; whether a difference is more than chance is not asked here."""
    trained = [standing for standing in standings if standing.trained]
    loss = Objective(metric="completion_loss", split=objective.split, direction="minimize")
    asked = [objective] if objective.metric == loss.metric else [objective, loss]
    for goal in asked:
        zero_shots = {
            standing.planned.prompt_name: standing for standing in standings if standing.planned.kind == "zero-shot"
        }
        pairs = [(standing, zero_shots.get(standing.planned.prompt_name)) for standing in trained]
        if sentence := _better_than(pairs, goal, name="the zero-shot baseline of their prompt"):
            yield sentence
    for lead in (standing for standing in standings if standing.planned.kind == "lead"):
        if sentence := _better_than([(standing, lead) for standing in trained], objective, name=lead.planned.label):
            yield sentence


def _variants(standings: Sequence[Standing], objective: Objective) -> Iterator[str]:
    """Where a zero-shot baseline is harder to beat when its texts are cut."""
    for one in standings:
        if one.variant != "whole" and one.objective is not None and one.other is not None:
            goal = f"{spoken(objective.metric)} on {objective.split}"
            cut, whole = plus_minus(one.objective, objective.metric), plus_minus(one.other, objective.metric)
            yield (
                f"{one.planned.letter} ({one_line(one.planned.label)}) counts as cut at its first newline, which is "
                f"harder to beat: {goal} is {cut}, and {whole} of its whole texts."
            )


def _better_than(pairs: Sequence[tuple[Standing, Standing | None]], goal: Objective, *, name: str) -> str:
    values = [
        (ours, theirs)
        for standing, baseline in pairs
        if baseline is not None
        and (ours := _mean(standing, goal)) is not None
        and (theirs := _mean(baseline, goal)) is not None
    ]
    if not values:
        return ""
    upward = goal.direction == "maximize"
    better = sum(ours > theirs if upward else ours < theirs for ours, theirs in values)
    side = "above" if upward else "below"
    whole = counted(len(values), "trained configuration")
    verb = "is" if len(values) == 1 else "are"
    return f"By mean {spoken(goal.metric)} on {goal.split}, {better} of {whole} {verb} {side} {name}."


def _mean(standing: Standing, goal: Objective) -> float | None:
    metric = standing.metrics.get(goal.split, {}).get(goal.metric)
    return None if metric is None else metric.mean


def _mixed(provenance: ReportProvenance) -> Iterator[str]:
    for what, found in (("engines", provenance.engines), ("devices", provenance.devices)):
        if len(found) > 1:
            yield f"The ranking mixes {what} ({', '.join(found)}): differences between rows may come from them."
    versions = [f"{name} {' and '.join(found)}" for name, found in provenance.versions.items() if len(found) > 1]
    if versions:
        yield f"The ranking mixes library versions ({'; '.join(versions)}): differences may come from them."
    commits = {source.git_commit for source in provenance.sources} | {source.image for source in provenance.sources}
    if len(provenance.sources) > 1:
        named = ", ".join(sorted(commit for commit in commits if commit))
        yield f"The ranking mixes builds of the code ({named or 'one of them unnamed'})."


def _without_objective(standings: Sequence[Standing], objective: Objective) -> Iterator[str]:
    missing = [s.planned.letter for s in standings if s.trained and s.measured and s.objective is None]
    if missing:
        yield f"{listed(missing)}: no {spoken(objective.metric)} on {objective.split} in the results, so not ranked."


def _seeds_missing(standings: Sequence[Standing]) -> Iterator[str]:
    for standing in standings:
        done, all_of_them = len(standing.measured), len(standing.trials)
        if 0 < done < all_of_them:
            yield f"{standing.planned.letter}: {done} of {all_of_them} seeds have a result; its numbers are of those."


def _rows_differ(standings: Sequence[Standing], objective: Objective) -> Iterator[str]:
    by_rows: Counter[tuple[str, ...]] = Counter()
    letters: dict[tuple[str, ...], list[str]] = {}
    for standing in standings:
        for seed in standing.measured:
            if objective.split in seed.scores:
                ids = tuple(sorted(seed.scores[objective.split].example_ids))
                by_rows[ids] += 1
                letters.setdefault(ids, []).append(standing.planned.letter)
    if len(by_rows) > 1:
        usual, _ = by_rows.most_common(1)[0]
        odd = [letter for ids, found in letters.items() if ids != usual for letter in found]
        yield f"{listed(odd)}: scored on other {objective.split} rows than the rest, so the means are not comparable."


def _completions_differ(standings: Sequence[Standing]) -> Iterator[str]:
    prompts = {s.planned.prompt_name: s.planned.config.prompt for s in standings if s.planned.config.prompt}
    forms = {(prompt.completion, prompt.chat) for prompt in prompts.values() if prompt is not None}
    if len(forms) > 1:
        names = listed([str(name) for name in prompts])
        yield (
            f"Completion loss is per token of the completion; {names} complete differently, so compare it within one, "
            f"and across them in bits per character."
        )


def _dropped_differ(measured: Sequence[Measured]) -> Iterator[str]:
    for cause, (fewest, most) in dropped_between(measured).items():
        yield f"{cause}: {fewest} to {most} rows, depending on the trial's prompt."


def _left_the_grid(collected: Collected) -> Iterator[str]:
    by_spec: dict[str, list[str]] = {}
    for trial in collected.left:
        by_spec.setdefault(trial.spec_sha256, []).append(f"{trial.label} ({trial.trial_id})")
    for spec_sha256, labels in by_spec.items():
        yield (
            f"{counted(len(labels), 'finished trial')} of the earlier spec {spec_sha256[:12]} left the grid with spec "
            f"{collected.plan.spec_sha256[:12]} and are not ranked: {listed(labels, separator='; ')}."
        )

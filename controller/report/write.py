"""The report of a run, made from its store and put back into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from controller.attempt_files import read_predictions
from controller.collect import collect, read_examples
from controller.report.content import build_report, objective_of
from controller.report.document import Report, SampledExample
from controller.report.html import html_report
from controller.report.markdown import markdown_report
from controller.report.ranking import Ranking, ranking_of
from controller.report.samples import chosen_rows, sampled, shown_writers
from controller.report.table import csv_report
from controller.spec.file import parse_spec
from controller.verified import VerifiedResults
from job.contract.documents import Example, Plan, to_json
from job.contract.errors import NotFoundError, ResultError
from job.store import Keys, Store

__all__ = ["make_report", "write_report"]


def write_report(store: Store, *, plan: Plan, spec_text: bytes, results: VerifiedResults | None = None) -> Report:
    """The report of the plan's run, which `report/` of the store now holds in every form.

    The same store gives the same bytes, whoever asks and whenever. `results` are those of the store, for a caller who
    does not want what earlier readings remember to be trusted. Raises TransientError and ConfigurationError as the
    store does, SpecError for a spec text that is none.
    """
    report = make_report(store, plan=plan, spec_text=spec_text, results=results)
    forms = {
        "report.json": to_json(report),
        "report.csv": csv_report(report).encode(),
        "report.md": markdown_report(report).encode(),
        "report.html": html_report(report).encode(),
    }
    for name, body in forms.items():
        store.put(Keys.report(name), body)
    return report


def make_report(store: Store, *, plan: Plan, spec_text: bytes, results: VerifiedResults | None = None) -> Report:
    """The document alone."""
    spec = parse_spec(spec_text, name=Keys.spec(plan.spec_sha256), folder=Path()).spec
    collected = collect(store, plan, spec, results=results)
    notes = collected.notes
    examples: Mapping[tuple[str, str], Example] = {}
    shown: tuple[SampledExample, ...] = ()
    try:
        examples = read_examples(store, plan)
    except ResultError as err:
        notes = (*notes, f"No examples are shown: {err}")
    characters = {key: len(example.reference) for key, example in examples.items()}
    ranking = ranking_of(collected.trials, objective_of(spec), characters=characters)
    try:
        shown = _examples(store, ranking, examples)
    except (ResultError, NotFoundError) as err:
        # The texts are an illustration; the numbers stand without them.
        notes = (*notes, f"No examples are shown: {err}")
    return build_report(replace(collected, notes=notes), ranking, examples=shown)


def _examples(
    store: Store, ranking: Ranking, examples: Mapping[tuple[str, str], Example]
) -> tuple[SampledExample, ...]:
    writers = shown_writers(ranking.standings)
    if not writers:
        return ()
    split = ranking.objective.split
    rows = chosen_rows(examples, split=split)
    wanted = frozenset(row.example_id for row in rows)
    texts = [
        (writer, read_predictions(store, writer.measured.result, split=split, example_ids=wanted)) for writer in writers
    ]
    return sampled(rows, texts, objective=ranking.objective)

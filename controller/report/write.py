"""The report of a run, made from its store and put back into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from controller.attempt_files import read_predictions
from controller.collect import collect, read_examples
from controller.regression.judge import judged_again
from controller.regression.more import stage_of
from controller.report.advice.takeaways import takeaways_of
from controller.report.cases import suites_of
from controller.report.content import build_report, objective_of
from controller.report.document import Objective, Report
from controller.report.examples import Examples
from controller.report.html import html_report
from controller.report.junit import junit_xml
from controller.report.markdown import MAX_BYTES, markdown_report
from controller.report.ranking import ranking_of
from controller.report.samples import Casting, cast, chosen, sampled
from controller.report.table import csv_report
from controller.spec.file import parse_spec
from controller.spec.yaml_tree import parse_yaml
from controller.verified import VerifiedResults
from job.contract.documents import Example, Plan, Result, to_json
from job.contract.errors import NotFoundError, ResultError
from job.store import Keys, Store

__all__ = ["make_report", "write_report"]


def write_report(
    store: Store,
    *,
    plan: Plan,
    spec_text: bytes,
    results: VerifiedResults | None = None,
    compared: tuple[str, str] | None = None,
    markdown_bytes: int = MAX_BYTES,
) -> Report:
    """The report of the plan's run, which `report/` of the store now holds in every form.

    The same store gives the same bytes, whoever asks and whenever. `results` are those of the store, for a caller who
    does not want what earlier readings remember to be trusted. Raises as `make_report` does, and SpecError where
    report.md cannot be cut to `markdown_bytes`; nothing is written then.
    """
    report = make_report(store, plan=plan, spec_text=spec_text, results=results, compared=compared)
    forms = {
        "report.json": to_json(report),
        "report.csv": csv_report(report).encode(),
        "report.md": markdown_report(report, max_bytes=markdown_bytes).encode(),
        "report.html": html_report(report).encode(),
        "junit.xml": junit_xml(f"{report.sweep} / {report.run}", suites_of(report), at=report.data_until),
    }
    if report.regression is not None:
        forms = {"regression.json": to_json(report.regression), **forms}
    for name, body in forms.items():
        store.put(Keys.report(name), body)
    return report


def make_report(
    store: Store,
    *,
    plan: Plan,
    spec_text: bytes,
    results: VerifiedResults | None = None,
    compared: tuple[str, str] | None = None,
) -> Report:
    """The document alone; `compared` are the letters of two whose texts stand side by side, by default the first two.

    Raises TransientError and ConfigurationError as the store does, SpecError for a spec text that is none and for a
    letter that cannot be compared.
    """
    spec = parse_spec(spec_text, name=Keys.spec(plan.spec_sha256), folder=Path()).spec
    collected = collect(store, plan, spec, results=results)
    notes = collected.notes
    examples: Mapping[tuple[str, str], Example] = {}
    try:
        examples = read_examples(store, plan)
    except ResultError as err:
        notes = (*notes, f"No examples are shown: {err}")
    lengths = {key: len(example.reference) for key, example in examples.items()}
    ranking = ranking_of(collected.trials, objective_of(spec), characters=lengths)
    castings = cast(ranking.standings, compared=compared)
    shown = None
    try:
        shown = _examples(store, ranking.objective, castings, examples, draw=f"{plan.sweep}/{plan.run}")
    except (ResultError, NotFoundError) as err:
        # The texts are an illustration; the numbers stand without them.
        notes = (*notes, f"No examples are shown: {err}")
    report = build_report(replace(collected, notes=notes), ranking, examples=shown)
    regression = judged_again(
        store, collected, examples, objective=objective_of(spec), stage=stage_of(store, plan, spec.regression)
    )
    tree = parse_yaml(spec_text, name=Keys.spec(plan.spec_sha256)).value
    takeaways = takeaways_of(report, collected, tree if isinstance(tree, dict) else {})
    return report.model_copy(update={"regression": regression, "takeaways": takeaways})


def _examples(
    store: Store,
    objective: Objective,
    castings: Sequence[Casting],
    examples: Mapping[tuple[str, str], Example],
    *,
    draw: str,
) -> Examples | None:
    split = objective.split
    rows = {example_id: example for (of_split, example_id), example in examples.items() if of_split == split}
    lengths = {key: len(example.reference) for key, example in examples.items()}
    every = [chosen(one, rows=rows, objective=objective, lengths=lengths, draw=draw) for one in castings]
    wanted: dict[str, set[str]] = {}
    results: dict[str, Result] = {}
    for one in every:
        for writer in (*one.casting.of, *one.casting.beside):
            wanted.setdefault(writer.planned.trial_id, set()).update(one.rows)
            results[writer.planned.trial_id] = writer.measured.result
    texts = {
        trial_id: read_predictions(store, results[trial_id], split=split, example_ids=frozenset(ids))
        for trial_id, ids in wanted.items()
    }
    return sampled(every, rows, texts, objective=objective, lengths=lengths)

"""The verdict on a run, from its store and those of the runs beside it. Reads, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from controller.attempt_files import read_predictions
from controller.collect import Collected, collect, read_examples
from controller.regression.case import Case
from controller.regression.decision import Stage
from controller.regression.document import Affected, Regression, Status
from controller.regression.match import Examples, Night
from controller.regression.references import Chosen, choose
from controller.regression.siblings import judged_runs, sibling
from controller.regression.verdict import Judgement, judge
from controller.report.document import Objective
from controller.report.text import one_line, shortened, visible
from controller.spec.file import parse_spec
from controller.spec.model import Regression as Asked
from controller.stored import DamagedError, newest_plan, read_stored_plan
from job.contract.base import canonical_json, sha256_hex
from job.contract.documents import DATA_LIMIT_BYTES, DOCUMENT_LIMIT_BYTES, parse
from job.contract.errors import NotFoundError, ResultError, SpecError
from job.store import Keys, Store

__all__ = ["evidence_of", "judged_again", "judged_beside", "read_night", "stored_verdict"]

_TEXT_LIMIT = 2000  # characters of an affected row's texts


def judged_again(
    store: Store, collected: Collected, examples: Examples, *, objective: Objective, stage: Stage
) -> Regression | None:
    """The verdict that the run has for its present results, or a new one; None where none is asked, or not all is done.

    A stored verdict stays as it is while the results are the same: the runs that it was compared with may be gone.
    Raises TransientError and ConfigurationError as the store does.
    """
    asked = collected.spec.regression
    final = all(trial.state in ("succeeded", "failed") for trial in collected.trials)
    if asked is None or not final or not any(trial.measured for trial in collected.trials):
        return None
    evidence = evidence_of(collected, asked)
    stored = stored_verdict(store)
    if stored is not None and (stored.evidence, stored.stage) == (evidence, stage):
        return stored
    return _judged(store, Night(collected.plan.run, collected, examples), asked, objective, stage=stage)


def judged_beside(
    tonight: Night, others: Sequence[tuple[Night, Store]], *, store: Store, objective: Objective, asked: Asked
) -> Regression:
    """The verdict on `tonight` beside just these runs, whatever else there is: for `lorasweep compare`."""
    names = tuple(night.run for night, _ in others)
    case = Case(
        tonight=tonight,
        others=[night for night, _ in others],
        chosen=Chosen(names, names, None, ""),
        asked=asked,
        objective=objective,
        stage="only",
        evidence=evidence_of(tonight.collected, asked),
        statuses={},
    )
    return _with_texts(judge(case), tonight, store, {night.run: (night, found) for night, found in others})


def evidence_of(collected: Collected, asked: Asked) -> str:
    """SHA-256 over what is asked and the results."""
    results = sorted(
        (trial.planned.trial_id, trial.measured.result.attempt) for trial in collected.trials if trial.measured
    )
    body = {"asked": asked.model_dump(mode="json"), "spec": collected.plan.spec_sha256, "results": results}
    return sha256_hex(canonical_json(body))


def stored_verdict(store: Store) -> Regression | None:
    """The run's verdict; None where there is none that can be read, as it can be made again."""
    key = Keys.report("regression.json")
    try:
        return parse(Regression, store.read(key, limit_bytes=DOCUMENT_LIMIT_BYTES), name=key)
    except (NotFoundError, ResultError):
        return None


def read_night(store: Store, run: str) -> Night:
    """A run with the plan that was judged, or else its newest.

    Raises NotFoundError where there is none, ResultError and DamagedError where it cannot be read.
    """
    judged = stored_verdict(store)
    plan = (judged and read_stored_plan(store, judged.spec_sha256)) or newest_plan(store)
    key = Keys.spec(plan.spec_sha256)
    spec = parse_spec(store.read(key, limit_bytes=DATA_LIMIT_BYTES), name=key, folder=Path()).spec
    return Night(run, collect(store, plan, spec), read_examples(store, plan))


def _judged(store: Store, tonight: Night, asked: Asked, objective: Objective, *, stage: Stage) -> Regression:
    moment = tonight.collected.data_until
    if moment is None:
        raise ValueError(f"run {tonight.run!r} has results without a time")
    judged = judged_runs(store)
    chosen = choose(asked, judged=judged, run=tonight.run, before=moment)
    nights, troubles = {}, []
    for run in chosen.every:
        try:
            nights[run] = (read_night(sibling(store, run), run), sibling(store, run))
        except (NotFoundError, ResultError, SpecError, DamagedError) as err:
            troubles.append(one_line(f"Run {run} cannot be read and was left out: {err}"))
    statuses: dict[str, Status] = {one.run: one.status for one in judged}
    case = Case(
        tonight=tonight,
        others=[night for night, _ in nights.values()],
        chosen=chosen,
        asked=asked,
        objective=objective,
        stage=stage,
        evidence=evidence_of(tonight.collected, asked),
        statuses=statuses,
        troubles=tuple(troubles),
    )
    return _with_texts(judge(case), tonight, store, nights)


def _with_texts(
    judgement: Judgement, tonight: Night, store: Store, nights: dict[str, tuple[Night, Store]]
) -> Regression:
    try:
        affected = tuple(_affected(judgement, tonight, store, nights))
    except (ResultError, NotFoundError):
        affected = ()  # an illustration; the numbers stand without them
    return judgement.regression.model_copy(update={"affected": affected})


def _affected(
    judgement: Judgement, tonight: Night, store: Store, nights: dict[str, tuple[Night, Store]]
) -> Iterator[Affected]:
    losers, split = judgement.losers, judgement.regression.split
    if not losers:
        return
    label, run = losers[0].label, losers[0].run
    wanted = frozenset(loser.example_id for loser in losers)
    before, where = nights[run]
    texts = []
    for night, found in ((before, where), (tonight, store)):
        (seed, *_) = night.configurations[label]
        texts.append(read_predictions(found, seed.result, split=split, example_ids=wanted))
    for loser in losers:
        example = tonight.examples.get((split, loser.example_id))
        yield Affected(
            example_id=one_line(loser.example_id),
            input=_text("" if example is None else example.input),
            reference=_text("" if example is None else example.reference),
            label=one_line(label),
            before=_text(texts[0].get(loser.example_id, "")),
            after=_text(texts[1].get(loser.example_id, "")),
            before_score=loser.before,
            after_score=loser.after,
        )


def _text(value: str) -> str:
    return shortened(visible(value), _TEXT_LIMIT)

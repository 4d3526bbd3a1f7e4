"""The rules between fields of a spec whose fields are each sound, and those of its addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from controller.planning.configurations import LIMIT_TRIALS, check_lengths, configurations, count
from controller.regression.webhook_url import webhook_refusal
from controller.spec.errors import Problem, dotted, quoted
from controller.spec.model import Regression, SweepSpec
from controller.spec.yaml_tree import Path
from job.contract.errors import SpecError
from job.contract.metric_names import ALWAYS, DIRECTIONS, names_of
from job.contract.template import template_fields
from job.store.address import SOURCE, refusal

__all__ = ["broken_rules"]

_RUN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")


def broken_rules(spec: SweepSpec) -> Iterator[Problem]:
    """Every mistake of addresses, and every one that shows only when fields are read together."""
    yield from _of_places(spec)
    yield from _of_data(spec)
    yield from _of_prompts(spec)
    yield from _of_metrics(spec)
    yield from _of_count(spec)


def _of_places(spec: SweepSpec) -> Iterator[Problem]:
    sources: dict[Path, str] = {("model", "id"): spec.model.id, ("data", "source"): spec.data.source}
    for at, source in sources.items():
        if wrong := refusal(source, choices=SOURCE):
            yield Problem(at, wrong)
    if wrong := refusal(spec.store.root):
        yield Problem(("store", "root"), wrong)


def _of_data(spec: SweepSpec) -> Iterator[Problem]:
    splits, columns = spec.data.splits, spec.data.columns
    for role in ("input", "target"):
        if role not in columns:
            yield Problem(("data", "columns"), f"`{role}` is missing; write which column holds it")
    if len(set(columns.values())) < len(columns):
        yield Problem(("data", "columns"), "two roles share a column; give each its own")
    if "train" not in splits:
        yield Problem(("data", "splits"), "`train` is missing; write which file or hub split holds it")
    if len(set(splits.values())) < len(splits):
        yield Problem(("data", "splits"), "two roles share a file or hub split; trained rows must not be scored")
    for limited in spec.data.limits:
        if limited not in splits:
            yield Problem(("data", "limits", limited), f"there is no split `{limited}` in data.splits")
    yield from _of_splits(spec)


def _of_splits(spec: SweepSpec) -> Iterator[Problem]:
    scored = spec.trial.evaluation.final_splits
    at: Path = ("trial", "evaluation", "final_splits")
    if not scored or len(set(scored)) < len(scored):
        yield Problem(at, "must name validation, test or both, each once")
    for role in scored:
        if role not in spec.data.splits:
            left = [other for other in scored if other in spec.data.splits] or ["validation"]
            remedy = f"name it there, or set final_splits: [{', '.join(left)}]"
            yield Problem(at, f"`{role}` is scored but is not in data.splits; {remedy}")
    if spec.objective.split not in scored:
        yield Problem(("objective", "split"), f"{quoted(spec.objective.split)}: must be one of {dotted(at)}")
    if spec.trial.training.eval_steps and "validation" not in spec.data.splits:
        yield Problem(("trial", "training", "eval_steps"), "evaluates `validation`, which is not in data.splits")


def _of_prompts(spec: SweepSpec) -> Iterator[Problem]:
    names = list(spec.prompts)
    at: Path = ("trial", "prompt")
    if spec.trial.prompt is not None and spec.trial.prompt not in names:
        yield Problem(at, f"{quoted(spec.trial.prompt)}: is not under `prompts`, which holds {', '.join(names)}")
    if len(names) > 1 and spec.trial.prompt is None and "prompt" not in spec.vary.paths:
        yield Problem(("prompts",), f"{len(names)} prompts and none chosen; vary `prompt` or set trial.prompt")
    target = spec.data.columns.get("target", "")
    for name, template in spec.prompts.items():
        prompt, completion = ("prompts", name, "prompt"), ("prompts", name, "completion")
        asked, given = _fields(template.prompt, prompt), _fields(template.completion, completion)
        yield from (part for part in (asked, given) if isinstance(part, Problem))
        if isinstance(asked, frozenset) and target in asked:
            yield Problem(prompt, f"shows the target column {{{target}}}; it belongs in the completion alone")
        if isinstance(asked, frozenset) and not asked:
            yield Problem(prompt, f"names no column; write {{{spec.data.columns.get('input', 'input')}}} for the input")
        if isinstance(given, frozenset) and target not in given:
            yield Problem(completion, f"does not name the target column {{{target}}}, so nothing could be learned")


def _fields(text: str, at: Path) -> frozenset[str] | Problem:
    try:
        return template_fields(text)
    except SpecError as err:
        return Problem(at, str(err))


def _of_metrics(spec: SweepSpec) -> Iterator[Problem]:
    metrics = spec.trial.evaluation.metrics
    try:
        measured = names_of(metrics)
    except SpecError as err:
        yield Problem(("trial", "evaluation", "metrics"), str(err).removeprefix("evaluation.metrics: "))
        return
    ranked = [name for name in measured if name in DIRECTIONS]
    objective = spec.objective
    if objective.metric not in ranked:
        yield Problem(("objective", "metric"), f"{quoted(objective.metric)}: must be one of {', '.join(ranked)}")
    elif objective.direction not in (None, DIRECTIONS[objective.metric]):
        right = DIRECTIONS[objective.metric]
        yield Problem(("objective", "direction"), f"{quoted(objective.direction)}: {objective.metric} is to {right}")
    if spec.regression is None:
        return
    yield from _of_regression(spec.regression)
    for field, limits in (("drops", spec.regression.drops), ("floors", spec.regression.floors)):
        for name in limits:
            if name not in ranked:
                known = f"must be one of {', '.join(ranked)}"
                described = " (it describes, and has no better end)" if name in ALWAYS else ""
                yield Problem(("regression", field, name), f"{quoted(name)}: {known}{described}")


def _of_regression(asked: Regression) -> Iterator[Problem]:
    for field in ("reference", "anchor"):
        named = getattr(asked, field)
        if isinstance(named, str) and not _RUN.fullmatch(named):
            yield Problem(("regression", field), f"{quoted(named)}: is no run's name; letters, digits, . _ and -")
    if asked.webhook is not None and (wrong := webhook_refusal(asked.webhook)):
        yield Problem(("regression", "webhook"), f"the URL {wrong}")


def _of_count(spec: SweepSpec) -> Iterator[Problem]:
    total = count(spec)
    if total > LIMIT_TRIALS:
        yield Problem(
            ("vary",),
            f"asks for {total:,} trials; at most {LIMIT_TRIALS:,} are planned: shorten the lists of vary.grid, "
            "or draw points with vary.random",
        )
        return
    try:
        for _ in configurations(spec):
            pass
        if "zero-shot" in spec.vary.baselines:  # asked with what `trial` says, whatever is varied
            check_lengths(spec.trial.generation, of="the zero-shot baseline")
    except SpecError as err:
        yield Problem(("vary",), str(err))

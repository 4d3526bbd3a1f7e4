"""A run whose every text that a person, a row, a model or a process fills is hostile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hostile import HOSTILE
from made import MadeRun, made_run

__all__ = ["make_hostile"]

_SPEC = """\
version: 1
name: made
description: {everything}
success: {everything}
model: {{id: model}}
data:
  source: rows
  splits: {{train: {first}, validation: b, test: c}}
  columns: {{input: dialogue, target: summary}}
prompts:
  v1: {{prompt: {prompt}, completion: "{{summary}}"}}
trial:
  lora: {{r: 8, alpha_ratio: 2}}
  training: {{max_steps: 12, eval_steps: 6}}
vary:
  grid:
    lora.target_modules: {{values: [{modules}], why: {everything}}}
  baselines: [zero-shot, lead-3]
"""


def make_hostile(folder: Path, payloads: Sequence[str] = HOSTILE) -> MadeRun:
    """The run: a third of its trials failed, the others finished."""
    everything = "\n".join(payloads)
    run = made_run(
        folder,
        _SPEC.format(
            everything=_quoted(everything),
            first=_quoted(payloads[0]),
            prompt=_quoted(everything.replace("{", "{{").replace("}", "}}") + "{dialogue}"),
            modules=", ".join(map(_quoted, payloads)),
        ),
    )
    run.rows = {"validation": 6, "test": 2}
    run.texts = [(payload, everything) for payload in payloads]
    for index, trial in enumerate(run.plan.trials):
        payload = payloads[index % len(payloads)]
        if index % 3 == 2 and trial.kind == "lora":
            run.fail(trial, message=everything, log_tail=everything)
        else:
            run.finish(trial, prediction=everything, device=payload, versions={payload: payloads[0]})
    return run


def _quoted(text: str) -> str:
    """A YAML string of escapes alone."""
    return '"' + "".join(f"\\U{ord(character):08x}" for character in text) + '"'

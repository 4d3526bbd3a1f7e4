"""Small specs for tests: text in, sweep out."""

from __future__ import annotations

from pathlib import Path

from controller.planning.expand import Expansion, Pins, expand
from controller.spec.file import LoadedSpec, parse_spec
from job.contract.config import Source

HEAD = """\
version: 1
name: small
model: {id: model}
data: {source: rows, splits: {train: a, validation: b, test: c}, columns: {input: dialogue, target: summary}}
prompts:
  v1: {prompt: "Sum up.\\n{dialogue}\\n", completion: " {summary}"}
  v2: {prompt: "Be brief.\\n{dialogue}\\n", completion: " {summary}"}
trial:
  lora: {alpha_ratio: 2}
  training: {max_steps: 4}
"""
"""A sound spec up to `vary`, which has to choose a prompt and a rank."""

PINS = Pins(
    model=Source(kind="path", location="/models/tiny", digest="sha256:" + "1" * 64),
    data=Source(kind="path", location="/data/rows", digest="sha256:" + "2" * 64),
)


def load(text: str) -> LoadedSpec:
    """The spec in `text`, called `sweep.yaml` in messages."""
    return parse_spec(text.encode(), name="sweep.yaml", folder=Path("/nowhere"))


def varied(vary: str) -> LoadedSpec:
    """HEAD with this text under `vary`."""
    return load(HEAD + "vary:\n" + "".join(f"  {line}\n" for line in vary.splitlines()))


def expanded(vary: str) -> Expansion:
    return expand(varied(vary).spec, PINS)

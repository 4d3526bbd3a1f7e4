"""The trials of the benchmark, its rows on disk, and the requests that the job takes."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from job.contract.config import (
    DataOptions,
    EvaluationOptions,
    GenerationOptions,
    JobExecution,
    LoraOptions,
    ModelOptions,
    PlannedTrial,
    PromptTemplate,
    Request,
    Source,
    TrainingOptions,
    TrialConfig,
    ids_of,
)
from job.contract.errors import DataError
from job.data import Rows, load_rows
from job.source import pin_data, pin_model
from packed.settings import ROOT, Settings

__all__ = ["SPLITS", "Sweep", "new_sweep", "reference_tokens", "write_rows"]

Engine = Literal["reference", "lanes"]

SPLITS = {"train": "train.jsonl", "validation": "validation.jsonl", "test": "test.jsonl"}
# Those of examples/quickstart.yaml.
PROMPTS = {
    "v1": "Summarize the following dialogue.\n\nDialogue:\n{dialogue}\n\nSummary:",
    "v2": "Write a concise third-person summary of the following dialogue in 1-2 sentences.\n\n"
    "Dialogue:\n{dialogue}\n\nSummary:",
}
_GRID = tuple(itertools.product(PROMPTS, (8, 16), (5e-4, 2e-4)))


def write_rows(folder: Path, *, settings: Settings) -> dict[str, int]:
    """Exactly the rows that are used; gives how many of each split stand there a second time, under another id."""
    folder.mkdir(parents=True)
    wanted = {"train": settings.train_rows, "validation": settings.validation_rows, "test": settings.test_rows}
    repeated = {}
    for split, count in wanted.items():
        lines = (ROOT / "examples" / "dialogues" / SPLITS[split]).read_text(encoding="utf-8").splitlines()
        rows = list(itertools.islice(_with_repeats([json.loads(line) for line in lines]), count))
        repeated[split] = max(0, count - len(lines))
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / SPLITS[split]).write_text(text, encoding="utf-8")
    return repeated


def reference_tokens(rows: Path, *, cap: int) -> int:
    """Mean length of the test rows' references in the random model's tokens, which are bytes."""
    lines = (rows / SPLITS["test"]).read_text(encoding="utf-8").splitlines()
    lengths = [min(cap, len(json.loads(line)["summary"].encode()) + 2) for line in lines]  # a blank and the end token
    return min(cap, math.ceil(statistics.fmean(lengths)))


@dataclass(frozen=True)
class Sweep:
    """Pinned sources and the trials on them."""

    model: Source
    data: Source
    trials: tuple[PlannedTrial, ...]
    settings: Settings

    def request(self, trials: Sequence[PlannedTrial], *, engine: Engine) -> Request:
        """What one process of the job is asked to do."""
        return Request(
            sweep="bench", run="main", spec_sha256="0" * 64, model=self.model, data=self.data, trials=tuple(trials),
            execution=JobExecution(eval_batch_size=self.settings.eval_batch_size), engine=engine,
        )  # fmt: skip

    def rows(self) -> Rows:
        """Those of every trial. Raises DataError when the job would leave some out: TRL has none of its rules."""
        options = self.trials[0].config.data
        rows = load_rows(Path(self.data.location), source=self.data, options=options)
        if rows.dropped:
            raise DataError(f"rows of the benchmark would be left out: {dict(rows.dropped)}; mend examples/dialogues")
        return rows


def new_sweep(
    model: Path,
    rows: Path,
    *,
    settings: Settings,
    dtype: str,
    tokens_written: int | None,
    lora_dropout: float = 0.1,
) -> Sweep:
    """The sweep; `tokens_written` makes every text so long, for a model that would never end one."""
    pinned = pin_model(str(model), base=model.parent, revision=None)
    data = pin_data(str(rows), base=rows.parent, revision=None, files=tuple(SPLITS.values()))
    common = {
        "model": ModelOptions.model_validate({"digest": pinned.digest, "dtype": dtype}),
        "data": DataOptions.model_validate(
            {
                "digest": data.digest,
                "splits": SPLITS,
                "columns": {"id": "id", "input": "dialogue", "target": "summary"},
            }
        ),
        "generation": GenerationOptions(
            max_new_tokens=tokens_written or settings.max_new_tokens, min_new_tokens=tokens_written or 0
        ),
        "evaluation": EvaluationOptions(final_splits=("test",)),
    }
    trained = partial(_trained, common=common, settings=settings, lora_dropout=lora_dropout)
    trials = [
        *map(trained, range(settings.trials)),
        *(_zero_shot(number, name, common) for number, name in enumerate(PROMPTS) if settings.baselines),
    ]
    return Sweep(pinned, data, tuple(trials), settings)


def _with_repeats(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield from rows
    for time in itertools.count(2):
        yield from ({**row, "id": f"{row['id']}-{time}"} for row in rows)


def _trained(number: int, *, common: dict[str, Any], settings: Settings, lora_dropout: float) -> PlannedTrial:
    seed, place = divmod(number, len(_GRID))
    prompt, rank, rate = _GRID[place]
    config = TrialConfig(
        **common,
        prompt=_prompt(prompt),
        lora=LoraOptions(r=rank, lora_alpha=2 * rank, lora_dropout=lora_dropout, target_modules="all-linear"),
        training=TrainingOptions(
            max_steps=settings.steps,
            per_device_train_batch_size=settings.batch,
            gradient_accumulation_steps=settings.accumulation,
            learning_rate=rate,
            bf16=common["model"].dtype == "bfloat16",
            eval_steps=settings.eval_steps,
        ),
        seed=seed,
    )
    return _planned(config, letter=_letter(place), label=f"{prompt}, r={rank}, rate={rate:g}, seed={seed}")


def _zero_shot(number: int, name: str, common: dict[str, Any]) -> PlannedTrial:
    config = TrialConfig(**common, kind="zero-shot", prompt=_prompt(name))
    return _planned(config, letter=_letter(len(_GRID) + number), label=f"zero-shot, {name}")


def _prompt(name: str) -> PromptTemplate:
    return PromptTemplate(prompt=PROMPTS[name], completion=" {summary}")


def _letter(place: int) -> str:
    return chr(ord("A") + place)


def _planned(config: TrialConfig, *, letter: str, label: str) -> PlannedTrial:
    ids = ids_of(config)
    return PlannedTrial(
        trial_id=ids.trial_id, adapter_id=ids.adapter_id, config_id=ids.config_id,
        letter=letter, label=label, kind=config.kind, seed=config.seed, config=config,
    )  # fmt: skip

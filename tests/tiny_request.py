"""Requests over a tiny model and a handful of dialogues, for tests that run the whole job."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Literal

from fake_sweep import planned

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
)
from job.source import pin_data, pin_model

__all__ = ["PROMPT", "TinySweep", "tiny_rows"]

PROMPT = PromptTemplate(prompt="Sum:\n{dialogue}\n\nSummary:", completion=" {summary}")
SPLITS = {"train": "train.jsonl", "validation": "validation.jsonl", "test": "test.jsonl"}


def tiny_rows(folder: Path) -> Path:
    """A folder with 24 train, 5 validation and 6 test rows."""
    rng = random.Random(7)  # noqa: S311  # rows, not secrets
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", 24), ("validation", 5), ("test", 6)):
        rows = [
            {
                "id": f"{split}-{number}",
                "dialogue": f"Ann: how about {rng.randrange(100)}?\nBob: {'ok ' * rng.randrange(1, 5)}{number}",
                "summary": f"they meet at {number}",
            }
            for number in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


class TinySweep:
    """Pinned sources, and the trials that a test makes of them."""

    def __init__(self, *, model: Path, rows: Path) -> None:
        self.model: Source = pin_model(str(model), base=model.parent, revision=None)
        self.data: Source = pin_data(str(rows), base=rows.parent, revision=None, files=tuple(SPLITS.values()))

    def trained(
        self, *, seed: int = 0, learning_rate: float = 5e-3, max_steps: int = 8, prompt: PromptTemplate = PROMPT
    ) -> PlannedTrial:
        """Rank 4 on every linear layer with dropout, validation after every 4 steps."""
        return self._planned(
            kind="lora",
            prompt=prompt,
            lora=LoraOptions(r=4, lora_alpha=8, lora_dropout=0.1, target_modules="all-linear"),
            training=TrainingOptions(
                max_steps=max_steps, per_device_train_batch_size=2, gradient_accumulation_steps=2,
                learning_rate=learning_rate, eval_steps=4,
            ),
            generation=GenerationOptions(max_new_tokens=8),
            seed=seed,
        )  # fmt: skip

    def zero_shot(self, *, max_new_tokens: int = 8) -> PlannedTrial:
        """The base model as it is."""
        return self._planned(
            kind="zero-shot", prompt=PROMPT, generation=GenerationOptions(max_new_tokens=max_new_tokens)
        )

    def lead(self, k: int = 3) -> PlannedTrial:
        """The first k lines."""
        return self._planned(kind="lead", lead_k=k)

    def request(
        self,
        *trials: PlannedTrial,
        adapters: dict[str, str] | None = None,
        engine: Literal["reference", "lanes"] = "reference",
    ) -> Request:
        """What a job process gets, checkpoints at every second step."""
        return Request(
            sweep="tiny", run="main", spec_sha256="0" * 64, model=self.model, data=self.data, trials=trials,
            execution=JobExecution(checkpoint_every=2, eval_batch_size=4), adapters=adapters or {}, engine=engine,
        )  # fmt: skip

    def replanned(self, config: TrialConfig) -> PlannedTrial:
        """The trial of a configuration made by hand."""
        return planned(config, letter="A", label="a label")

    def _planned(self, **parts: object) -> PlannedTrial:
        config = TrialConfig.model_validate(
            {
                "model": ModelOptions(digest=self.model.digest),
                "data": DataOptions(
                    digest=self.data.digest,
                    splits=SPLITS,
                    columns={"id": "id", "input": "dialogue", "target": "summary"},
                ),
                "evaluation": EvaluationOptions(),
                **parts,
            }
        )
        return self.replanned(config)

"""The evaluator beside TRL: batches of like length, padded on the left, a key-value cache, ROUGE by the same scorer."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig

from job.contract.config import GenerationOptions
from job.metrics.rouge import score_rouge
from packed.trl_task import TrlEvaluation

__all__ = ["Evaluator"]

Ids = tuple[int, ...]
Rows = Sequence[Mapping[str, str]]
"""Of prompt and completion."""


class Evaluator:
    """Texts and completion losses of a split, as `model` has them now."""

    def __init__(
        self, tokenizer: Any, rows: Mapping[str, Rows], *, generation: GenerationOptions | None, batch_size: int
    ) -> None:
        if generation is None:
            raise ValueError("the task's trial has no generation settings")
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        self._settings = GenerationConfig(
            max_new_tokens=generation.max_new_tokens,
            min_new_tokens=generation.min_new_tokens or None,
            do_sample=False,
            use_cache=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        self._references = {split: [row["completion"] for row in rows[split]] for split in ("validation", "test")}
        self._encoded = {split: self._encode(rows[split]) for split in self._references}
        self.evaluations: list[TrlEvaluation] = []
        self.texts: list[dict[str, Any]] = []
        self.seconds = 0.0

    def __call__(self, model: Any, *, split: str, step: int) -> None:
        """Score the split and take the numbers down."""
        began = time.monotonic()
        was_training = model.training
        model.eval()
        rows = self._encoded[split]
        texts = [""] * len(rows)
        nats, targets = [], 0
        with torch.inference_mode():
            for batch in self._batches(rows):
                chosen = [rows[index] for index in batch]
                nats.append(self._nats(model, chosen))
                targets += sum(len(completion) for _, completion in chosen)
                for index, text in zip(batch, self._generated(model, chosen), strict=True):
                    texts[index] = text
        model.train(was_training)
        references = [text.strip() for text in self._references[split]]
        rouge_l = score_rouge(predictions=texts, references=references)["rougeL"]
        self.evaluations.append(
            TrlEvaluation(
                step=step, split=split, rows=len(rows), completion_loss=math.fsum(nats) / targets,
                rouge_l=math.fsum(rouge_l) / len(rows),
            )
        )  # fmt: skip
        self.texts += [{"split": split, "step": step, "text": text} for text in texts]
        self.seconds += time.monotonic() - began

    def _encode(self, rows: Rows) -> list[tuple[Ids, Ids]]:
        """Prompt and completion of each row, with the end token."""
        prompts = self._tokenizer([row["prompt"] for row in rows])["input_ids"]
        completions = self._tokenizer([row["completion"] for row in rows], add_special_tokens=False)["input_ids"]
        end = self._tokenizer.eos_token_id
        return [(tuple(p), (*c, end)) for p, c in zip(prompts, completions, strict=True)]

    def _batches(self, rows: Sequence[tuple[Ids, Ids]]) -> Iterator[list[int]]:
        order = sorted(range(len(rows)), key=lambda index: -len(rows[index][0]))
        for at in range(0, len(order), self._batch_size):
            yield order[at : at + self._batch_size]

    def _nats(self, model: Any, rows: Sequence[tuple[Ids, Ids]]) -> float:
        """Summed loss of the completions; the head is asked for the last positions alone."""
        ids, mask = self._padded([(*prompt, *completion) for prompt, completion in rows], model)
        widest = max(len(completion) for _, completion in rows)
        more: dict[str, Any] = {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
        base = model.get_base_model() if isinstance(model, PeftModel) else model
        if "logits_to_keep" in inspect.signature(base.forward).parameters:
            more["logits_to_keep"] = widest + 1
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False, **more).logits[:, -widest - 1 : -1]
        labels = ids[:, -widest:].clone()
        for row, (_, completion) in enumerate(rows):
            labels[row, : widest - len(completion)] = -100
        wanted = labels != -100
        return float(cross_entropy(logits[wanted].float(), labels[wanted], reduction="sum"))

    def _generated(self, model: Any, rows: Sequence[tuple[Ids, Ids]]) -> list[str]:
        ids, mask = self._padded([prompt for prompt, _ in rows], model)
        written = model.generate(input_ids=ids, attention_mask=mask, generation_config=self._settings)
        texts = self._tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _padded(self, rows: Sequence[Ids], model: Any) -> tuple[torch.Tensor, torch.Tensor]:
        width, pad = max(map(len, rows)), self._tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        return ids.to(model.device), mask.to(model.device)

"""`python -m packed.trl_trial TASK`: one trial as a user of TRL would write it, with an evaluator as good as ours.

Same rows in the same order, same settings, same first weights. The settings that TRL has for other models are off: no
gradient checkpointing, no checkpoints, nothing reported anywhere.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from packed.trl_evaluation import Evaluator
from packed.trl_task import TrlResult, TrlTask


def main() -> int:
    task = TrlTask.model_validate_json(Path(sys.argv[1]).read_bytes())
    model, tokenizer = _loaded(task)
    if task.config.training is not None:
        from packed.trl_training import new_trainer  # here, so that importing TRL counts as start-up, and for training
    on_cuda = torch.cuda.is_available()
    began = time.monotonic()
    rows = {split: _rows(Path(task.rows, f"{split}.jsonl")) for split in ("train", "validation", "test")}
    evaluator = Evaluator(tokenizer, rows, generation=task.config.generation, batch_size=task.eval_batch_size)
    history = _History(evaluator, eval_steps=None)
    trainer = None
    if task.config.training is not None:
        history = _History(evaluator, eval_steps=task.config.training.eval_steps)
        trainer = new_trainer(task, model, tokenizer, rows["train"], callback=history)
        model = trainer.model
    prepared = time.monotonic()
    if trainer is not None:
        trainer.train()
    trained = time.monotonic()
    during = evaluator.seconds
    evaluator(model, split="test", step=len(history.losses))
    evaluated = time.monotonic()
    if trainer is not None:
        trainer.save_model(f"{task.output}/adapter")
    Path(task.output, "predictions.json").write_text(json.dumps(evaluator.texts), encoding="utf-8")
    result = TrlResult(
        data_s=prepared - began,
        train_s=trained - prepared - during,
        evaluate_s=evaluated - trained + during,
        publish_s=time.monotonic() - evaluated,
        losses=tuple(history.losses),
        train_tokens=history.tokens,
        evaluations=tuple(evaluator.evaluations),
        device=torch.cuda.get_device_name() if on_cuda else "cpu",
        device_peak_bytes=torch.cuda.max_memory_allocated() if on_cuda else 0,
    )
    Path(task.output, "result.json").write_text(result.model_dump_json(), encoding="utf-8")
    return 0


def _rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _loaded(task: TrlTask) -> tuple[Any, Any]:
    """The base model without its own dropout, on its device, and its tokenizer."""
    config = AutoConfig.from_pretrained(task.model)
    for name, value in list(vars(config).items()):
        if "drop" in name and isinstance(value, float):
            setattr(config, name, 0.0)
    dtype = getattr(torch, task.config.model.dtype)
    model = AutoModelForCausalLM.from_pretrained(task.model, config=config, dtype=dtype)
    tokenizer = AutoTokenizer.from_pretrained(task.model)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer


class _History(TrainerCallback):  # type: ignore[misc]  # transformers is untyped to mypy here
    """Losses and tokens of every step, and the evaluations in between."""

    def __init__(self, evaluator: Evaluator, *, eval_steps: int | None) -> None:
        self._evaluator = evaluator
        self._eval_steps = eval_steps
        self.losses: list[float] = []
        self.tokens = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        if self._eval_steps is not None and state.global_step % self._eval_steps == 0:
            self._evaluator(others["model"], split="validation", step=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        logs = others["logs"]
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))
            self.tokens = int(logs["num_tokens"])


if __name__ == "__main__":
    sys.exit(main())

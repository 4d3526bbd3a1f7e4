"""The reference engine: Trainer's arithmetic, our order, and nothing else that could change a weight."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from tiny_training import PAD, ROWS, Run, base_model, digest_of, lora, options
from torch.nn.functional import log_softmax
from transformers import Trainer, TrainerCallback, TrainingArguments

from job.adapter import add_adapter, key_dropout
from job.contract.config import JobExecution, TrainingOptions
from job.contract.documents import StepRecord
from job.contract.errors import ConfigurationError, DivergedError, GpuMemoryError
from job.dropout import DropoutPlace, RowPlace
from job.prompts import EncodedRow
from job.reference.callback import probe
from job.reference.collate import training_batch
from job.reference.trainer import ReferenceTrainer, new_trainer
from job.seeds import row_order, streams
from job.windows import planned_steps


def plain_loop(folder: Path, *, training: TrainingOptions, seed: int, **base: Any) -> list[tuple[float, float, float]]:
    """Loss, gradient norm and rate of each step, by torch alone: the definition that Trainer is held to."""
    seeds = streams(seed)
    model = add_adapter(base_model(folder, **base), lora=lora(), seed=seeds.init).train()
    total = planned_steps(len(ROWS), training)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=training.learning_rate, weight_decay=training.weight_decay)
    torch.manual_seed(seeds.dropout)  # of the base model's own dropout
    place = key_dropout(model)
    steps: list[tuple[float, float, float]] = []
    for epoch in range(total):
        order = row_order(len(ROWS), order_seed=seeds.order, epoch=epoch)
        size, window = training.per_device_train_batch_size, training.gradient_accumulation_steps
        batches = [order[at : at + size] for at in range(0, len(order), size)]
        for at in range(0, len(batches), window):
            if len(steps) == total:
                return steps
            rate = training.learning_rate * (total - len(steps)) / total
            chosen = batches[at : at + window]
            rows = [
                tuple(RowPlace(seeds.dropout, len(steps), number, row) for row in range(len(batch)))
                for number, batch in enumerate(chosen)
            ]
            steps.append((*window_step(model, chosen, optimizer=optimizer, rate=rate, place=place, rows=rows), rate))
    return steps


def window_step(
    model: Any,
    batches: list[list[int]],
    *,
    optimizer: torch.optim.Optimizer,
    rate: float,
    place: DropoutPlace,
    rows: list[tuple[RowPlace, ...]],
) -> tuple[float, float]:
    targets = sum(len(ROWS[index].completion_ids) for batch in batches for index in batch)
    total = 0.0
    for batch, place.rows in zip(batches, rows, strict=True):
        chosen = [ROWS[index] for index in batch]
        width = max(len(row.prompt_ids) + len(row.completion_ids) for row in chosen)
        texts = [[*row.prompt_ids, *row.completion_ids] for row in chosen]
        ids = torch.tensor([text + [PAD] * (width - len(text)) for text in texts])
        mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts])
        surprise = log_softmax(model(input_ids=ids, attention_mask=mask).logits, dim=-1)
        loss = -torch.stack(
            [
                surprise[row, position - 1, texts[row][position]]
                for row in range(len(chosen))
                for position in range(len(chosen[row].prompt_ids), len(texts[row]))
            ]
        ).sum()
        torch.autograd.backward(loss / targets)
        total += loss.item() / targets
    norm = torch.nn.utils.clip_grad_norm_((p for g in optimizer.param_groups for p in g["params"]), 1.0)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
    return total, float(norm)


@pytest.mark.parametrize(
    "training",
    [
        options(),
        options(num_train_epochs=2.0),
        options(num_train_epochs=1.5, gradient_accumulation_steps=3),
        options(max_steps=5, gradient_accumulation_steps=1, weight_decay=0.1),
    ],
    ids=["max_steps", "epochs", "part of an epoch", "decay"],
)
def test_every_step_equals_a_plain_torch_loop(
    tiny_gpt2_folder: Path, tmp_path: Path, training: TrainingOptions
) -> None:
    trained = Run(tiny_gpt2_folder, tmp_path, training=training).attempt()
    expected = plain_loop(tiny_gpt2_folder, training=training, seed=0)
    assert trained.steps == len(expected) == planned_steps(len(ROWS), training)
    for record, (loss, norm, rate) in zip(trained.history, expected, strict=True):
        assert record.loss == pytest.approx(loss, rel=1e-6)
        assert record.grad_norm == pytest.approx(norm, rel=1e-5)
        assert record.learning_rate == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize("fixture", ["tiny_gpt2_folder", "tiny_llama_folder"])
def test_every_step_equals_a_trainer_that_nobody_touched(
    fixture: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """One epoch, its rows laid out in our order; transformers counts, sums, clips and schedules by itself."""
    folder = request.getfixturevalue(fixture)
    training = options(max_steps=2)
    seeds = streams(0)
    ordered = [ROWS[index] for index in row_order(len(ROWS), order_seed=seeds.order, epoch=0)]
    model = add_adapter(base_model(folder), lora=lora(lora_dropout=0.0), seed=seeds.init)
    stock = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(tmp_path / "stock"), use_cpu=True, report_to="none", disable_tqdm=True, logging_steps=1,
            save_strategy="no", train_sampling_strategy="sequential", remove_unused_columns=False,
            **training.model_dump(exclude={"num_train_epochs", "eval_steps"}),
        ),
        train_dataset=ordered,
        data_collator=lambda rows: {k: v for k, v in training_batch(rows, pad_id=PAD).items() if k != "positions"},
    )  # fmt: skip
    stock.train()
    ours = Run(folder, tmp_path / "ours", training=training, adapter=lora(lora_dropout=0.0)).attempt()
    logs = [entry for entry in stock.state.log_history if "loss" in entry]
    assert [r.loss for r in ours.history] == pytest.approx([entry["loss"] for entry in logs], rel=1e-6)
    assert [r.grad_norm for r in ours.history] == pytest.approx([entry["grad_norm"] for entry in logs], rel=1e-5)
    assert [r.learning_rate for r in ours.history] == [entry["learning_rate"] for entry in logs]


def test_a_model_that_cannot_select_positions_has_the_same_losses(
    tiny_llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selecting = Run(tiny_llama_folder, tmp_path / "selecting").attempt()
    monkeypatch.setattr(ReferenceTrainer, "_selects_positions", False)
    whole = Run(tiny_llama_folder, tmp_path / "whole").attempt()
    assert [r.loss for r in whole.history] == pytest.approx([r.loss for r in selecting.history], rel=1e-6)


def test_dropout_of_the_base_model_is_in_the_loop_only_when_it_is_kept(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    kept = Run(tiny_gpt2_folder, tmp_path, base={"dropout": "keep"}).attempt()
    expected = plain_loop(tiny_gpt2_folder, training=options(), seed=0, dropout="keep")
    assert [record.loss for record in kept.history] == pytest.approx([loss for loss, _, _ in expected], rel=1e-6)
    without = Run(tiny_gpt2_folder, tmp_path / "without").attempt()
    assert without.history[0].loss != pytest.approx(kept.history[0].loss, rel=1e-4)


def test_tokens_are_those_of_the_rows_without_padding(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    trained = Run(tiny_gpt2_folder, tmp_path, training=options(num_train_epochs=3)).attempt()
    row_tokens = sum(len(row.prompt_ids) + len(row.completion_ids) for row in ROWS)
    assert trained.tokens == 3 * row_tokens == sum(record.tokens for record in trained.history)


def test_same_seed_gives_equal_bytes_and_another_seed_gives_others(tiny_llama_folder: Path, tmp_path: Path) -> None:
    runs = [Run(tiny_llama_folder, tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    histories = [run.attempt().history for run in runs]
    assert histories[0] == histories[1] != histories[2]
    assert runs[0].digest() == runs[1].digest() != runs[2].digest()


def test_what_ran_before_training_changes_nothing(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    first, second = Run(tiny_gpt2_folder, tmp_path / "a"), Run(tiny_gpt2_folder, tmp_path / "b")
    first.attempt()
    torch.rand(17)
    second.attempt()
    assert first.digest() == second.digest()


def test_evaluating_more_often_changes_no_weight_bit_with_dropout_on(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    often = Run(tiny_gpt2_folder, tmp_path / "often", base={"dropout": "keep"}, training=options(eval_steps=1))

    def greedy(step: int) -> None:
        assert not often.model.training
        seen.append(step)
        torch.manual_seed(3)
        often.model.generate(input_ids=torch.tensor([[5, 6, 7]]), max_new_tokens=4, do_sample=True)

    never = Run(tiny_gpt2_folder, tmp_path / "never", base={"dropout": "keep"})
    often_history, never_history = often.attempt(evaluate=greedy).history, never.attempt().history
    assert seen == [1, 2, 3, 4, 5, 6]
    assert often_history == never_history
    assert often.digest() == never.digest()


def test_a_loss_that_is_not_finite_stops_at_once_with_step_and_rate(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    seen: list[StepRecord] = []
    run = Run(tiny_gpt2_folder, tmp_path, training=options(learning_rate=1e30))
    with pytest.raises(DivergedError, match=r"at step [2-6] of 6 with learning rate \d.*lower training.learning_rate"):
        run.attempt(on_step=seen.append)
    assert len(seen) < 6
    assert all(math.isfinite(record.loss) for record in seen)


def test_a_gradient_that_is_not_finite_stops_at_once(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    run = Run(tiny_gpt2_folder, tmp_path)

    def poison(record: StepRecord) -> None:
        parameter = next(p for p in run.model.parameters() if p.requires_grad)
        parameter.register_hook(lambda gradient: gradient * math.inf)

    with pytest.raises(DivergedError, match=r"gradient norm (nan|inf) at step 2"):
        run.attempt(on_step=poison)


def test_an_overflowed_fp16_gradient_is_a_skipped_step(
    tiny_gpt2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no float16 autocast on a CPU: the overflow is made here, and so is what accelerate says about it."""
    run = Run(tiny_gpt2_folder, tmp_path, training=options(max_steps=2))

    def overflow(record: StepRecord) -> None:
        parameter = next(p for p in run.model.parameters() if p.requires_grad)
        parameter.register_hook(lambda gradient: gradient * math.inf)
        monkeypatch.setattr(Accelerator, "optimizer_step_was_skipped", True)

    first, second = run.attempt(on_step=overflow).history
    assert first.grad_norm is not None
    assert second.grad_norm is None


def test_running_out_of_gpu_memory_names_the_batch(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    def full(record: StepRecord) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")  # what the allocator raises; there is none to fill here

    with pytest.raises(GpuMemoryError, match=r"peak of [\d,]+ bytes: 2 rows of up to 12 tokens.*lower"):
        Run(tiny_gpt2_folder, tmp_path).attempt(on_step=full)


def test_fp16_without_a_gpu_is_a_configuration_error(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"training\.fp16 needs a CUDA device"):
        Run(tiny_gpt2_folder, tmp_path, training=options(fp16=True)).attempt()


@pytest.mark.parametrize("folder", ["tiny_gpt2_folder", "tiny_llama_folder"])
def test_gradient_checkpointing_changes_no_loss(folder: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    model = request.getfixturevalue(folder)
    plain = Run(model, tmp_path / "plain", base={"dropout": "keep"})
    saving = Run(
        model, tmp_path / "saving", base={"dropout": "keep"}, execution=JobExecution(gradient_checkpointing=True)
    )
    assert saving.attempt().history == plain.attempt().history
    assert saving.digest() == plain.digest()
    assert saving.model.is_activation_checkpointing


def test_workers_that_load_the_data_change_no_loss(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    plain = Run(tiny_gpt2_folder, tmp_path / "plain").attempt()
    workers = Run(tiny_gpt2_folder, tmp_path / "workers", execution=JobExecution(dataloader_num_workers=1)).attempt()
    assert workers.history == plain.history


@pytest.mark.parametrize(
    ("base", "training"),
    [({"dtype": "bfloat16"}, {}), ({}, {"bf16": True})],
    ids=["bfloat16 weights", "bfloat16 autocast"],
)
def test_lower_precision_trains_adapters_in_float32_and_comes_close(
    tiny_llama_folder: Path, tmp_path: Path, base: dict[str, str], training: dict[str, bool]
) -> None:
    full = Run(tiny_llama_folder, tmp_path / "full").attempt()
    run = Run(tiny_llama_folder, tmp_path / "low", base=base, training=options(**training))
    low = run.attempt()
    assert {p.dtype for p in run.model.parameters() if p.requires_grad} == {torch.float32}
    assert [r.loss for r in low.history] == pytest.approx([r.loss for r in full.history], rel=2e-2)
    assert [r.loss for r in low.history] != [r.loss for r in full.history]


def test_autocast_ends_with_training_and_pauses_for_evaluation(tiny_llama_folder: Path, tmp_path: Path) -> None:
    run = Run(tiny_llama_folder, tmp_path, training=options(bf16=True, eval_steps=3))
    wrapped: list[bool] = []
    run.attempt(evaluate=lambda step: wrapped.append("forward" in vars(run.model)))
    assert wrapped == [False, False]
    assert "forward" not in vars(run.model)
    assert not run.model.training


def test_the_longest_batch_is_tried_without_a_trace(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    """The engine probes on CUDA only; here it happens after every step of a training on the CPU."""
    probing = Probing()
    digests = []
    for name, callback in (("probed", probing), ("plain", TrainerCallback())):
        model = add_adapter(base_model(tiny_gpt2_folder, dropout="keep"), lora=lora(), seed=1)
        trainer = new_trainer(
            model, rows=ROWS, options=options(), execution=JobExecution(), seeds=streams(0), pad_id=PAD,
            folder=tmp_path / name, callback=callback,
        )  # fmt: skip
        probing.trainer = trainer
        trainer.train()
        digests.append(digest_of(model, tmp_path / f"adapter-{name}"))
    assert probing.widths == [max(len(row.prompt_ids) + len(row.completion_ids) for row in ROWS)] * 6
    assert digests[0] == digests[1]


class Probing(TrainerCallback):  # type: ignore[misc]  # transformers is untyped to mypy here
    trainer: ReferenceTrainer

    def __init__(self) -> None:
        self.widths: list[int] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        handle = self.trainer.model.register_forward_pre_hook(self.watch, with_kwargs=True)
        probe(self.trainer, rows=ROWS, pad_id=PAD)
        handle.remove()

    def watch(self, module: Any, arguments: Any, keywords: dict[str, Any]) -> None:
        self.widths.append(keywords["input_ids"].shape[1])


def test_rows_of_one_batch_do_not_see_each_other_or_the_padding(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    """One window of two batches of one row, and of one batch of two padded rows, have the same loss and gradient."""
    rows = (
        EncodedRow(example_id="a", prompt_ids=(5, 6, 7, 8, 9, 10), completion_ids=(11, 12, PAD)),
        EncodedRow(example_id="b", prompt_ids=(20,), completion_ids=(21, PAD)),
    )
    one_step = {"max_steps": 1, "learning_rate": 1e-3}
    alone = options(per_device_train_batch_size=1, gradient_accumulation_steps=2, **one_step)
    together = options(per_device_train_batch_size=2, gradient_accumulation_steps=1, **one_step)
    records = [
        Run(tiny_gpt2_folder, tmp_path / name, training=training, rows=rows, adapter=lora(lora_dropout=0.0)).attempt()
        for name, training in (("alone", alone), ("together", together))
    ]
    first, second = (trained.history[0] for trained in records)
    assert second.loss == pytest.approx(first.loss, rel=1e-6)
    assert second.grad_norm == pytest.approx(first.grad_norm, rel=1e-5)

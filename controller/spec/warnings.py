"""What a spec may say but probably does not mean."""

from __future__ import annotations

from collections.abc import Iterator

from controller.planning.configurations import baseline_prompts
from controller.spec.model import ExecutionSection, SweepSpec
from controller.spec.vary import Vary, written

__all__ = ["slot_warnings", "warnings_of"]

_SAMPLING = frozenset({"temperature", "top_k", "top_p"})


def warnings_of(spec: SweepSpec) -> tuple[str, ...]:
    """Sentences for people; nothing stops because of them."""
    return tuple(_warnings(spec))


def _warnings(spec: SweepSpec) -> Iterator[str]:
    lora, training = spec.trial.lora, spec.trial.training
    ranks = _values(spec.vary, "lora.r")
    if lora.lora_alpha is not None and len(ranks) > 1:
        yield (
            f"trial.lora.lora_alpha is fixed at {written(lora.lora_alpha)} while lora.r takes {', '.join(ranks)}: "
            "the scale lora_alpha / r changes with the rank; alpha_ratio keeps it equal"
        )
    unused = [name for name in spec.prompts if name not in baseline_prompts(spec)]
    if unused:
        yield f"no trial uses the prompt {', '.join(unused)}"
    if training.eval_steps and training.max_steps and training.eval_steps > training.max_steps:
        yield f"training.eval_steps {training.eval_steps} is above max_steps {training.max_steps}: no learning curve"
    if not spec.trial.generation.do_sample and "generation.do_sample" not in spec.vary.paths:
        idle = sorted(_SAMPLING & (spec.trial.generation.model_fields_set | _generation_paths(spec.vary)))
        if idle:
            yield f"generation.{', '.join(idle)}: no effect while do_sample is false (decoding is greedy)"
    generated = _generation_paths(spec.vary)
    if generated and "zero-shot" in spec.vary.baselines:
        yield f"the zero-shot baselines keep the default of generation.{', '.join(sorted(generated))}, which is varied"
    if spec.objective.split == "test":
        yield "the objective ranks by the test rows, so their numbers no longer say how well the winner generalises"


def _generation_paths(vary: Vary) -> set[str]:
    return {path.removeprefix("generation.") for path in vary.paths if path.startswith("generation.")}


def _values(vary: Vary, path: str) -> list[str]:
    values = [written(value) for value in vary.grid[path].values] if path in vary.grid else []
    values += [written(value) for block in vary.paired for value in block.get(path, ())]
    values += [written(trial[path]) for trial in vary.trials if path in trial]
    if vary.random and path in vary.random.ranges:
        bounds = vary.random.ranges[path]
        values += [written(bounds.low), written(bounds.high)]
    return list(dict.fromkeys(values))


def slot_warnings(execution: ExecutionSection, *, slots: int) -> tuple[str, ...]:
    """What is to be said where trials run on so many device slots at a time; nothing where that is what was asked."""
    if execution.parallelism <= slots:
        return ()
    here = "1 device slot" if slots == 1 else f"{slots} device slots"
    return (
        f"execution.parallelism is {execution.parallelism}, but this machine has {here} (one for each GPU, or "
        f"one for the CPU): {slots} at a time",
    )

"""What one job process is asked to do, made from a plan; pure."""

from __future__ import annotations

from collections.abc import Mapping

from controller.spec.model import SweepSpec
from job.contract.config import JobExecution, Provenance, Request
from job.contract.documents import Group, Plan, to_json
from job.contract.errors import SpecError

__all__ = ["REQUEST_LIMIT_BYTES", "TRIALS_LIMIT_BYTES", "request_bytes", "request_of"]

REQUEST_LIMIT_BYTES = 128 * 2**10
"""A request travels as an annotation, and Kubernetes allows 256 KiB for all annotations of an object."""
TRIALS_LIMIT_BYTES = 112 * 2**10
"""Of it for the trials of a packed group; the rest is for sources, provenance and adapters."""


def request_of(
    spec: SweepSpec,
    plan: Plan,
    group: Group,
    *,
    provenance: Provenance | None = None,
    adapters: Mapping[str, str] | None = None,
) -> Request:
    """The request for the trials of `group`.

    `adapters`: trial id to the store key of an attempt whose adapter it evaluates instead of training.
    Raises SpecError naming sizes when it is larger than REQUEST_LIMIT_BYTES.
    """
    wanted = set(group.trial_ids)
    request = Request(
        sweep=plan.sweep,
        run=plan.run,
        spec_sha256=plan.spec_sha256,
        engine=group.engine,
        model=plan.model,
        data=plan.data,
        execution=execution_of(spec),
        provenance=provenance or Provenance(),
        trials=tuple(trial for trial in plan.trials if trial.trial_id in wanted),
        adapters={trial: key for trial, key in (adapters or {}).items() if trial in wanted},
    )
    request_bytes(request)
    return request


def request_bytes(request: Request) -> bytes:
    """The request as the job reads it. Raises SpecError naming sizes when it has more than REQUEST_LIMIT_BYTES."""
    body = to_json(request)
    if len(body) > REQUEST_LIMIT_BYTES:
        raise SpecError(_too_large(request, size=len(body)))
    return body


def execution_of(spec: SweepSpec) -> JobExecution:
    """The part of the spec that tells the job how to work."""
    return JobExecution(
        trial_timeout_s=spec.execution.trial_timeout_s,
        checkpoint_every=spec.execution.checkpoint_every,
        eval_batch_size=spec.execution.eval_batch_size,
        gradient_checkpointing=spec.trial.training.gradient_checkpointing,
        dataloader_num_workers=spec.trial.training.dataloader_num_workers,
        logging_steps=spec.trial.training.logging_steps,
    )


def _too_large(request: Request, *, size: int) -> str:
    trial = max(request.trials, key=lambda one: len(one.model_dump_json()))
    parts = {
        f"prompt {trial.prompt_name!r}": trial.config.prompt,
        "lora": trial.config.lora,
        "data": trial.config.data,
    }
    sizes = ", ".join(f"{name} {len(part.model_dump_json()):,}" for name, part in parts.items() if part is not None)
    return (
        f"trial {trial.letter} ({trial.label}): its request has {size:,} bytes, {REQUEST_LIMIT_BYTES:,} are allowed "
        f"({sizes} bytes); shorten the prompt or the module lists"
    )

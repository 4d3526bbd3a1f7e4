"""`python -m packed.without ABLATION REQUEST --run-uri URI --attempt ID`: the job, with one part of packed replaced.

The parts are replaced here and not switched off in the product, which has no such switches. A replacement that was
never called would measure nothing, so the process then ends with an error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from types import ModuleType
from typing import Any

import torch
from torch.nn.functional import cross_entropy

import job.evaluation.scoring
import job.lanes.group
import job.lanes.pack
from job.__main__ import main as run_job
from job.lanes.passes import LaneWindow, Pass, _pass
from job.lanes.train import train_lanes
from job.reference.collate import IGNORED

__all__ = ["PATCHES"]


def all_positions(model: Any, batch: Pass) -> torch.Tensor:
    """As job.lanes.head: cross-entropy summed over each lane's targets, (K,); by way of all logits."""
    logits = model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).logits
    lanes = len(batch.positions)
    labels = torch.full((lanes, batch.ids.numel() // lanes), IGNORED, device=batch.ids.device)
    lane, place = (batch.targets != IGNORED).nonzero(as_tuple=True)
    labels[lane, batch.positions[lane, place]] = batch.targets[lane, place]
    each = cross_entropy(
        logits.to(torch.promote_types(logits.dtype, torch.float32)).flatten(0, 1),
        labels.flatten(),
        ignore_index=IGNORED,
        reduction="none",
    )
    return each.view(lanes, -1).sum(1)


def in_their_order(windows: Sequence[LaneWindow], *, rows_at_once: int, pad_id: int) -> Iterator[Pass]:
    """As job.lanes.passes, without the sorting."""
    for at in range(0, max(len(window.rows) for window in windows), rows_at_once):
        yield _pass([window.rows[at : at + rows_at_once] for window in windows], pad_id=pad_id)


def other_width(model: Any, lanes: Sequence[Any], *, width: int, **others: Any) -> None:
    """As job.lanes.train: all at once where it would be one at a time, and the other way round."""
    train_lanes(model, lanes, width=len(lanes) if width == 1 else 1, **others)


def never(model: Any) -> bool:
    """No model's prompts are read once."""
    return False


PATCHES: dict[str, tuple[ModuleType, str, Callable[..., Any]]] = {
    "head": (job.lanes.pack, "lane_losses", all_positions),
    "order": (job.lanes.pack, "passes", in_their_order),
    "width": (job.lanes.group, "train_lanes", other_width),
    "read": (job.evaluation.scoring, "can_read_once", never),
}
"""Ablation to the module, the name in it, and what takes its place."""


def main() -> int:
    ablation, *arguments = sys.argv[1:]
    module, name, replacement = PATCHES[ablation]
    called = False

    @wraps(replacement)
    def noted(*args: Any, **more: Any) -> Any:
        nonlocal called
        called = True
        return replacement(*args, **more)

    if not hasattr(module, name):
        sys.stderr.write(f"{module.__name__} has no {name}: the job has changed, and packed.without has to follow\n")
        return 1
    setattr(module, name, noted)
    code = run_job(arguments)
    if not called:
        sys.stderr.write(f"{module.__name__}.{name} was never called: nothing was left out\n")
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())

"""What the TRL process is given, and what it leaves behind."""

from __future__ import annotations

from job.contract.base import Count, Frozen, Number, Positive, Text
from job.contract.config import TrialConfig

__all__ = ["TrlEvaluation", "TrlResult", "TrlTask"]


class TrlTask(Frozen):
    """One trial."""

    config: TrialConfig
    seed: Count
    """Of the adapter's first weights: the one that the job takes, so that both begin with the same."""
    model: Text
    """A folder."""
    rows: Text
    """A folder with train.jsonl in the order of training, validation.jsonl and test.jsonl, of prompt and completion."""
    eval_batch_size: Positive
    output: Text
    """A folder for the adapter, the texts and the result."""


class TrlEvaluation(Frozen):
    """Headline numbers of one split at one step."""

    step: Count
    split: Text
    rows: Positive
    completion_loss: Number
    rouge_l: Number


class TrlResult(Frozen):
    """What is measured inside the process; how long it took in all, its parent knows."""

    data_s: Number
    train_s: Number
    evaluate_s: Number
    publish_s: Number
    losses: tuple[Number, ...]
    """Of each step."""
    train_tokens: Count
    evaluations: tuple[TrlEvaluation, ...]
    device: Text
    device_peak_bytes: Count
    """On CUDA, else 0."""

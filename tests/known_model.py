"""A model that the packed engine takes, and trials on it, for tests of what shares a Job."""

from __future__ import annotations

from typing import Any

from controller.planning.base_model import base_model
from job.contract.config import TrialConfig

__all__ = ["KNOWN", "LLAMA", "trial"]

DIGEST = f"sha256:{'0' * 64}"
LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "vocab_size": 300, "max_position_embeddings": 256,
}  # fmt: skip
KNOWN = base_model(LLAMA, weight_bytes=4 * 200_000)


def trial(kind: str = "lora", **parts: Any) -> TrialConfig:
    """A trial with these fields in its parts: `trial(lora={"use_dora": True})`."""
    document: dict[str, Any] = {
        "kind": kind,
        "model": {"digest": DIGEST},
        "data": {"digest": DIGEST, "splits": {"train": "a"}, "columns": {"input": "a", "target": "b"}},
        "prompt": {"prompt": "{a}", "completion": "{b}"},
        "generation": {},
        "lora": {"r": 8, "lora_alpha": 8},
        "training": {"max_steps": 1},
        "seed": 1,
    }
    left_out = {"lora": (), "zero-shot": ("lora", "training", "seed")}[kind]
    for part, fields in parts.items():
        document[part] = {**document.get(part, {}), **fields}
    return TrialConfig.model_validate({name: part for name, part in document.items() if name not in left_out})

"""`python -m packed.random_model SHAPE DTYPE FOLDER`: a model of a known shape with random weights.

Its tokenizer is that of the tests, one token a byte; the vocabulary of the model keeps its size. What such a model
writes is noise that no end token ends, so the benchmark fixes how much it writes.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import torch
from tiny import byte_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

__all__ = ["main", "random_model"]


def main() -> int:
    shape, dtype, folder = sys.argv[1:]
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    model = random_model(shape, end=int(tokenizer.eos_token_id)).to(getattr(torch, dtype))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return 0


def random_model(shape: str, *, end: int) -> PreTrainedModel:
    """In the default dtype, on the default device; `end` ends a text. Raises ValueError for an unknown shape."""
    if shape == "gpt2":  # the 124M of Radford et al. 2019, whose shape GPT2Config has by default; without its dropout
        return GPT2LMHeadModel(
            GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=end, eos_token_id=end)
        )
    if shape == "llama-1b":  # Llama 3.2 1B
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=128_256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16,
                num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=8192, tie_word_embeddings=True,
                bos_token_id=end, eos_token_id=end, pad_token_id=None,
            )
        )  # fmt: skip
    raise ValueError(f"no shape {shape!r}")


if __name__ == "__main__":
    sys.exit(main())

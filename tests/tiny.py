"""Two-layer random models with a byte-level tokenizer, as folders in safetensors; a real model in milliseconds.

Deterministic: the same arguments write the same bytes. One token is one byte of UTF-8, after four special tokens.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

__all__ = ["CHAT_TEMPLATE", "END", "byte_tokenizer", "write_tiny_gpt2", "write_tiny_llama"]

END = "<|endoftext|>"
BEGIN = "<|begin|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
SPECIAL = (END, BEGIN, TURN_START, TURN_END)

# ChatML, as SmolLM2-Instruct has it, without its default system turn.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_tokenizer(*, chat: bool = False, begin: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer with 4 special tokens and one token per byte; no pad token of its own, as GPT-2 has none.

    `chat` adds a chat template whose turns end with their own token; `begin` puts a begin token before every text.
    """
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *sorted(ByteLevel.alphabet())))}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    if begin:
        tokenizer.post_processor = TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, vocabulary[BEGIN])])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END if chat else END,
        bos_token=BEGIN if begin else END,
        clean_up_tokenization_spaces=False,
    )
    if chat:
        fast.chat_template = CHAT_TEMPLATE
    return fast


def write_tiny_gpt2(folder: Path, *, dropout: float = 0.1, context: int = 256, chat: bool = False) -> Path:
    """`folder`, now holding a random GPT-2 of width 32 with the dropout that GPT-2 has, and its tokenizer."""
    tokenizer = byte_tokenizer(chat=chat)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=context,
        n_embd=32,
        n_layer=2,
        n_head=2,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return _write(folder, model=_seeded(GPT2LMHeadModel, config), tokenizer=tokenizer)


def write_tiny_llama(folder: Path, *, context: int = 256, chat: bool = True, begin: bool = False) -> Path:
    """`folder`, now holding a random Llama of width 32 with grouped-query attention, and its tokenizer."""
    tokenizer = byte_tokenizer(chat=chat, begin=begin)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
    return _write(folder, model=_seeded(LlamaForCausalLM, config), tokenizer=tokenizer)


def _seeded(kind: type[GPT2LMHeadModel] | type[LlamaForCausalLM], config: GPT2Config | LlamaConfig) -> PreTrainedModel:
    """The model with weights drawn from a fixed seed; the caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(config)


def _write(folder: Path, *, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

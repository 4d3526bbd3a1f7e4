"""Texts that a model writes: batched, with a KV cache, and from the spec's settings alone.

Greedy decoding gives a row the same tokens whatever batch it is in. Sampling is repeatable for one batch size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from transformers import DynamicCache, GenerationConfig, PreTrainedModel, StoppingCriteria, StoppingCriteriaList

from job.contract.config import GenerationOptions
from job.evaluation.batches import left_padded
from job.stopping import StopSignal

__all__ = ["Decoding", "Ended", "Generated", "finished", "generate_batch", "only_these_settings"]

Ended = Literal["eos", "length", "context"]


class Generated(NamedTuple):
    """What a model wrote after one prompt."""

    token_ids: tuple[int, ...]
    """Without padding; with the end token, if it wrote one."""
    ended: Ended
    """eos: it wrote an end token; length: max_new_tokens were used up; context: the model's context was."""

    @property
    def content_tokens(self) -> int:
        """Tokens written, the end token not counted."""
        return len(self.token_ids) - (self.ended == "eos")


class Decoding(NamedTuple):
    """How prompts are continued."""

    options: GenerationOptions
    end_token_ids: tuple[int, ...]
    """Any of them ends a text."""
    pad_id: int
    context: int
    """Positions that the model has, for prompt and text together."""

    def allowed(self, prompt_tokens: int) -> int:
        """How many tokens may follow a prompt of that length; 0 or less when the prompt alone fills the context."""
        return min(self.options.max_new_tokens, self.context - prompt_tokens)

    @property
    def sees_padding(self) -> bool:
        """Whether a setting looks at the ids of the whole row, padding included; such rows are never padded."""
        return self.options.repetition_penalty != 1.0 or self.options.no_repeat_ngram_size > 0

    def settings(self, *, max_new_tokens: int) -> dict[str, Any]:
        """Arguments of GenerationConfig. What has no effect stays unset, as transformers warns about it."""
        options = self.options
        settings: dict[str, Any] = {
            "max_new_tokens": max_new_tokens,
            "do_sample": options.do_sample,
            "num_beams": options.num_beams,
            "eos_token_id": list(self.end_token_ids),
            "pad_token_id": self.pad_id,
            "use_cache": True,
        }
        if options.min_new_tokens:
            settings["min_new_tokens"] = min(options.min_new_tokens, max_new_tokens)
        if options.do_sample:
            settings |= {"temperature": options.temperature, "top_k": options.top_k, "top_p": options.top_p}
        if options.num_beams > 1:
            settings["length_penalty"] = options.length_penalty
        if options.repetition_penalty != 1.0:
            settings["repetition_penalty"] = options.repetition_penalty
        if options.no_repeat_ngram_size:
            settings["no_repeat_ngram_size"] = options.no_repeat_ngram_size
        return settings

    def recorded(self) -> Mapping[str, bool | int | float | str | None]:
        """The resolved settings as scalars, to be stored with what they gave."""
        settings = self.settings(max_new_tokens=self.options.max_new_tokens)
        return settings | {"eos_token_id": ",".join(str(token) for token in self.end_token_ids)}


class _PollStop(StoppingCriteria):  # type: ignore[misc]  # mypy does not follow transformers (pyproject)
    """Ends no text; raises StoppedError between two tokens once SIGTERM came."""

    def __init__(self, stop: StopSignal) -> None:
        self._stop = stop

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        self._stop.check()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


@contextmanager
def only_these_settings(model: PreTrainedModel) -> Iterator[None]:
    """Inside, nothing of the model folder's generation_config is filled into ours.

    transformers 5.23 takes every field that a given GenerationConfig leaves unset from `model.generation_config`
    (GenerationMixin._prepare_generation_config), so that a folder could turn on sampling or a penalty.
    """
    before = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = before


def generate_batch(
    *,
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    stop: StopSignal,
    cache: DynamicCache | None = None,
) -> list[Generated]:
    """One text per prompt. All prompts must be allowed as many new tokens as the longest.

    `cache` is what the model remembers of the prompts, padded on the left, without the last token of each; it grows.

    Raises StoppedError between two tokens.
    """
    allowed = decoding.allowed(max(len(prompt) for prompt in prompts))
    batch = left_padded(prompts, pad_id=decoding.pad_id, device=model.device)
    with only_these_settings(model):
        sequences = model.generate(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            generation_config=GenerationConfig(**decoding.settings(max_new_tokens=allowed)),
            past_key_values=cache,
            stopping_criteria=StoppingCriteriaList([_PollStop(stop)]),
        )
    return [finished(row, decoding=decoding, allowed=allowed) for row in sequences[:, batch.ids.shape[1] :].tolist()]


def finished(row: list[int], *, decoding: Decoding, allowed: int) -> Generated:
    """A row of generate's answer without what follows its end token."""
    for at, token in enumerate(row):
        if token in decoding.end_token_ids:
            return Generated(token_ids=tuple(row[: at + 1]), ended="eos")
    cut_by_context = allowed < decoding.options.max_new_tokens
    return Generated(token_ids=tuple(row), ended="context" if cut_by_context else "length")

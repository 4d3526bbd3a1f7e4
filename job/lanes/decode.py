"""Greedy continuations of many prompts at once, in memory of a fixed size, which ended texts leave.

The rows of a batch keep their places until half of the texts have ended; then the others move together into memory of
half the rows. All that a token changes is changed in place, so that on a GPU the work of one token is recorded once
for each size and replayed (job.lanes.graphs): launching some hundred kernels is most of the time of a small model.

Greedy decoding as transformers does it (`generate` with neither beams, sampling nor penalties): the token with the
largest logit, never an end token before `min_new_tokens`.

Limits
- For the models of controller/planning/engine.py alone. Others may look at the length of the keys, here that of the
  memory (GPT-Neo's local layers do), or make a mask of their own from ours (Falcon's alibi).
- For models that job.evaluation.prompt_cache.can_read_once accepts, with attention that takes a mask of 4 dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from job.evaluation.prompt_cache import LayerStates
from job.lanes.graphs import recorded

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from job.evaluation.generation import Decoding
    from job.evaluation.prompt_cache import ReadPrompts
    from job.stopping import StopSignal

__all__ = ["Decoder", "can_decode"]

_FEWEST = 8
"""Rows that are not worth moving."""
_ROUND = 64
"""Positions; batches of about the same length share their memory and what was recorded for it."""
_LOOKS_EVERY = 8
"""Tokens between two looks at who has ended: a look waits for the device."""

Answering = Callable[[torch.Tensor], AbstractContextManager[None]]
"""Inside, the rows of a forward pass are those to which the tensor's other columns are foreign (job.lanes.joined)."""


def can_decode(model: PreTrainedModel, decoding: Decoding) -> bool:
    """Whether these settings are greedy, and the model's attention takes a mask that we make."""
    options = decoding.options
    plain = options.num_beams == 1 and not options.do_sample and not decoding.sees_padding
    return plain and model.config._attn_implementation in ("sdpa", "eager")  # it has no public name


class Decoder:
    """Continues prompts with one model; keeps the memory of the batch before for one of the same size."""

    def __init__(self, model: PreTrainedModel, *, decoding: Decoding, answering: Answering) -> None:
        self._model = model
        self._decoding = decoding
        self._answering = answering
        self._known: dict[tuple[int, int], _Recorded] = {}

    def texts(
        self, parts: list[ReadPrompts], *, foreign: torch.Tensor, limits: Sequence[int], stop: StopSignal
    ) -> list[list[int]]:
        """The tokens that follow each prompt, at most `limits[i]` of them; what follows an end token means nothing.

        Takes the parts out of their list, so that their memory is free for what follows. When anything fails its own
        memory is given up, too, so that a smaller batch finds room. Raises StoppedError between some tokens.
        """
        try:
            return self._texts(parts, foreign=foreign, limits=limits, stop=stop)
        except BaseException:
            self._known.clear()
            raise

    def _texts(
        self, parts: list[ReadPrompts], *, foreign: torch.Tensor, limits: Sequence[int], stop: StopSignal
    ) -> list[list[int]]:
        rows, states = len(limits), parts[0].layers
        width = max(part.prompts.ids.shape[1] for part in parts)
        length = -(-(width + max(limits)) // _ROUND) * _ROUND
        slots = self._slots(rows, length=length, foreign=foreign, states=states)
        del states
        slots.memory.begin(parts, width=width, foreign=foreign, limits=limits)
        places: list[int | None] = list(range(rows))
        found: list[list[int]] = [[] for _ in places]
        while True:
            left = _until_half_have_ended(slots, places, stop=stop)
            for place, text in zip(places, slots.memory.texts(), strict=True):
                if place is not None:
                    found[place] = text
            if not left:
                return [text[:limit] for text, limit in zip(found, limits, strict=True)]
            size = max(-(-len(places) // 2), _FEWEST)
            larger, spare = slots.memory, size - len(left)
            slots = self._slots(size, length=length, foreign=foreign, states=larger.states)
            slots.memory.take(larger, left + left[:1] * spare, over=range(len(left), size))
            places = [*(places[at] for at in left), *[None] * spare]

    def _slots(self, rows: int, *, length: int, foreign: torch.Tensor, states: Sequence[LayerStates]) -> _Recorded:
        if any(known != length for _, known in self._known):
            self._known.clear()  # batches come longest first: the longer memory is not needed again
        if (rows, length) not in self._known:
            memory = _Memory(
                rows, length=length, decoding=self._decoding, states=states, foreign=foreign, model=self._model
            )
            self._known[rows, length] = _Recorded(memory, self._step(memory))
        return self._known[rows, length]

    def _step(self, memory: _Memory) -> Callable[[], None]:
        answering = self._answering  # and not this object, which would keep itself and its memory alive

        def step() -> None:
            with answering(memory.foreign):
                memory.step()

        return recorded(step, changed=memory.small, device=self._model.device)


def _until_half_have_ended(slots: _Recorded, places: Sequence[int | None], *, stop: StopSignal) -> list[int]:
    """Write on until half of the rows are over, or all where few are left; gives those that are not."""
    while True:
        stop.check()
        for _ in range(_LOOKS_EVERY):
            slots.step()
        ended = slots.memory.ended.tolist()
        left = [at for at, place in enumerate(places) if place is not None and not ended[at]]
        if len(left) <= len(places) // 2 and (not left or len(places) > _FEWEST):
            return left


class _Recorded(NamedTuple):
    memory: _Memory
    step: Callable[[], None]


class _FixedLayer(DynamicLayer):  # type: ignore[misc]  # mypy does not follow transformers (pyproject)
    """Keys and values of one layer, (rows, heads, length, width); a token's are written at position `at`."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, *, at: torch.Tensor) -> None:
        super().__init__()
        self.keys, self.values, self._at = keys, values, at
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys.index_copy_(2, self._at, key_states)
        self.values.index_copy_(2, self._at, value_states)
        return self.keys, self.values


class _Memory:
    """What decoding `rows` texts of at most `length` positions knows and changes."""

    def __init__(
        self,
        rows: int,
        *,
        length: int,
        decoding: Decoding,
        states: Sequence[LayerStates],
        foreign: torch.Tensor,
        model: PreTrainedModel,
    ) -> None:
        device = model.device
        self._model = model
        self._decoding = decoding
        self._last = decoding.context - 1
        self._ends = torch.tensor(decoding.end_token_ids, device=device)
        self._at = torch.zeros(1, dtype=torch.long, device=device)
        self._written = torch.zeros(1, dtype=torch.long, device=device)
        self._tokens = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self._positions = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self._limits = torch.zeros(rows, dtype=torch.long, device=device)
        self._text = torch.zeros(rows, decoding.options.max_new_tokens + _LOOKS_EVERY, dtype=torch.long, device=device)
        self._unseen = torch.finfo(model.dtype).min
        self._mask = torch.full((rows, 1, 1, length + _LOOKS_EVERY), self._unseen, dtype=model.dtype, device=device)
        self.ended = torch.zeros(rows, dtype=torch.bool, device=device)
        self.foreign = foreign.new_zeros(rows, *foreign.shape[1:])
        self._layers = [
            _FixedLayer(*(self._room(part, rows=rows, length=length + _LOOKS_EVERY) for part in layer), at=self._at)
            for layer in states
        ]

    @property
    def small(self) -> tuple[torch.Tensor, ...]:
        """All that a step changes but for keys, values and text, which it only adds to."""
        return (self._at, self._written, self._tokens, self._positions, self._mask, self.ended)

    @property
    def states(self) -> list[LayerStates]:
        """Keys and values of each layer."""
        return [LayerStates(layer.keys, layer.values) for layer in self._layers]

    def begin(self, parts: list[ReadPrompts], *, width: int, foreign: torch.Tensor, limits: Sequence[int]) -> None:
        """The prompts are read but for their last tokens, and end together at `width`. `parts` is empty afterwards."""
        self._at.fill_(width - 1)
        self._written.zero_()
        self._limits.copy_(torch.tensor(limits))
        self._mask.fill_(self._unseen)
        self.ended.zero_()
        self.foreign.copy_(foreign)
        for layer in self._layers:  # what a mask hides must still be numbers: nothing times NaN is NaN
            layer.keys.zero_()
            layer.values.zero_()
        start = 0
        while parts:
            part = parts.pop(0)
            prompts = part.prompts
            rows = slice(start, start + len(prompts.ids))
            place = slice(width - prompts.ids.shape[1], width)
            read = slice(place.start, width - 1)
            self._tokens[rows] = prompts.ids[:, -1:]
            self._positions[rows] = prompts.positions[:, -1:]
            self._mask[rows, 0, 0, place].masked_fill_(prompts.mask.bool(), 0.0)
            for layer, (keys, values) in zip(self._layers, part.layers, strict=True):
                layer.keys[rows, :, read] = keys
                layer.values[rows, :, read] = values
            start = rows.stop

    def take(self, other: _Memory, rows: Sequence[int], *, over: range) -> None:
        """Go on with these rows of `other`; those at the places `over` only fill the room."""
        picked = torch.tensor(rows, device=self.ended.device)
        for mine, its in zip(self._by_row(), other._by_row(), strict=True):
            torch.index_select(its, 0, picked, out=mine)
        self._at.copy_(other._at)
        self._written.copy_(other._written)
        self.ended[over.start : over.stop] = True

    def step(self) -> None:
        """One more token of every text, ended ones included."""
        logits: torch.Tensor = self._model(
            input_ids=self._tokens,
            attention_mask=self._mask,
            position_ids=self._positions,
            past_key_values=Cache(layers=list(self._layers)),
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        if self._decoding.options.min_new_tokens:
            early = self._written < self._limits.clamp(max=self._decoding.options.min_new_tokens)
            logits[:, self._ends] = logits[:, self._ends].masked_fill(early[:, None], float("-inf"))
        chosen = logits.argmax(-1, keepdim=True)
        self._text.index_copy_(1, self._written, chosen)
        self._written.add_(1)
        self.ended.logical_or_((chosen == self._ends).any(1)).logical_or_(self._written >= self._limits)
        self._tokens.copy_(chosen)
        self._positions.add_(1).clamp_(max=self._last)
        self._at.add_(1)
        self._mask.index_fill_(3, self._at, 0.0)

    def texts(self) -> list[list[int]]:
        """What was written so far, with what follows a text's end."""
        return [list(row) for row in self._text[:, : int(self._written)].tolist()]

    def _by_row(self) -> tuple[torch.Tensor, ...]:
        states = [part for layer in self._layers for part in (layer.keys, layer.values)]
        small = (self._tokens, self._positions, self._limits, self._text, self._mask, self.ended, self.foreign)
        return (*small, *states)

    @staticmethod
    def _room(part: torch.Tensor, *, rows: int, length: int) -> torch.Tensor:
        return part.new_zeros(rows, part.shape[1], length, part.shape[3])

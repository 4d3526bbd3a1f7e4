"""Rows as token ids: what the model is given, what it has to write, and what happens to a row that is too long.

Prompt and completion are tokenised apart and joined, and blanks at the prompt's end belong to the completion. So what
generation starts from is, token for token, what training had before the completion; and where one ends and the other
begins is a length, never a search for a pad or end token.

Limits
- A special token written out in a row (`<|endoftext|>`) is that token, as everywhere in transformers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, NamedTuple, Protocol

from jinja2 import TemplateError

from job.contract.config import PromptTemplate, SplitRole
from job.contract.errors import ConfigurationError, DataError
from job.contract.nearest import nearest
from job.contract.template import render, template_fields
from job.data import Row

__all__ = ["ChatFrame", "EncodedRow", "EncodedSplit", "Encoder", "TextTokenizer", "chat_frame"]

_BATCH = 512  # rows tokenised in one call; enough to keep a fast tokenizer's threads busy
# Some chat templates print today's date (Llama 3.1 and later), and a prompt must be the same tomorrow.
_DAY = date(2024, 7, 26)  # what Llama 3.1's own template falls back to
_TODAY = re.compile(r"""strftime_now\(\s*(?P<quote>['"])(?P<format>.*?)(?P=quote)\s*\)""")


class TextTokenizer(Protocol):
    """What is used of transformers' PreTrainedTokenizerBase."""

    eos_token_id: int | None
    chat_template: Any
    is_fast: bool
    all_special_ids: list[int]
    added_tokens_decoder: dict[int, Any]

    def __call__(self, text: Any, *, add_special_tokens: bool = ..., return_offsets_mapping: bool = ...) -> Any: ...

    def __len__(self) -> int: ...

    def get_chat_template(self) -> str: ...

    def apply_chat_template(
        self, conversation: Any, *, chat_template: str, tokenize: bool, add_generation_prompt: bool, **variables: Any
    ) -> Any: ...


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """One row as the model sees it: `prompt_ids + completion_ids` in training, `prompt_ids` alone in generation."""

    example_id: str
    prompt_ids: tuple[int, ...]
    """With the begin token, where the tokenizer adds one."""
    completion_ids: tuple[int, ...]
    """With one end token; the only tokens in the loss."""


@dataclass(frozen=True, slots=True)
class EncodedSplit:
    """The rows of a split, in order."""

    rows: tuple[EncodedRow, ...]
    cut: int
    """Rows whose input was shortened."""
    dropped: int
    """Rows left out as too long."""


class Encoder:
    """Turns rows into token ids by one prompt and one tokenizer."""

    def __init__(
        self,
        *,
        template: PromptTemplate,
        tokenizer: TextTokenizer,
        columns: Mapping[Literal["id", "input", "target"], str],
        overflow: Literal["error", "cut_left", "cut_right", "drop"],
        context: int,
        max_new_tokens: int,
    ) -> None:
        """`context`: how many tokens the model can attend to; `max_new_tokens`: room that generation needs.

        Raises ConfigurationError for a tokenizer that cannot serve the template, DataError for a prompt that would
        show the model the reference, SpecError for a template that does not parse.
        """
        self._template = template
        self._tokenizer = tokenizer
        self._input, target = columns["input"], columns["target"]
        self._overflow = overflow
        self._context = context
        self._max_new_tokens = max_new_tokens
        if target in template_fields(template.prompt):
            raise DataError(
                f"the prompt asks for column {target!r}, the target: the model would be shown what it has to write; "
                f"move {{{target}}} to the completion"
            )
        # One int object per id: 8 bytes a token instead of 36, a gigabyte over 100,000 rows of 300 tokens.
        self._ids = tuple(range(len(tokenizer)))
        self._begin = () if template.chat else _begin_ids(tokenizer)
        self.end_token_id: int = _turn_end(tokenizer) if template.chat else _end_of_text(tokenizer)
        """Ends every completion, and stops generation."""

    def encode(self, rows: Sequence[Row], *, role: SplitRole) -> EncodedSplit:
        """The rows as tokens; the train rows have to fit with their completion, the others with room to generate too.

        Raises DataError for a column that is not there, and for rows that are too long and may not be cut or dropped.
        """
        self._check_fields(rows, role=role)
        encoded: list[EncodedRow] = []
        too_long: list[_TooLong] = []
        for row, texts in self._texts(rows):
            reserve = len(texts.completion_ids) if role == "train" else self._reserve(texts.completion_ids)
            if len(texts.prompt_ids) + reserve > self._context:
                too_long.append(_TooLong(row, len(texts.prompt_ids), reserve))
                if self._overflow not in ("cut_left", "cut_right"):
                    continue
                texts = texts._replace(prompt_ids=self._cut(row, texts=texts, room=self._context - reserve))
            encoded.append(EncodedRow(row.example_id, texts.prompt_ids, texts.completion_ids))
        left_out = len(rows) - len(encoded)
        if left_out and (self._overflow == "error" or role != "train" or not encoded):
            raise self._too_long(too_long, rows=len(rows), role=role)
        return EncodedSplit(tuple(encoded), cut=len(too_long) - left_out, dropped=left_out)

    def _check_fields(self, rows: Sequence[Row], *, role: SplitRole) -> None:
        columns = sorted(rows[0].fields) if rows else []
        for part in ("prompt", "completion"):
            for field in sorted(template_fields(getattr(self._template, part))):
                if rows and field not in columns:
                    raise DataError(
                        f"the {part} asks for {{{field}}}, and the {role} rows have no such column of text"
                        f"{nearest(field, columns)}; there are {', '.join(map(repr, columns))}"
                    )

    def _reserve(self, completion_ids: Sequence[int]) -> int:
        return max(self._max_new_tokens, len(completion_ids))

    def _texts(self, rows: Sequence[Row]) -> Iterator[tuple[Row, _Ids]]:
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            pairs = [self._render(row.fields) for row in batch]
            prompts = self._tokenise([pair.prompt for pair in pairs])
            completions = self._tokenise([pair.completion for pair in pairs])
            for row, prompt, completion in zip(batch, prompts, completions, strict=True):
                ids = _Ids(self._with_begin(prompt), (*completion, self.end_token_id))
                if not ids.prompt_ids:
                    raise DataError(f"row {row.example_id!r}: the prompt is empty, and there is nothing to go on from")
                yield row, ids

    def _render(self, fields: Mapping[str, str]) -> _Texts:
        prompt, completion = render(self._template.prompt, fields), render(self._template.completion, fields)
        if self._template.chat:
            return _Texts(_chat(self._tokenizer, user=prompt.strip()), completion.strip())
        kept = prompt.rstrip()
        return _Texts(kept, prompt[len(kept) :] + completion)

    def _tokenise(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        rows: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return [tuple(map(self._ids.__getitem__, row)) for row in rows]

    def _with_begin(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Once, even where the prompt writes the begin token itself."""
        return ids if ids[: len(self._begin)] == self._begin else self._begin + ids

    def _cut(self, row: Row, *, texts: _Ids, room: int) -> tuple[int, ...]:
        """The prompt's ids with as much of the input as fits into `room` tokens."""
        if self._input not in template_fields(self._template.prompt):
            raise DataError(
                f"row {row.example_id!r} is too long, and the prompt holds no {{{self._input}}} that could be cut; "
                "put the input column into the prompt, or set data.overflow to drop"
            )
        text = row.fields[self._input]
        offsets = self._offsets(text)
        keep, length = len(offsets), len(texts.prompt_ids)
        # Text cut at a token's edge may need other tokens than before, so the result is measured, not computed.
        while (keep := keep - (length - room)) > 0:
            part = text[offsets[-keep][0] :] if self._overflow == "cut_left" else text[: offsets[keep - 1][1]]
            rendered = self._render({**row.fields, self._input: part.strip()})
            ids = self._with_begin(self._tokenise([rendered.prompt])[0])
            length = len(ids)
            if length <= room:
                return ids
        raise DataError(
            f"row {row.example_id!r}: without any input the prompt and {self._context - room} tokens of completion are "
            f"longer than the model's context of {self._context}; shorten the prompt or generation.max_new_tokens"
        )

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        """Where each token of `text` begins and ends, in characters."""
        if not self._tokenizer.is_fast:
            raise ConfigurationError(
                f"data.overflow is {self._overflow!r}, and this tokenizer cannot say where its tokens are in the text "
                "(there is no tokenizer.json); set data.overflow to error or drop"
            )
        found = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        offsets: list[tuple[int, int]] = found["offset_mapping"]
        return offsets

    def _too_long(self, rows_too_long: Sequence[_TooLong], *, rows: int, role: SplitRole) -> DataError:
        row, prompt, reserve = max(rows_too_long, key=lambda one: one.prompt + one.reserve)
        what = "its completion" if role == "train" else "its completion or generation.max_new_tokens"
        remedy = "set data.overflow to cut_left or cut_right"
        if role == "train" and self._overflow == "error":
            remedy += " or drop"
        elif self._overflow == "drop":
            remedy += f" (drop leaves out train rows only; all of {role} would be lost, or the trials not comparable)"
        return DataError(
            f"{len(rows_too_long)} of {rows} {role} rows are longer than the model's context of {self._context} "
            f"tokens; the longest is {row.example_id!r}: {prompt} tokens of prompt and {reserve} of {what}; {remedy}, "
            "shorten the prompt, or take a model with a longer context"
        )


class _Texts(NamedTuple):
    prompt: str
    completion: str


class _Ids(NamedTuple):
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]


class _TooLong(NamedTuple):
    row: Row
    prompt: int
    reserve: int


class ChatFrame(NamedTuple):
    """What a chat template puts around a user's text, up to where the assistant begins."""

    before: str
    after: str


def chat_frame(tokenizer: TextTokenizer) -> ChatFrame:
    """The frame that `chat: true` puts around every prompt. Raises ConfigurationError without a template."""
    probe = "the text of the user"
    before, found, after = _chat(tokenizer, user=probe).partition(probe)
    if not found:
        raise ConfigurationError("the model's chat template does not repeat the user's text; set `chat: false`")
    return ChatFrame(before, after)


def _begin_ids(tokenizer: TextTokenizer) -> tuple[int, ...]:
    """What the tokenizer puts before a text; what it puts after one is not for a prompt."""
    probe = "a"
    marked = list(tokenizer(probe, add_special_tokens=True)["input_ids"])
    plain = list(tokenizer(probe, add_special_tokens=False)["input_ids"])
    for start in range(len(marked) - len(plain) + 1):
        if marked[start : start + len(plain)] == plain:
            return tuple(marked[:start])
    raise ConfigurationError(f"the tokenizer writes {probe!r} as {plain}, and with special tokens as {marked}")


def _end_of_text(tokenizer: TextTokenizer) -> int:
    if tokenizer.eos_token_id is None:
        raise ConfigurationError(
            "the tokenizer has no end token, and a model cannot learn where to stop; "
            "set eos_token in tokenizer_config.json"
        )
    return tokenizer.eos_token_id


def _turn_end(tokenizer: TextTokenizer) -> int:
    """The token that the chat template writes after an assistant's text, or the tokenizer's end token."""
    if not tokenizer.chat_template:
        raise ConfigurationError("a prompt has `chat: true`, and the model has no chat template; set it to false")
    question, answer = "question", "answer"
    before = _chat(tokenizer, user=question)
    whole = _chat(tokenizer, user=question, assistant=answer)
    if not whole.startswith(before + answer):
        raise ConfigurationError(
            f"the model's chat template does not go on from its generation prompt: {before!r} is not how {whole!r} "
            "begins, so what is learned would not be what is generated; set `chat: false` and write the turns yourself"
        )
    ids = tokenizer(whole[len(before + answer) :], add_special_tokens=False)["input_ids"]
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    ends = [token for token in ids if token in special]
    return ends[0] if ends else _end_of_text(tokenizer)


def _chat(tokenizer: TextTokenizer, *, user: str, assistant: str | None = None) -> str:
    """The conversation as text: up to where the assistant begins, or with its turn."""
    messages = [{"role": "user", "content": user}]
    if assistant is not None:
        messages.append({"role": "assistant", "content": assistant})
    template = _TODAY.sub(lambda call: repr(_DAY.strftime(call["format"])), tokenizer.get_chat_template())
    try:
        text: str = tokenizer.apply_chat_template(
            messages,
            chat_template=template,
            tokenize=False,
            add_generation_prompt=assistant is None,
            enable_thinking=False,  # Qwen 3 and others: the answer alone, without a reasoning block before it
        )
    except TemplateError as err:
        raise ConfigurationError(
            f"the model's chat template refuses a user and an assistant turn: {err}; set `chat: false`"
        ) from err
    return text

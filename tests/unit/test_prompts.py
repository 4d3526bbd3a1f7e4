"""The generation prefix is the training prefix, one end token, and the input alone is cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import BEGIN, END, TURN_END, TURN_START, byte_tokenizer

from job.contract.config import PromptTemplate, SplitRole
from job.contract.errors import ConfigurationError, DataError, SpecError
from job.data import Row
from job.prompts import EncodedRow, Encoder

COLUMNS: Mapping[Any, str] = {"id": "id", "input": "dialogue", "target": "summary"}
PLAIN = byte_tokenizer()
CHAT = byte_tokenizer(chat=True)
text = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="<"), max_size=40)


def row(dialogue: str, summary: str = "gist", example_id: str = "1") -> Row:
    fields = {"id": example_id, "dialogue": dialogue, "summary": summary}
    return Row(example_id=example_id, fields=fields, input=dialogue, target=summary)


def encoder(prompt: str = "{dialogue}\nTL;DR:", completion: str = " {summary}", **changes: Any) -> Encoder:
    settings = {"tokenizer": PLAIN, "columns": COLUMNS, "overflow": "error", "context": 256, "max_new_tokens": 16}
    template = PromptTemplate(prompt=prompt, completion=completion, chat=changes.pop("chat", False))
    return Encoder(template=template, **{**settings, **changes})


def encode_one(one: Encoder, example: Row, role: SplitRole = "test") -> EncodedRow:
    return one.encode([example], role=role).rows[0]


def words(ids: tuple[int, ...], tokenizer: Any = PLAIN) -> str:
    return str(tokenizer.decode(ids))


def test_prompt_and_completion_join_with_one_end_token() -> None:
    found = encode_one(encoder(), row("a: hi\nb: yo"))
    assert words(found.prompt_ids) == "a: hi\nb: yo\nTL;DR:"
    assert words(found.completion_ids) == f" gist{END}"
    assert found.completion_ids[-1] == encoder().end_token_id == PLAIN.eos_token_id


@pytest.mark.parametrize("blanks", [" ", "\n", " \n\t ", ""])
def test_blanks_at_the_end_of_the_prompt_belong_to_the_completion(blanks: str) -> None:
    found = encode_one(encoder(f"{{dialogue}} Summary:{blanks}", "{summary}"), row("hi"))
    assert words(found.prompt_ids) == "hi Summary:"
    assert words(found.completion_ids) == f"{blanks}gist{END}"


@given(dialogue=text, summary=text)
def test_the_prompt_of_training_is_the_prompt_of_generation(dialogue: str, summary: str) -> None:
    one = encoder(context=10_000)
    trained = encode_one(one, row(dialogue, summary), "train")
    scored = encode_one(one, row(dialogue, "something else"), "validation")
    assert trained.prompt_ids == scored.prompt_ids
    rendered = f"{dialogue}\nTL;DR:"
    whole = PLAIN(rendered.rstrip() + rendered[len(rendered.rstrip()) :] + f" {summary}")["input_ids"]
    assert [*trained.prompt_ids, *trained.completion_ids] == [*whole, PLAIN.eos_token_id]


def test_the_begin_token_comes_once() -> None:
    tokenizer = byte_tokenizer(begin=True)
    for prompt in ("{dialogue}:", f"{BEGIN}{{dialogue}}:"):
        found = encode_one(encoder(prompt, tokenizer=tokenizer), row("hi"))
        assert words(found.prompt_ids, tokenizer) == f"{BEGIN}hi:"
        assert found.completion_ids.count(tokenizer.bos_token_id) == 0


def test_a_tokenizer_that_also_adds_an_end_token_ends_no_prompt() -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = byte_tokenizer(begin=True)
    ids = [(BEGIN, tokenizer.bos_token_id), (END, tokenizer.convert_tokens_to_ids(END))]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{BEGIN} $A {END}", special_tokens=ids)
    assert tokenizer("a")["input_ids"][-1] == ids[1][1]
    found = encode_one(encoder("{dialogue}:", tokenizer=tokenizer), row("hi"))
    assert words(found.prompt_ids, tokenizer) == f"{BEGIN}hi:"
    assert words(found.completion_ids, tokenizer) == f" gist{END}"


def test_a_prompt_that_would_be_empty_is_refused() -> None:
    with pytest.raises(DataError, match="row '1': the prompt is empty"):
        encode_one(encoder(" ", "{dialogue}"), row("hi"))


def test_a_value_is_never_read_as_a_template() -> None:
    found = encode_one(encoder(), row("{{7*7}} {summary} {% x %}"))
    assert words(found.prompt_ids) == "{{7*7}} {summary} {% x %}\nTL;DR:"


def test_a_field_that_is_no_column_is_answered_with_the_columns() -> None:
    with pytest.raises(DataError, match=r"\{dialog\}.*did you mean 'dialogue'\?.*'dialogue', 'id', 'summary'"):
        encode_one(encoder("{dialog}"), row("hi"))
    with pytest.raises(SpecError):
        encoder("{dialogue.__class__}")


def test_a_prompt_must_not_show_the_reference() -> None:
    with pytest.raises(DataError, match=r"shown what it has to write; move \{summary\} to the completion"):
        encoder("{dialogue} {summary}")


def test_a_chat_prompt_ends_where_the_assistant_begins() -> None:
    one = encoder("Sum up:\n{dialogue}\n", chat=True, tokenizer=CHAT)
    found = encode_one(one, row("hi"))
    assert words(found.prompt_ids, CHAT) == (f"{TURN_START}user\nSum up:\nhi{TURN_END}\n{TURN_START}assistant\n")
    assert words(found.completion_ids, CHAT) == f"gist{TURN_END}"
    assert one.end_token_id == CHAT.convert_tokens_to_ids(TURN_END)


def test_the_end_of_a_turn_is_the_templates_not_the_tokenizers() -> None:
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.eos_token = END
    assert encoder(chat=True, tokenizer=tokenizer).end_token_id == tokenizer.convert_tokens_to_ids(TURN_END)


def test_the_end_of_a_turn_may_be_the_first_token_of_the_vocabulary() -> None:
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.chat_template = CHAT.chat_template.replace(TURN_END, END)
    assert tokenizer.convert_tokens_to_ids(END) == 0
    assert encoder(chat=True, tokenizer=tokenizer).end_token_id == 0


def test_a_template_without_an_end_of_turn_gets_the_tokenizers_end_token() -> None:
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}" + (
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    assert encoder(chat=True, tokenizer=tokenizer).end_token_id == tokenizer.eos_token_id


def test_a_template_that_prints_today_prints_the_same_day_for_ever() -> None:
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.chat_template = "{{ 'Today: ' + strftime_now('%d %b %Y') + '\n' }}" + CHAT.chat_template
    found = encode_one(encoder(chat=True, tokenizer=tokenizer), row("hi"))
    assert words(found.prompt_ids, tokenizer).startswith("Today: 26 Jul 2024\n")


def test_a_template_that_refuses_our_turns_is_an_error_with_its_words() -> None:
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.chat_template = "{{ raise_exception('no user turns here') }}"
    with pytest.raises(ConfigurationError, match="no user turns here; set `chat: false`"):
        encoder(chat=True, tokenizer=tokenizer)


def test_a_template_that_does_not_go_on_from_its_generation_prompt_is_refused() -> None:
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.chat_template = CHAT.chat_template.replace("assistant\n", "assistant\n<think>\n")
    with pytest.raises(ConfigurationError, match="does not go on from its generation prompt"):
        encoder(chat=True, tokenizer=tokenizer)


def test_chat_without_a_chat_template_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigurationError, match="no chat template; set it to false"):
        encoder(chat=True)


def test_a_tokenizer_without_an_end_token_is_refused() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ConfigurationError, match="no end token"):
        encoder(tokenizer=tokenizer)


# Prompt 'D TL;DR:' of n + 7 bytes; completion ' gist' and the end token: 6 tokens.
def test_a_train_row_has_to_fit_with_its_completion_and_a_scored_one_with_room_to_generate() -> None:
    one = encoder("{dialogue} TL;DR:", context=40, max_new_tokens=16)
    assert len(encode_one(one, row("d" * 27), "train").prompt_ids) == 34
    assert len(encode_one(one, row("d" * 17), "validation").prompt_ids) == 24
    sizes: dict[SplitRole, int] = {"train": 28, "validation": 18, "test": 18}
    for role, size in sizes.items():
        with pytest.raises(DataError, match=r"1 of 1 .* longer than the model's context of 40"):
            one.encode([row("d" * size)], role=role)
    long_target = encoder("{dialogue} TL;DR:", context=40, max_new_tokens=1)
    with pytest.raises(DataError, match="longer than the model's context"):
        encode_one(long_target, row("d" * 16, "s" * 20), "validation")


def test_the_message_about_long_rows_names_the_longest_and_the_remedies() -> None:
    rows = [row("d" * size, example_id=f"r{size}") for size in (10, 300, 500, 400)]
    with pytest.raises(DataError) as caught:
        encoder().encode(rows, role="train")
    message = str(caught.value)
    assert "3 of 4 train rows" in message
    assert "'r500': 507 tokens of prompt and 6 of its completion" in message
    assert "cut_left or cut_right or drop" in message


@pytest.mark.parametrize("overflow", ["cut_left", "cut_right"])
@pytest.mark.parametrize("chat", [False, True])
@given(dialogue=st.text(alphabet="ab \n\u00e9\u4e16\U0001f600", min_size=1, max_size=300).map(str.strip).filter(len))
def test_only_the_input_is_cut_and_the_result_fits(overflow: str, chat: bool, dialogue: str) -> None:
    one = encoder("Top {dialogue} End:", chat=chat, tokenizer=CHAT, overflow=overflow, context=120, max_new_tokens=20)
    split = one.encode([row(dialogue)], role="test")
    prompt = words(split.rows[0].prompt_ids, CHAT)
    assert len(split.rows[0].prompt_ids) + 20 <= 120
    start, end = prompt.index("Top ") + 4, prompt.index(" End:")
    kept = prompt[start:end]
    assert dialogue.endswith(kept) if overflow == "cut_left" else dialogue.startswith(kept)
    assert split.cut == (kept != dialogue)
    if split.cut:
        lost = dialogue[: -len(kept)] if overflow == "cut_left" else dialogue[len(kept) :]
        wasted = 120 - 20 - len(split.rows[0].prompt_ids) - (len(lost) - len(lost.strip()))
        assert wasted < 8  # a character is up to 4 tokens here, and is kept or lost whole


@pytest.mark.parametrize("overflow", ["cut_left", "cut_right"])
def test_every_prompt_scores_the_same_rows(overflow: str) -> None:
    rows = [row("x" * size, example_id=str(size)) for size in (1, 100, 250, 2000)]
    for prompt in ("{dialogue}:", "A much longer instruction for the model.\n{dialogue}\nSummary:"):
        split = encoder(prompt, overflow=overflow).encode(rows, role="validation")
        assert [one.example_id for one in split.rows] == ["1", "100", "250", "2000"]
        assert split.dropped == 0


def test_a_prompt_too_long_without_any_input_is_refused() -> None:
    with pytest.raises(DataError, match="row '1': without any input the prompt and 16 tokens"):
        encode_one(encoder("p" * 300 + "{dialogue}", overflow="cut_left"), row("hi"))


def test_a_prompt_without_the_input_cannot_be_cut() -> None:
    with pytest.raises(DataError, match=r"holds no \{dialogue\} that could be cut"):
        encode_one(encoder("{id} " + "p" * 300, overflow="cut_left"), row("hi"))


def test_a_tokenizer_without_offsets_cannot_cut() -> None:
    class Slow:
        is_fast = False

        def __getattr__(self, name: str) -> Any:
            return getattr(PLAIN, name)

        def __call__(self, text: Any, **options: Any) -> Any:
            return PLAIN(text, **options)

        def __len__(self) -> int:
            return len(PLAIN)

    with pytest.raises(ConfigurationError, match=r"set data\.overflow to error or drop"):
        encode_one(encoder(tokenizer=Slow(), overflow="cut_left"), row("d" * 300))


def test_drop_leaves_out_train_rows_and_counts_them() -> None:
    rows = [row("d" * size, example_id=str(size)) for size in (10, 300, 20)]
    split = encoder(overflow="drop").encode(rows, role="train")
    assert [one.example_id for one in split.rows] == ["10", "20"]
    assert (split.cut, split.dropped) == (0, 1)


def test_drop_never_leaves_out_a_scored_row_or_all_train_rows() -> None:
    one = encoder(overflow="drop")
    with pytest.raises(DataError, match="drop leaves out train rows only"):
        one.encode([row("d"), row("d" * 300)], role="validation")
    with pytest.raises(DataError, match="1 of 1 train rows"):
        one.encode([row("d" * 300)], role="train")


def test_many_rows_share_their_token_objects() -> None:
    split = encoder(context=2000).encode([row("caf\u00e9 " * 100) for _ in range(600)], role="train")
    assert len(split.rows) == 600
    assert len({id(token) for one in split.rows for token in one.prompt_ids + one.completion_ids}) < 300

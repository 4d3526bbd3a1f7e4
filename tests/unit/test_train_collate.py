"""Which tokens a training step sees, and which it learns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from job.prompts import EncodedRow
from job.reference.collate import IGNORED, longest_rows, training_batch

PAD = 0
TOKENS = st.lists(st.integers(0, 5), min_size=1, max_size=6).map(tuple)  # 0 is text as well as padding
ROWS = st.lists(
    st.builds(EncodedRow, example_id=st.just("row"), prompt_ids=TOKENS, completion_ids=TOKENS), min_size=1, max_size=5
)


@given(rows=ROWS)
def test_each_row_stands_at_the_left_and_padding_is_masked(rows: list[EncodedRow]) -> None:
    batch = training_batch(rows, pad_id=PAD)
    width = max(len(row.prompt_ids) + len(row.completion_ids) for row in rows)
    for index, row in enumerate(rows):
        text = [*row.prompt_ids, *row.completion_ids]
        assert batch["input_ids"][index].tolist() == text + [PAD] * (width - len(text))
        assert batch["attention_mask"][index].tolist() == [1] * len(text) + [0] * (width - len(text))


@given(rows=ROWS)
def test_the_completion_alone_is_learned_even_where_its_end_token_is_the_pad_token(rows: list[EncodedRow]) -> None:
    batch = training_batch(rows, pad_id=PAD)
    for index, row in enumerate(rows):
        start, end = len(row.prompt_ids), len(row.prompt_ids) + len(row.completion_ids)
        labels = batch["labels"][index].tolist()
        assert labels[start:end] == list(row.completion_ids)
        assert set(labels[:start] + labels[end:]) <= {IGNORED}


@given(rows=ROWS)
def test_positions_are_those_before_a_target_of_any_row(rows: list[EncodedRow]) -> None:
    batch = training_batch(rows, pad_id=PAD)
    expected = {
        position - 1
        for row in rows
        for position in range(len(row.prompt_ids), len(row.prompt_ids) + len(row.completion_ids))
    }
    assert batch["positions"].tolist() == sorted(expected)


def test_the_first_token_of_a_row_without_a_prompt_is_no_target() -> None:
    row = EncodedRow(example_id="row", prompt_ids=(), completion_ids=(7, 8))
    assert training_batch([row], pad_id=PAD)["labels"].tolist() == [[IGNORED, 8]]


def test_longest_rows_are_by_prompt_and_completion_together() -> None:
    rows = [
        EncodedRow(example_id=name, prompt_ids=(1,) * prompt, completion_ids=(2,) * completion)
        for name, prompt, completion in (("a", 3, 1), ("b", 1, 5), ("c", 2, 2), ("d", 4, 4))
    ]
    assert [row.example_id for row in longest_rows(rows, count=3)] == ["d", "b", "a"]  # type: ignore[attr-defined]  # the protocol knows the ids of tokens only

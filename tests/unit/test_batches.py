"""Rows in batches: each once, like lengths together, little padding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from job.contract.errors import GpuMemoryError
from job.evaluation.batches import left_padded, length_batches, length_runs, right_padded, run_batches

LENGTHS = st.lists(st.integers(1, 400), max_size=60)


@given(LENGTHS, st.integers(1, 20))
def test_every_row_is_in_one_batch_and_the_longest_come_first(lengths: list[int], size: int) -> None:
    batches = length_batches(lengths, size=size)

    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[index] for index in order] == sorted(lengths, reverse=True)
    assert all(len(batch) == size for batch in batches[:-1])


@given(LENGTHS, st.integers(1, 20))
def test_rows_with_different_keys_never_meet(lengths: list[int], size: int) -> None:
    batches = length_batches(lengths, size=size, key=lambda index: lengths[index] % 3)

    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len({lengths[index] % 3 for index in batch}) == 1 for batch in batches)


@given(LENGTHS)
def test_runs_cover_all_rows_and_waste_little(lengths: list[int]) -> None:
    lengths = sorted(lengths, reverse=True)
    runs = length_runs(lengths, waste=0.1)

    assert [length for run in runs for length in lengths[run]] == lengths
    for run in runs:
        assert lengths[run][0] * len(lengths[run]) <= sum(lengths[run]) * 1.1


def test_padding_is_masked_and_positions_count_tokens_alone() -> None:
    left = left_padded([(5, 6, 7), (8,)], pad_id=0, device=torch.device("cpu"))
    right = right_padded([(5, 6, 7), (8,)], pad_id=0, device=torch.device("cpu"))

    assert left.ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert left.mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert left.positions.tolist() == [[0, 1, 2], [0, 0, 0]]
    assert right.ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert right.mask.tolist() == [[1, 1, 1], [1, 0, 0]]


@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 12))
def test_batches_shrink_until_they_fit_and_stay_small(rows: int, size: int, room: int) -> None:
    done: list[int] = []
    failures: list[int] = []

    def work(batch: tuple[int, ...]) -> None:
        if len(batch) > room:
            failures.append(len(batch))
            raise torch.OutOfMemoryError("CUDA out of memory.")
        done.extend(batch)

    run_batches(length_batches([1] * rows, size=size), work=work)

    assert sorted(done) == list(range(rows))
    assert failures == sorted(failures, reverse=True)
    assert len(failures) <= 4, "12 halves to 1 in three or four failures, and no size is tried again"


def test_a_row_that_never_fits_is_named_as_a_matter_of_memory() -> None:
    def work(batch: tuple[int, ...]) -> None:
        raise torch.OutOfMemoryError(f"CUDA out of memory for {len(batch)}.\nmore")

    with pytest.raises(GpuMemoryError, match=r"single row does not fit .* out of memory for 1\.; lower"):
        run_batches([(0, 1, 2)], work=work)

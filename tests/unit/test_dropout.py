"""Masks of the adapter's dropout: a function of seed, step, micro-batch, row and layer alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from job.dropout import DropoutPlace, KeyedDropout, RowPlace, dropped, layer_key

HERE = RowPlace(seed=7, step=3, micro_batch=1, row=2)
LAYER = layer_key("transformer.h.0.attn.c_attn")


def mask(place: RowPlace, *, ratio: float = 0.5, tokens: int = 40, width: int = 50, layer: int = LAYER) -> torch.Tensor:
    """Where something is left of one row of ones."""
    return dropped(torch.ones(1, tokens, width), rows=[place], ratios=[ratio], layer=layer)[0] != 0


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.5, 0.9])
def test_the_share_that_is_dropped_is_the_ratio_and_the_mean_is_kept(ratio: float) -> None:
    x = torch.ones(4, 500, 100, dtype=torch.float64)
    left = dropped(x, rows=[HERE._replace(row=row) for row in range(4)], ratios=[ratio] * 4, layer=LAYER)
    error = 4 * (ratio * (1 - ratio) / x.numel()) ** 0.5
    assert (left == 0).double().mean().item() == pytest.approx(ratio, abs=error)
    assert left.mean().item() == pytest.approx(1.0, abs=error / (1 - ratio))


@pytest.mark.parametrize(
    "other",
    [HERE._replace(seed=8), HERE._replace(step=4), HERE._replace(micro_batch=2), HERE._replace(row=3)],
    ids=["seed", "step", "micro_batch", "row"],
)
def test_another_place_has_a_mask_of_its_own(other: RowPlace) -> None:
    agree = (mask(HERE) == mask(other)).double().mean().item()
    assert agree == pytest.approx(0.5, abs=4 * 0.5 / 2000**0.5)


def test_another_layer_has_a_mask_of_its_own() -> None:
    agree = (mask(HERE) == mask(HERE, layer=layer_key("transformer.h.1.attn.c_attn"))).double().mean().item()
    assert agree == pytest.approx(0.5, abs=4 * 0.5 / 2000**0.5)


@given(tokens=st.integers(1, 9), more=st.integers(0, 9), width=st.integers(1, 9), before=st.integers(0, 3))
def test_padding_and_other_rows_change_nothing(tokens: int, more: int, width: int, before: int) -> None:
    alone = mask(HERE, tokens=tokens, width=width)
    others = [HERE._replace(row=10 + row) for row in range(before)]
    x = torch.ones(before + 2, tokens + more, width)
    beside = dropped(x, rows=[*others, HERE, None], ratios=[0.9] * before + [0.5, 0.9], layer=LAYER)
    assert torch.equal(beside[before, :tokens] != 0, alone)
    assert torch.equal(beside[-1], torch.ones(tokens + more, width) / (1 - round(0.9 * 65536) / 65536))


def test_rows_may_come_as_one_list_of_tokens() -> None:
    x = torch.randn(3, 5, 4)
    rows = [HERE._replace(row=row) for row in range(3)]
    whole = dropped(x, rows=rows, ratios=[0.5] * 3, layer=LAYER)
    assert torch.equal(dropped(x.view(15, 4), rows=rows, ratios=[0.5] * 3, layer=LAYER), whole.view(15, 4))


def test_consecutive_rows_do_not_repeat_one_another_later_on() -> None:
    """A counter that ran over into the next row's would show its mask shifted."""
    rows = [mask(HERE._replace(row=row), tokens=400).flatten() for row in range(3)]
    for first, second in pairwise(rows):
        for shift in (4, 16, 64, 4096):
            agree = (first[shift:] == second[:-shift]).double().mean().item()
            assert agree == pytest.approx(0.5, abs=5 * 0.5 / (len(first) - shift) ** 0.5)


def test_the_layer_drops_in_training_alone() -> None:
    place = DropoutPlace()
    place.rows = (HERE,)
    layer = KeyedDropout(0.5, layer="h.0", place=place)
    x = torch.ones(1, 10, 10)
    assert torch.equal(layer.eval()(x), x)
    assert (layer.train()(x) == 0).any()


def test_what_is_dropped_gets_no_gradient() -> None:
    x = torch.ones(1, 10, 10, requires_grad=True)
    y = dropped(x, rows=[HERE], ratios=[0.5], layer=LAYER)
    y.sum().backward()  # type: ignore[no-untyped-call]  # torch
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())

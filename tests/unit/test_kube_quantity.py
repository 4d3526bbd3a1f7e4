"""Quantities, by the examples and the grammar of the Kubernetes documentation."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.kube.quantity import quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", "2"), ("0.5", "0.5"), (".5", "0.5"), ("500m", "0.5"), ("100k", "100000"), ("1Ki", "1024"),
        ("16Gi", str(16 * 2**30)),
        ("1.5Gi", str(3 * 2**29)), ("1e3", "1000"), ("12E6", "12000000"), ("3E", str(3 * 10**18)),
        ("-1", "-1"), ("5n", "0.000000005"),
    ],
)  # fmt: skip
def test_a_quantity_is_the_number_that_kubernetes_reads(text: str, number: str) -> None:
    assert quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "16GB", "1 Gi", "Gi", "1ki", "0x10", "1e", "٣", "1.2.3", "1e999"])
def test_what_is_no_quantity_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        quantity(text)


@given(st.integers(0, 10**6), st.sampled_from(["", "k", "M", "Ki", "Mi", "Gi"]))
def test_more_of_a_unit_is_a_larger_quantity(number: int, suffix: str) -> None:
    assert quantity(f"{number + 1}{suffix}") > quantity(f"{number}{suffix}")

"""Names of submissions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.names import NAME_LIMIT, Naming

IDS = ("0123456789ab", "ba9876543210")


def test_a_name_is_sweep_hash_and_number() -> None:
    assert Naming("/runs", "demo", "main").submission(IDS, 3) == "demo-5eae5d1f-3"


def test_the_order_of_trials_and_a_slash_after_the_root_change_nothing() -> None:
    assert Naming("/runs/", "demo", "main").submission(IDS[::-1], 1) == Naming("/runs", "demo", "main").submission(
        IDS, 1
    )


@pytest.mark.parametrize(
    ("root", "run", "trials"),
    [("/other", "main", IDS), ("/runs", "20260102-0304z", IDS), ("/runs", "main", IDS[:1])],
)
def test_another_store_run_or_group_has_another_name(root: str, run: str, trials: tuple[str, ...]) -> None:
    assert Naming(root, "demo", run).submission(trials, 1) != Naming("/runs", "demo", "main").submission(IDS, 1)


@given(
    sweep=st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True),
    number=st.integers(min_value=1, max_value=9_999_999),
)
def test_every_name_fits_a_label_with_room_for_a_pods_suffix(sweep: str, number: int) -> None:
    name = Naming("s3://bucket/root", sweep, "main").submission(IDS, number)
    assert len(name) <= NAME_LIMIT
    assert name == name.lower()
    assert not name.startswith("-")


@pytest.mark.parametrize("sweep", ["", "../x", "A", "-a", "a" * 41, "a_b", "a\n"])
def test_a_sweep_that_is_no_label_has_no_names(sweep: str) -> None:
    with pytest.raises(ValueError, match="DNS-1123"):
        Naming("/runs", sweep, "main").submission(IDS, 1)


def test_numbers_begin_at_one() -> None:
    with pytest.raises(ValueError, match="below 1"):
        Naming("/runs", "demo", "main").submission(IDS, 0)

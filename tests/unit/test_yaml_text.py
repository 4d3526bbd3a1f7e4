"""YAML that is written reads back as what it was made from, and looks as a person would write it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hostile import HOSTILE
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.spec.yaml_text import inline, yaml_text
from controller.spec.yaml_tree import TreeValue, parse_yaml

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
TEXT = st.one_of(
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=30),
    st.sampled_from([text for text in HOSTILE if "\ud800" not in text]),
    st.sampled_from(["null", "~", "yes", "true", "1e5", "0x1f", "-", "---", "...", ".inf", "a: b", "a #b", "- a", ""]),
)
SCALAR = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**38), 10**38), st.floats(allow_nan=False, allow_infinity=False), TEXT
)
VALUE = st.recursive(
    SCALAR, lambda part: st.lists(part, max_size=4) | st.dictionaries(TEXT, part, max_size=4), max_leaves=20
)


@settings(deadline=None)  # ruamel's scanner takes its time for the largest
@given(tree=st.dictionaries(TEXT, VALUE, max_size=5))
def test_what_is_written_reads_back_the_same(tree: dict[str, TreeValue]) -> None:
    text = yaml_text(tree)
    assert parse_yaml(text.encode(), name="written").value == tree
    assert parse_yaml(f"key: {inline(tree)}".encode(), name="written").value == {"key": tree}


@given(text=TEXT)
def test_no_character_that_misleads_stands_in_it(text: str) -> None:
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]", inline(text))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_keeps_its_values_and_its_lines_short(path: Path) -> None:
    tree = parse_yaml(path.read_bytes(), name=path.name).value
    assert isinstance(tree, dict)
    text = yaml_text(tree)
    assert parse_yaml(text.encode(), name="written").value == tree
    assert all(len(line) < 200 for line in text.splitlines())


def test_short_parts_stand_in_a_line_and_long_ones_in_a_block() -> None:
    tree: dict[str, TreeValue] = {
        "version": 1,
        "name": "quick start",
        "vary": {"grid": {"training.learning_rate": [5e-4, 2e-4]}, "seeds": [0]},
        "prompts": {"v1": {"prompt": "Sum up.\n{dialogue}", "completion": " {summary}"}},
        "paired": [{"lora.r": [8, 64]}],
    }
    assert yaml_text(tree).splitlines() == [
        "version: 1",
        "name: quick start",
        "vary:",
        "  grid: {training.learning_rate: [5e-4, 2e-4]}",
        "  seeds: [0]",
        "prompts:",
        '  v1: {prompt: "Sum up.\\n{dialogue}", completion: " {summary}"}',
        "paired: [{lora.r: [8, 64]}]",
    ]

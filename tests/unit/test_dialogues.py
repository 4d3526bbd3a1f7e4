"""The dialogues that ship with the project: reproducible, varied, without leaks, not won by copying the start."""

from __future__ import annotations

import importlib
import json
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from statistics import mean, median
from types import ModuleType
from typing import NamedTuple

import pytest
from rouge_score.rouge_scorer import RougeScorer

FOLDER = Path(__file__).parents[2] / "examples" / "dialogues"
COUNTS = {"train": 256, "validation": 64, "test": 200}
TOKENS_PER_PIECE = 1.11  # of the SmolLM2 tokenizer, measured; see generate.py


class Row(NamedTuple):
    id: str
    dialogue: str
    summary: str

    @property
    def turns(self) -> list[str]:
        return self.dialogue.split("\n")

    @property
    def speakers(self) -> set[str]:
        return {turn.partition(": ")[0] for turn in self.turns}


def read_rows(split: str) -> list[Row]:
    lines = (FOLDER / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [Row(**json.loads(line)) for line in lines]


def bare(text: str) -> str:
    return re.sub(r"\W+", " ", text.lower()).strip()


def tokens(text: str) -> float:
    return len(re.findall(r"[A-Za-z]+|\d|[^\w\s]+|\n", text)) * TOKENS_PER_PIECE


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Row]]:
    return {split: read_rows(split) for split in COUNTS}


@pytest.fixture(scope="module")
def rows(splits: dict[str, list[Row]]) -> list[Row]:
    return [row for split in splits.values() for row in split]


@pytest.fixture(scope="module")
def generator() -> Iterator[ModuleType]:
    """The generator as a module; its siblings are imported the way the script imports them."""
    sys.path.insert(0, str(FOLDER))
    before = set(sys.modules)
    try:
        yield importlib.import_module("generate")
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - before:
            if Path(getattr(sys.modules[name], "__file__", None) or "").parent == FOLDER:
                del sys.modules[name]


def test_generator_writes_the_committed_bytes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(FOLDER / "generate.py"), "--out", str(tmp_path)], check=True, timeout=60)
    for split in COUNTS:
        written, committed = (folder / f"{split}.jsonl" for folder in (tmp_path, FOLDER))
        assert written.read_bytes() == committed.read_bytes(), "run `python examples/dialogues/generate.py` and commit"


def test_another_seed_gives_other_dialogues(generator: ModuleType, rows: list[Row]) -> None:
    library = generator.read_library(FOLDER)
    other = generator.draw_splits(library, seed=generator.SEED + 1)
    drawn = {conversation.dialogue for split in other.values() for conversation in split}
    assert len(drawn & {row.dialogue for row in rows}) < len(rows) * 0.02


def test_splits_have_their_counts_and_ids_are_unique(splits: dict[str, list[Row]], rows: list[Row]) -> None:
    assert {split: len(members) for split, members in splits.items()} == COUNTS
    assert len({row.id for row in rows}) == len(rows)


def test_no_dialogue_or_summary_occurs_twice_in_any_split(rows: list[Row]) -> None:
    for texts in ([bare(row.dialogue) for row in rows], [bare(row.summary) for row in rows]):
        assert [text for text, count in Counter(texts).items() if count > 1] == []


def test_two_to_four_people_speak_four_to_twelve_times_and_all_of_them_say_something(rows: list[Row]) -> None:
    for row in rows:
        assert 4 <= len(row.turns) <= 12, row.id
        assert 2 <= len(row.speakers) <= 4, row.id
        assert all(re.fullmatch(r"[A-Z][a-z]+: \S.*\S|[A-Z][a-z]+: \S", turn) for turn in row.turns), row.id
    assert set(Counter(len(row.speakers) for row in rows)) == {2, 3, 4}
    assert len({len(row.turns) for row in rows}) >= 7


def test_most_dialogues_are_under_96_tokens(rows: list[Row]) -> None:
    lengths = sorted(tokens(row.dialogue) for row in rows)
    assert 70 <= median(lengths) <= 88
    assert lengths[int(0.85 * len(lengths))] <= 96
    assert lengths[-1] <= 120


def test_summaries_are_one_or_two_sentences_of_10_to_25_words(rows: list[Row]) -> None:
    for row in rows:
        assert 10 <= len(row.summary.split()) <= 25, row.id
        assert row.summary.endswith(".") and row.summary.lstrip('"')[0].isupper(), row.id
        assert len(re.findall(r"\.(?: |$)", row.summary)) <= 2, row.id


def test_no_template_notation_is_left_in_a_row(rows: list[Row]) -> None:
    for row in rows:
        text = row.dialogue + "\n" + row.summary
        assert not re.search(r"[\[\]{}|~]|  | [,.!?]| '(?:ll|m)\b|[!?][.,]|:D\.", text), row.id


def test_summaries_speak_of_people_who_are_in_the_dialogue_or_named_in_it(rows: list[Row]) -> None:
    names = {
        name for line in (FOLDER / "names.txt").read_text().splitlines()[1:] for name in line.split(":")[1].split()
    }
    for row in rows:
        mentioned = names & set(re.findall(r"[A-Z][a-z]+", row.summary))
        assert mentioned & row.speakers, row.id
        assert {name.lower() for name in mentioned} <= set(re.findall(r"[a-z]+", row.dialogue.lower())), row.id


def test_every_split_has_every_kind_and_no_template_dominates(generator: ModuleType) -> None:
    library = generator.read_library(FOLDER)
    assert len(library.kinds) >= 12
    splits = generator.draw_splits(library, seed=generator.SEED)
    for conversations in splits.values():
        assert {conversation.template.kind for conversation in conversations} == set(library.kinds)
    used = Counter(conversation.template for split in splits.values() for conversation in split)
    assert max(used.values()) <= 0.03 * sum(used.values())


def test_every_template_makes_a_row_within_bounds_that_says_only_what_was_said(generator: ModuleType) -> None:
    library = generator.read_library(FOLDER)
    rng = random.Random(3)  # noqa: S311  (data, not secrets)
    for kind in library.kinds:
        for template in generator.templates(library, kind):
            drawn = [generator.compose(library, template, rng=rng) for _ in range(12)]  # raises for a fact never said
            fitting = [one for one in drawn if tokens(one.dialogue) <= 120 and 10 <= len(one.summary.split()) <= 25]
            assert len(fitting) >= 4, template


def test_every_word_of_a_kind_is_used(generator: ModuleType) -> None:
    library = generator.read_library(FOLDER)
    for kind, script in library.kinds.items():
        text = (FOLDER / "kinds" / f"{kind}.txt").read_text(encoding="utf-8")
        assert [word for word in script.words if not re.search(rf"\{{\^?{word}\d?\}}", text)] == [], kind


def test_words_and_openings_are_varied(rows: list[Row]) -> None:
    """Distinct first utterances without names, and the summary's words without names, times and places."""
    openings = Counter(bare(row.turns[0].partition(": ")[2]) for row in rows)
    assert max(openings.values()) <= 0.03 * len(rows)
    vocabulary = Counter(word for row in rows for word in set(bare(row.summary).split()))
    assert len(vocabulary) >= 700


def test_first_three_utterances_are_a_poor_summary(splits: dict[str, list[Row]]) -> None:
    """Lead-3 against the best up to three utterances of the same dialogue, on the test rows."""
    scorer = RougeScorer(["rougeL"], use_stemmer=True)

    def score(row: Row, turns: tuple[str, ...]) -> float:
        return float(scorer.score(row.summary, "\n".join(turns))["rougeL"].fmeasure)

    leads = [score(row, tuple(row.turns[:3])) for row in splits["test"]]
    sample = splits["test"][:40]  # the oracle tries up to 300 choices a row
    oracle = mean(max(score(row, some) for n in (1, 2, 3) for some in combinations(row.turns, n)) for row in sample)
    assert mean(leads) < 0.30
    assert oracle > mean(leads[: len(sample)]) + 0.10


def test_generator_draws_by_the_one_method_python_promises_to_keep() -> None:
    """Other methods of `random.Random` may give other values in another Python version."""
    code = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py"))
    assert set(re.findall(r"\brng\.(\w+)", code)) == {"random"}
    assert set(re.findall(r"\brandom\.(\w+)\(", code)) == {"Random"}

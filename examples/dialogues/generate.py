"""Writes train.jsonl, validation.jsonl and test.jsonl: short chats between invented people, each with a summary.

    python examples/dialogues/generate.py

The same bytes each time, on any Python from 3.11 on. `--out` writes somewhere else than beside this file.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

from conversation import Conversation, Library, Template, compose, read_library, templates
from grammar import shuffled

HERE = Path(__file__).resolve().parent
SEED = 20
SPLITS = {"train": 256, "validation": 64, "test": 200}

TURNS = range(4, 13)
SUMMARY_WORDS = range(10, 26)
SHORT_TOKENS, LONG_TOKENS = 94, 118
LONG_RATE = 0.1  # of the rows may have up to LONG_TOKENS, the others up to SHORT_TOKENS
# Tokens of the SmolLM2 tokenizer per piece of `_PIECE`: the median over 4,800 dialogues of this generator, 90 % of them
# within 1.02 to 1.20.
_TOKENS_PER_PIECE = 1.11
_PIECE = re.compile(r"[A-Za-z]+|\d|[^\w\s]+|\n")


def draw_splits(library: Library, *, seed: int) -> dict[str, list[Conversation]]:
    """The conversations of every split; no dialogue and no summary comes twice, in any split."""
    rng = random.Random(seed)  # noqa: S311  (data, not secrets)
    seen: set[str] = set()
    return {
        split: [_draw_new(library, template, seen=seen, rng=rng) for template in _deal(library, count=count, rng=rng)]
        for split, count in SPLITS.items()
    }


def _deal(library: Library, *, count: int, rng: random.Random) -> Iterator[Template]:
    """Templates in rounds of one per kind; a kind's templates come again only after all had their turn."""
    decks: dict[str, list[Template]] = {kind: [] for kind in library.kinds}
    dealt = 0
    while dealt < count:
        for kind in shuffled(rng, list(library.kinds))[: count - dealt]:
            decks[kind] = decks[kind] or shuffled(rng, templates(library, kind))
            yield decks[kind].pop()
            dealt += 1


def _draw_new(library: Library, template: Template, *, seen: set[str], rng: random.Random) -> Conversation:
    """The first conversation within bounds whose dialogue and summary were not seen; adds both to the seen."""
    max_tokens = LONG_TOKENS if rng.random() < LONG_RATE else SHORT_TOKENS
    while True:
        conversation = compose(library, template, rng=rng)
        texts = {_bare(conversation.dialogue), _bare(conversation.summary)}
        if _within_bounds(conversation, max_tokens=max_tokens) and not texts & seen:
            seen |= texts
            return conversation


def estimate_tokens(text: str) -> float:
    """About how many tokens the SmolLM2 tokenizer makes of the text."""
    return len(_PIECE.findall(text)) * _TOKENS_PER_PIECE


def _within_bounds(conversation: Conversation, *, max_tokens: int) -> bool:
    return (
        conversation.dialogue.count("\n") + 1 in TURNS
        and estimate_tokens(conversation.dialogue) <= max_tokens
        and len(conversation.summary.split()) in SUMMARY_WORDS
    )


def _bare(text: str) -> str:
    """The text without case, spaces and punctuation, so that near-copies count as copies."""
    return "".join(char for char in text.lower() if char.isalnum())


def write_splits(splits: dict[str, list[Conversation]], *, folder: Path) -> None:
    """One JSON object a line and one file a split, with `\\n` line ends on every system."""
    for split, conversations in splits.items():
        rows = (
            {"id": f"{split}-{number:03d}", "dialogue": conversation.dialogue, "summary": conversation.summary}
            for number, conversation in enumerate(conversations, start=1)
        )
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_bytes(text.encode("utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the example dialogues as train, validation and test JSONL.")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: beside this file)")
    write_splits(draw_splits(read_library(HERE), seed=SEED), folder=parser.parse_args().out)


if __name__ == "__main__":
    main()

"""A Markdown text cut to a number of bytes: by whole sections, paragraphs, rows and items, and saying what is missing.

Sections are kept in the order of their rank. One that does not fit gets at most half of the room there is, so that a
long list of failures does not cost everything after it; what is over in the end goes to the first that was cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from job.contract.errors import SpecError

__all__ = ["Part", "fitted"]

_CUT = "*This section is cut here.*"
_LONGEST = 10**9
"""Bytes, as long to write as any number of them: what is needed does not depend on what is asked for."""


class Part(NamedTuple):
    """A section."""

    name: str
    """What it is called where it was left out."""
    rank: int
    """0: always whole. Of the others, the smaller rank is kept first."""
    blocks: tuple[str, ...]
    """Headings, paragraphs, lists, tables, blocks of code, folded parts; a blank line between two is all they need."""


def fitted(parts: Sequence[Part], *, max_bytes: int, whole_at: str) -> str:
    """The sections in their order, with a final newline, in at most `max_bytes` bytes.

    `whole_at` is where all of it is, as Markdown. Raises SpecError when not even the sections of rank 0 fit.
    """
    whole = _joined(part.blocks for part in parts)
    if len(whole.encode()) <= max_bytes:
        return whole
    present = [part for part in parts if part.blocks]
    every = [part.name for part in present if part.rank]
    note_room = _cost((_note(max(max_bytes, _LONGEST), cut=every, left_out=every, whole_at=whole_at),))
    kept = {place: part.blocks for place, part in enumerate(present) if part.rank == 0}
    least = sum(map(_cost, kept.values())) + note_room
    room = max_bytes - least
    if room < 0:
        raise SpecError(
            f"report.md cannot be cut to {max_bytes:,} bytes: its title, its verdict and the line that says what was "
            f"left out take {least:,}; give --max-bytes {least} or more"
        )
    order = sorted((place for place in range(len(present)) if place not in kept), key=lambda at: present[at].rank)
    for share in (2, 1):
        for place in order:
            before = _cost(kept.get(place, ()))
            kept[place] = _within(present[place].blocks, room + before, share=share)
            room += before - _cost(kept[place])
    cut = [part.name for place, part in enumerate(present) if kept[place] and kept[place] != part.blocks]
    left_out = [part.name for place, part in enumerate(present) if not kept[place]]
    note = _note(max_bytes, cut=cut, left_out=left_out, whole_at=whole_at)
    return _joined([*(kept[place] for place in range(len(present))), (note,)])


def _joined(sections: Iterable[Sequence[str]]) -> str:
    return "\n\n".join(block for blocks in sections for block in blocks) + "\n"


def _cost(blocks: Sequence[str]) -> int:
    """Bytes, with the blank line after each."""
    return sum(len(block.encode()) + 2 for block in blocks)


def _note(max_bytes: int, *, cut: Sequence[str], left_out: Sequence[str], whole_at: str) -> str:
    said = f"*Cut to {max_bytes:,} bytes."
    said += f" Shortened: {', '.join(cut)}." if cut else ""
    said += f" Left out: {', '.join(left_out)}." if left_out else ""
    return f"{said}* All of it is in {whole_at}."


def _within(blocks: tuple[str, ...], room: int, *, share: int) -> tuple[str, ...]:
    """All of the blocks if they fit, else the first of them in that share of the room, and a word that it was cut."""
    if _cost(blocks) <= room:
        return blocks
    left = room // share - _cost((_CUT,))
    kept: list[str] = []
    for block in blocks:
        piece = block if _cost((block,)) <= left else _piece(block, left)
        if piece:
            kept.append(piece)
        if piece != block:
            break
        left -= _cost((block,))
    while kept and _leads(kept[-1]):
        kept.pop()
    return (*kept, _CUT) if kept else ()


def _piece(block: str, room: int) -> str:
    """The first rows of a table, or the first items of a list, that fit; empty where none does."""
    lines = block.split("\n")
    fixed = 2 if lines[0].startswith("| ") else 0
    if not fixed and not all(line.startswith("- ") for line in lines):
        return ""
    size = 1
    for count, line in enumerate(lines):
        size += len(line.encode()) + 1
        if size > room:
            return "\n".join(lines[:count]) if count > fixed else ""
    return block


def _leads(block: str) -> bool:
    """Whether it only says what comes next."""
    return block.startswith("#") or (block.startswith("**") and block.endswith("**"))

"""One optimizer step of all lanes as forward passes: the same number of rows of each lane, lane after lane.

Rows are re-ordered within the step, longest first, so that the rows of a pass are of like length in every lane; which
mask a row gets was settled before. Whatever is missing to a full rectangle is a row of padding that trains nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from job.dropout import RowPlace
from job.reference.collate import IGNORED, TokenRow

__all__ = ["LaneWindow", "Pass", "PlacedRow", "passes"]


class PlacedRow(NamedTuple):
    """A row, and where its trial's own order has it."""

    row: TokenRow
    place: RowPlace

    @property
    def tokens(self) -> int:
        return len(self.row.prompt_ids) + len(self.row.completion_ids)

    @property
    def targets(self) -> int:
        """Tokens in the loss; before the first token of a text there is nothing that could predict it."""
        return len(self.row.completion_ids) - (not self.row.prompt_ids)


class LaneWindow(NamedTuple):
    """All rows of one lane's optimizer step, in their order; none where the lane has nothing to train."""

    rows: tuple[PlacedRow, ...]

    @property
    def tokens(self) -> int:
        return sum(row.tokens for row in self.rows)

    @property
    def targets(self) -> int:
        """What the step's summed loss is divided by."""
        return sum(row.targets for row in self.rows)


class Pass(NamedTuple):
    """One forward pass of K lanes x B rows x T positions, of which at most M in a lane predict a target."""

    ids: torch.Tensor
    """(K * B, T)"""
    mask: torch.Tensor
    """(K * B, T); 0 where padding is."""
    positions: torch.Tensor
    """(K, M): places in the lane's B * T positions whose next token is a target."""
    targets: torch.Tensor
    """(K, M): those tokens; IGNORED beyond the lane's last one."""
    rows: tuple[RowPlace | None, ...]
    """K * B; None where padding fills the rectangle."""

    def to(self, device: torch.device) -> Pass:
        """With its tensors there."""
        ids, mask, positions, targets = (part.to(device, non_blocking=True) for part in self[:4])
        return Pass(ids, mask, positions, targets, self.rows)


def passes(windows: Sequence[LaneWindow], *, rows_at_once: int, pad_id: int) -> Iterator[Pass]:
    """The passes of a step, the longest rows first; at most `rows_at_once` of each lane in one."""
    ordered = [sorted(window.rows, key=lambda one: -one.tokens) for window in windows]
    for at in range(0, max(map(len, ordered)), rows_at_once):
        yield _pass([rows[at : at + rows_at_once] for rows in ordered], pad_id=pad_id)


def _pass(lanes: Sequence[Sequence[PlacedRow]], *, pad_id: int) -> Pass:
    of_each = max(map(len, lanes))
    width = max(row.tokens for rows in lanes for row in rows)
    ids = torch.full((len(lanes), of_each, width), pad_id)
    mask = torch.zeros((len(lanes), of_each, width), dtype=torch.long)
    mask[:, :, 0] = 1  # a row that attends to nothing would be NaN, and zero times NaN is no zero gradient
    places: list[RowPlace | None] = []
    positions: list[list[int]] = []
    targets: list[list[int]] = []
    for lane, rows in enumerate(lanes):
        positions.append([])
        targets.append([])
        for index, (row, _) in enumerate(rows):
            start, text = len(row.prompt_ids), (*row.prompt_ids, *row.completion_ids)
            ids[lane, index, : len(text)] = torch.tensor(text)
            mask[lane, index, : len(text)] = 1
            first = max(start, 1)
            positions[-1] += range(index * width + first - 1, index * width + len(text) - 1)
            targets[-1] += text[first:]
        places += [row.place for row in rows] + [None] * (of_each - len(rows))
    return Pass(
        ids=ids.flatten(0, 1),
        mask=mask.flatten(0, 1),
        positions=_rectangle(positions, fill=0),
        targets=_rectangle(targets, fill=IGNORED),
        rows=tuple(places),
    )


def _rectangle(lists: Sequence[Sequence[int]], *, fill: int) -> torch.Tensor:
    width = max(map(len, lists))
    return torch.tensor([[*one, *[fill] * (width - len(one))] for one in lists])

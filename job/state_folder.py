"""A checkpoint's files, of either engine: tensors, the history of steps, and what the caller adds. No pickle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors

from job.contract.base import Frozen
from job.contract.documents import StepRecord, parse, to_json
from job.contract.errors import ResultError
from job.store.whole_file import explained

__all__ = ["StateFolder", "damage_explained"]

_EXTRA = "extra"
_HISTORY = "history.jsonl"
_NUMBERS = "state.json"


class StateFolder:
    """Writing raises TransientError naming the file and the free bytes when the disk is full; reading raises
    ResultError for a file that is not there, and whatever a damaged one gives (see `damage_explained`).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write_tensors(self, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """`<name>.safetensors`."""
        on_cpu = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        self._write(f"{name}.safetensors", dump_tensors(on_cpu))

    def write_rest(self, *, history: Sequence[StepRecord], extra: Mapping[str, bytes], numbers: Frozen) -> None:
        """One record per step, files that are opaque here, and state.json."""
        self._write(_HISTORY, "".join(record.model_dump_json() + "\n" for record in history).encode())
        for name, body in extra.items():
            self._write(f"{_EXTRA}/{name}", body)
        self._write(_NUMBERS, to_json(numbers))

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """On the CPU."""
        found: dict[str, torch.Tensor] = load_tensors(self._read(f"{name}.safetensors"))
        return found

    def history(self) -> list[StepRecord]:
        return [parse(StepRecord, line, name=_HISTORY) for line in self._read(_HISTORY).splitlines()]

    def extra(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((self._folder / _EXTRA).glob("*"))}

    def numbers(self) -> bytes:
        """state.json."""
        return self._read(_NUMBERS)

    def _write(self, name: str, body: bytes) -> None:
        path = self._folder / name
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

    def _read(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            raise ResultError(f"the checkpoint has no {name}") from None


@contextmanager
def damage_explained() -> Iterator[None]:
    """Inside, what a damaged checkpoint raises is a ResultError."""
    try:
        yield
    except (SafetensorError, KeyError, TypeError, ValueError) as err:
        raise ResultError(f"the checkpoint's state cannot be read: {type(err).__name__}: {err}") from err

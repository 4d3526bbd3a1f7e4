"""Which files of a folder are the model: configuration, tokenizer and safetensors weights, and nothing that runs.

The names are what transformers reads by itself. Everything else (other formats, training state, READMEs, code) is no
part of the digest, is not fetched, and is never loaded.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from job.contract.errors import ConfigurationError
from job.sources.listing import Listing, is_inside

__all__ = ["MODEL_PATTERNS", "check_weights", "json_object", "model_files"]

_INDEX = "model.safetensors.index.json"
_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
)
_PLAIN = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    *_TOKENIZERS,
)
_TEMPLATES = "additional_chat_templates/"
MODEL_PATTERNS = (*_PLAIN, "model*.safetensors", _INDEX, f"{_TEMPLATES}*.jinja")
"""For a hub download."""

_UNSAFE = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack", ".gguf", ".onnx")
_JSON_LIMIT_BYTES = 64 << 20
# The safetensors library's own limit on its header, MAX_HEADER_SIZE.
_HEADER_LIMIT_BYTES = 100_000_000
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip


def model_files(listing: Listing) -> tuple[str, ...]:
    """The names of the model's files, sorted.

    Raises ConfigurationError for a folder without configuration, tokenizer or safetensors weights, for an adapter, and
    for a model that brings its own code.
    """
    names = set(listing.names())
    if "adapter_config.json" in names:
        raise ConfigurationError(
            f"{listing.place} holds an adapter (adapter_config.json), and a sweep starts from a base model; "
            "name the base model, or merge the adapter into it first"
        )
    if "config.json" not in names:
        raise ConfigurationError(f"{listing.place} is no model folder: there is no config.json; {_seen(names)}")
    for name in ("config.json", "tokenizer_config.json"):
        if name in names and _json_object(listing, name).get("auto_map"):
            raise ConfigurationError(
                f"{listing.place}: {name} has an `auto_map`, code of its own that would have to run to load it, and a "
                "spec's code never runs; use a model that transformers knows by itself"
            )
    if not names.intersection(_TOKENIZERS):
        raise ConfigurationError(
            f"{listing.place} has no tokenizer: none of {', '.join(_TOKENIZERS)}; save the model's tokenizer beside it"
        )
    templates = {name for name in names if name.startswith(_TEMPLATES) and name.endswith(".jinja")}
    return tuple(sorted({*names.intersection(_PLAIN), *templates, *_weights(listing, names)}))


def check_weights(folder: Path, names: Sequence[str]) -> None:
    """Raises ConfigurationError when a safetensors file's header does not describe the file; loads no tensor."""
    for name in names:
        if name.endswith(".safetensors"):
            _check_safetensors(folder / name)


def _weights(listing: Listing, names: set[str]) -> set[str]:
    """The one file, or the index and its shards; transformers prefers the one file too."""
    if "model.safetensors" in names:
        return {"model.safetensors"}
    if _INDEX not in names:
        others = sorted(name for name in names if name.endswith(_UNSAFE))
        found = f"weights are there only as {others[0]!r}, a format that can run code" if others else "no weights"
        raise ConfigurationError(
            f"{listing.place}: {found}; model.safetensors is needed (load it where you trust it, and save it with "
            "save_pretrained)"
        )
    weight_map = _json_object(listing, _INDEX).get("weight_map")
    shards = set(weight_map.values()) if isinstance(weight_map, dict) else set()
    for shard in shards:
        if not isinstance(shard, str) or "/" in shard or not is_inside(shard) or not shard.endswith(".safetensors"):
            raise ConfigurationError(
                f"{listing.place}: {_INDEX} names {shard!r}, which is no safetensors file beside it"
            )
        if not listing.has(shard):
            raise ConfigurationError(f"{listing.place}: {_INDEX} names {shard!r}, which is not there; fetch it again")
    if not shards:
        raise ConfigurationError(f"{listing.place}: {_INDEX} names no weights")
    return {_INDEX, *shards}


def _json_object(listing: Listing, name: str) -> dict[str, Any]:
    return json_object(listing.read(name, limit_bytes=_JSON_LIMIT_BYTES), name=f"{listing.place}/{name}")


def json_object(body: bytes, *, name: str) -> dict[str, Any]:
    """The object that a model's file `name` holds. Raises ConfigurationError."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise ConfigurationError(f"{name} is not JSON: {err}; fetch the model again") from err
    if not isinstance(found, dict):
        raise ConfigurationError(f"{name} holds a {type(found).__name__}, not an object")
    return found


def _check_safetensors(path: Path) -> None:
    """The format: 8 bytes of header length (little endian), the header in JSON, the tensors' bytes."""
    size = path.stat().st_size
    with path.open("rb") as reader:
        start = reader.read(8)
        if start.startswith(b"version "):
            raise ConfigurationError(f"{path} is a Git LFS pointer, not the weights; run `git lfs pull` in its folder")
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(_HEADER_LIMIT_BYTES, size - 8):
            raise ConfigurationError(
                f"{path}: {size:,} bytes with a header of {length:,}, so it is cut off or no safetensors file; "
                "fetch it again"
            )
        body = reader.read(length)
    try:
        header = json.loads(body)
        fits = all(_fits(entry, size - 8 - length) for key, entry in header.items() if key != "__metadata__")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as err:
        raise ConfigurationError(f"{path}: its safetensors header does not parse: {err}; fetch it again") from err
    if not fits:
        raise ConfigurationError(f"{path}: its header describes tensors that the file does not hold; fetch it again")


def _fits(entry: dict[str, Any], data_bytes: int) -> bool:
    start, end = entry["data_offsets"]
    bits = _BITS.get(entry["dtype"])
    whole = bits is None or math.prod(entry["shape"]) * bits == 8 * (end - start)
    return bool(whole and 0 <= start <= end <= data_bytes)


def _seen(names: set[str], limit: int = 6) -> str:
    shown = ", ".join(sorted(names)[:limit])
    return f"it holds {shown}{' ...' if len(names) > limit else ''}" if names else "it is empty"

"""The base of every model that crosses a boundary, and the scalar types that mean what YAML and JSON say."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr

__all__ = [
    "Count",
    "Digest",
    "Flag",
    "Frozen",
    "Integer",
    "Name",
    "Number",
    "Positive",
    "Ratio",
    "Seed",
    "Text",
    "canonical_json",
    "sha256_hex",
]


class Frozen(BaseModel):
    """Immutable, closed to unknown keys, and without NaN or infinity in either direction."""

    # defer_build: a model costs a millisecond or more to build, and `lorasweep --help` uses none of them.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, defer_build=True)


def _no_bool_or_text(value: Any) -> Any:
    """Pydantic would read true as 1 and "8" as 8; a spec that says so is a mistake, not a number."""
    if isinstance(value, bool | str):
        raise ValueError(f"must be a number, got {'text' if isinstance(value, str) else 'a boolean'}: {value!r}")  # noqa: TRY004  (pydantic turns only ValueError into a field error)
    return value


def _no_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError("must not contain a NUL character")
    return value


Integer = Annotated[int, BeforeValidator(_no_bool_or_text)]
"""A whole number; 8.0 is 8, while "8" and true are errors."""
Count = Annotated[Integer, Field(ge=0)]
Positive = Annotated[Integer, Field(ge=1)]
Number = Annotated[float, BeforeValidator(_no_bool_or_text)]
"""A finite number; 1 is 1.0, while "1" and true are errors."""
Ratio = Annotated[Number, Field(ge=0, le=1)]
Seed = Annotated[Count, Field(lt=2**63)]
"""What fits a signed 64-bit integer; the job derives the 32-bit seeds that libraries take (job.seeds)."""
Flag = StrictBool
Text = Annotated[StrictStr, AfterValidator(_no_nul)]
Name = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$")]
"""One segment of a store key: no slash, no leading dot."""
Digest = Annotated[StrictStr, Field(pattern=r"^(hub:[0-9a-f]{40}|sha256:[0-9a-f]{64})$")]
"""Names bytes: a hub commit, or SHA-256 over file contents. Never a place."""


def canonical_json(value: Any) -> bytes:
    """The one byte string for a JSON value: sorted keys, no spaces, UTF-8, no NaN.

    Raises ValueError for NaN and infinity.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def sha256_hex(body: bytes) -> str:
    """SHA-256 of `body` as 64 hex digits."""
    return hashlib.sha256(body).hexdigest()

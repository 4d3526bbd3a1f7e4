"""Where a store is, as text: a folder's path, or s3://bucket/prefix. Pure.

A path that looks like an address is refused and not taken for a folder: `s3:/bucket` and `s3:bucket` have lost slashes,
and `gs://bucket` would become a folder named `gs:`. A folder that is really called so is `./gs:`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from job.store.keys import is_key

__all__ = ["SOURCE", "S3Address", "refusal", "s3_address"]

_SCHEME = re.compile(r"s3(?=:)|[a-z][a-z0-9+.-]*(?=:/)", re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_SHOWN = 200
_STORE = "a folder's path, or s3://bucket/prefix"
SOURCE = f"a hub id, {_STORE}"
"""What a model or data may be, for messages."""


class S3Address(NamedTuple):
    """An s3:// address in its parts."""

    bucket: str
    prefix: str
    """Without slashes at its ends; empty for the whole bucket."""


def s3_address(address: str) -> S3Address:
    """The parts of an address that starts with s3://; sound only where `refusal` finds nothing."""
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    return S3Address(bucket, prefix.rstrip("/"))


def refusal(address: str, *, choices: str = _STORE) -> str | None:
    """Why nothing can be kept or read at `address`, with the remedy; None for a path and for a sound s3:// address."""
    if not address.strip():
        return f"{address!r}: is empty; write {choices}"
    scheme = _SCHEME.match(address)
    if scheme is None:
        return None
    if "@" in address:  # never shown: what stands before it may be a secret
        return f"an address with `{scheme[0]}:` and `@` holds credentials; write s3://bucket/prefix, set AWS_ variables"
    shown = repr(address[:_SHOWN])
    if not address.startswith("s3://"):
        if scheme[0].lower() == "s3":
            return f"{shown}: an S3 address starts with s3://; write s3://bucket/prefix, or `./` before a folder's name"
        return f"{shown}: `{scheme[0]}:` is not supported; write {choices}"
    bucket, prefix = s3_address(address)
    if not _BUCKET.fullmatch(bucket):
        return f"{shown}: {bucket!r} is no bucket name; write s3://bucket/prefix"
    if prefix and not is_key(prefix):
        return f"{shown}: a prefix has A-Z a-z 0-9 . _ - and single slashes, and no part that starts with a dot"
    return None

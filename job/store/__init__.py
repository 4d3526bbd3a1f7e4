"""The store: the only truth about a run. `open_store(uri)` gives the one that a URI names."""

from __future__ import annotations

from job.contract.errors import ConfigurationError
from job.store.address import refusal
from job.store.keys import Keys
from job.store.protocol import ObjectInfo, Store

__all__ = ["Keys", "ObjectInfo", "Store", "open_store"]


def open_store(uri: str) -> Store:
    """The store rooted at `uri`: a folder path or `s3://bucket/prefix`.

    Raises ConfigurationError for what is neither. Imports boto3 only for s3.
    """
    if wrong := refusal(uri):
        raise ConfigurationError(f"store {wrong}")
    if uri.startswith("s3://"):
        from job.store.s3 import S3Store

        return S3Store(uri)
    from job.store.folder import FolderStore

    return FolderStore(uri)

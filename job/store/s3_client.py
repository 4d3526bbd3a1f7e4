"""The few calls of boto3's S3 client that the store makes, with types, and how that client is set up."""
# ruff: noqa: N803  (Bucket, Key, ... are boto3's own argument names)

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import BinaryIO, Literal, Protocol, TypedDict, overload

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

__all__ = ["Client", "Received", "connect", "transfer_config"]

MULTIPART_FROM_BYTES = 16 * 2**20
"""S3 takes parts from 5 MiB on; at 16 MiB an adapter is a handful of parts and a part is soon sent again."""


class Received(Protocol):
    """The body of an answer."""

    def read(self, amt: int) -> bytes: ...

    def close(self) -> None: ...


class Answer(TypedDict):
    """What get_object returns."""

    Body: Received
    ContentLength: int
    ETag: str


class Listed(TypedDict):
    """One line of a listing."""

    Key: str
    Size: int
    ETag: str


class AnswerDetails(TypedDict):
    """How an answer came."""

    HTTPHeaders: Mapping[str, str]


class Page(TypedDict, total=False):
    """A page of a listing."""

    Name: str
    Contents: list[Listed]
    ResponseMetadata: AnswerDetails


class Unfinished(TypedDict):
    """A multipart upload that was neither completed nor aborted."""

    Key: str
    UploadId: str
    Initiated: datetime


class UnfinishedPage(TypedDict, total=False):
    """A page of those."""

    Uploads: list[Unfinished]


class Lister(Protocol):
    """A paginator over objects."""

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterable[Page]: ...


class UnfinishedLister(Protocol):
    """A paginator over unfinished uploads."""

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterable[UnfinishedPage]: ...


class Meta(Protocol):
    """What the client knows of itself."""

    @property
    def endpoint_url(self) -> str: ...


class Client(Protocol):
    """boto3's S3 client."""

    @property
    def meta(self) -> Meta: ...

    def get_object(self, *, Bucket: str, Key: str, Range: str = ..., IfMatch: str = ...) -> Answer: ...

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, IfNoneMatch: Literal["*"] = ...) -> object: ...

    def upload_fileobj(self, Fileobj: BinaryIO, Bucket: str, Key: str, *, Config: object) -> None: ...

    def delete_object(self, *, Bucket: str, Key: str, IfMatch: str = ...) -> object: ...

    def list_objects_v2(self, *, Bucket: str, Prefix: str, MaxKeys: int) -> Page: ...

    def abort_multipart_upload(self, *, Bucket: str, Key: str, UploadId: str) -> object: ...

    @overload
    def get_paginator(self, operation_name: Literal["list_objects_v2"]) -> Lister: ...
    @overload
    def get_paginator(self, operation_name: Literal["list_multipart_uploads"]) -> UnfinishedLister: ...


def connect() -> Client:
    """A client with endpoint, region and credentials from AWS's own variables and files; nothing is sent yet.

    Raises botocore's errors, and ValueError for an endpoint that is no URL.
    """
    # A session of our own: boto3's default one must not be made by two threads at once.
    client: Client = boto3.session.Session().client(
        "s3",
        config=Config(
            retries={"mode": "standard", "total_max_attempts": 5},
            connect_timeout=10,
            read_timeout=60,
            tcp_keepalive=True,
            max_pool_connections=16,
            # The newer CRC headers are refused by many S3 servers: boto/s3transfer issue 327, minio issue 20845.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    return client


def transfer_config() -> object:
    """Large files go up in parts, and a failed upload is aborted."""
    return TransferConfig(
        multipart_threshold=MULTIPART_FROM_BYTES,
        multipart_chunksize=MULTIPART_FROM_BYTES,
        max_concurrency=4,
        preferred_transfer_client="classic",
    )

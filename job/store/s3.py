"""A store in an S3 bucket, by boto3.

Retries live here and nowhere above: botocore repeats a request (standard mode, 5 attempts), and this module repeats
what botocore does not: a body whose connection broke, and a 409 to a conditional write.

Limits
- Needs conditional writes (`If-None-Match: *`), as AWS, MinIO, Ceph, R2 and versitygw have them; refused without.
- On a server that ignores `If-Match` on delete, a conditional delete compares the tag shortly before.
- Parts of a killed multipart upload stay, unseen, until `clean` or a bucket rule removes them.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from pathlib import Path

from job.contract.errors import ConfigurationError, NotFoundError, ResultError, TransientError
from job.store.address import s3_address
from job.store.keys import check_object, check_prefix, is_key
from job.store.protocol import ObjectInfo, ServerClock, Store
from job.store.s3_client import Answer, Client, Listed, Page, connect, transfer_config
from job.store.s3_errors import STREAM_ERRORS, ClientError, explained_s3, http_date, refusal_of
from job.store.whole_file import explained, write_whole

__all__ = ["S3Store"]

_PREFIX_LIMIT = 120  # with 900 for the key it stays under S3's 1,024 bytes
_CHUNK_BYTES = 2**20
_BODIES = 5  # times that one object's body is asked for, each from where the last broke off
_ROUNDS = 8  # of a conditional write that others disturb; about 5 s in all
# Put once by the first process and never read; its name is no key, so no listing shows it.
_PROBE = ".conditional-put"


class S3Store:
    """Objects under one prefix of a bucket; endpoint, region and credentials come from the AWS_ variables and files."""

    def __init__(self, uri: str) -> None:
        self._bucket, prefix = s3_address(uri)
        if len(prefix) > _PREFIX_LIMIT:
            raise ConfigurationError(f"store {uri!r}: the prefix may have {_PREFIX_LIMIT} characters; shorten it")
        self._prefix = f"{prefix}/" if prefix else ""
        self._client = _connected(self.uri)
        self._endpoint = self._client.meta.endpoint_url
        self._probing = threading.Lock()
        self._probed = False

    @property
    def uri(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def read(self, key: str, *, limit_bytes: int) -> bytes:
        chunks: list[bytes] = []
        self._receive(key, chunks.append, limit_bytes=limit_bytes)
        return b"".join(chunks)

    def put(self, key: str, body: bytes) -> None:
        name = self._name(key)
        with self._explained("PutObject", name):
            self._client.put_object(Bucket=self._bucket, Key=name, Body=body)

    def put_once(self, key: str, body: bytes) -> bool:
        name = self._name(key)
        self._require_conditional_writes()
        for round_number in range(_ROUNDS):
            status = self._put_if_absent(name, body)
            if status == 200:
                return True
            if status == 412:
                with suppress(NotFoundError):  # deleted since: the key is free again
                    return self._holds(key, body)
            _wait(round_number)
        raise TransientError(f"{self.uri}/{key}: others disturbed this write {_ROUNDS} times; run it again")

    def upload(self, key: str, path: Path) -> None:
        name = self._name(key)
        with explained(path), path.open("rb") as reader, self._explained("upload", name):
            self._client.upload_fileobj(reader, self._bucket, name, Config=transfer_config())

    def download(self, key: str, path: Path) -> None:
        check_object(key)
        with write_whole(path) as temporary, temporary.open("wb") as writer:
            self._receive(key, writer.write)

    def sha256(self, key: str) -> str:
        digest = hashlib.sha256()
        self._receive(key, digest.update)
        return digest.hexdigest()

    def stat(self, key: str) -> ObjectInfo | None:
        # A listing and not HEAD: its refusals have a body that says why, and a missing bucket is no missing object.
        name = self._name(key)
        with self._explained("ListObjectsV2", name):
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=name, MaxKeys=1)
            contents = self._contents(page)
        for found in contents:
            if found["Key"] == name:
                return ObjectInfo(key, found["Size"], found["ETag"])
        return None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._pages(self._prefix + check_prefix(prefix))

    def delete(self, key: str, *, etag: str | None = None) -> bool:
        found = self.stat(key)
        if found is None or (etag is not None and found.etag != etag):
            return False
        name = self._name(key)
        with self._explained("DeleteObject", name):
            if etag is None:
                self._client.delete_object(Bucket=self._bucket, Key=name)
                return True
            return self._delete_if(name, etag)

    def discard_unfinished(self, prefix: str, *, before: datetime) -> int:
        start = self._prefix + check_prefix(prefix)
        count = 0
        with self._explained("ListMultipartUploads", start):
            for page in self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=start
            ):
                for upload in page.get("Uploads", []):
                    if upload["Initiated"] < before:
                        self._abort(upload["Key"], upload["UploadId"])
                        count += 1
        return count

    def server_time(self) -> datetime | None:
        """As ServerClock says."""
        with self._explained("ListObjectsV2", self._prefix):
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        return http_date(page["ResponseMetadata"]["HTTPHeaders"].get("date"))

    def _name(self, key: str) -> str:
        return self._prefix + check_object(key)

    def _explained(self, action: str, name: str) -> AbstractContextManager[None]:
        return explained_s3(action, place=f"s3://{self._bucket}/{name}", endpoint=self._endpoint)

    def _receive(self, key: str, write: Callable[[bytes], object], *, limit_bytes: int | None = None) -> None:
        """Hand the object's bytes to `write`, in order and each once, also over connections that break."""
        name = self._name(key)
        with self._explained("GetObject", name):
            answer = self._get(name)
            size, etag, done = answer["ContentLength"], answer["ETag"], 0
            if limit_bytes is not None and size > limit_bytes:
                answer["Body"].close()
                raise ResultError(f"{self.uri}/{key} is {size:,} bytes, over the limit of {limit_bytes:,}; not ours")
            for left in reversed(range(_BODIES)):
                try:
                    while chunk := answer["Body"].read(_CHUNK_BYTES):
                        write(chunk)
                        done += len(chunk)
                except STREAM_ERRORS:
                    if not left:
                        raise
                finally:
                    answer["Body"].close()
                if done >= size:
                    return
                answer = self._get_rest(name, etag=etag, done=done, size=size)

    def _get(self, name: str) -> Answer:
        try:
            return self._client.get_object(Bucket=self._bucket, Key=name)
        except ClientError as err:
            if refusal_of(err).code == "NoSuchKey":
                raise NotFoundError(f"there is no object s3://{self._bucket}/{name}") from err
            raise

    def _get_rest(self, name: str, *, etag: str, done: int, size: int) -> Answer:
        changed = TransientError(f"s3://{self._bucket}/{name} changed while it was read; run it again")
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=name, Range=f"bytes={done}-", IfMatch=etag)
        except ClientError as err:
            if refusal_of(err).status == 412:
                raise changed from err
            raise
        if answer["ContentLength"] != size - done:
            answer["Body"].close()
            raise changed
        return answer

    def _put_if_absent(self, name: str, body: bytes) -> int:
        """200 when it was stored, 412 when the name is taken, 409 when another write came between."""
        with self._explained("conditional PutObject", name):
            try:
                self._client.put_object(Bucket=self._bucket, Key=name, Body=body, IfNoneMatch="*")
            except ClientError as err:
                status = refusal_of(err).status
                if status not in {409, 412}:
                    raise
                return status
            return 200

    def _holds(self, key: str, body: bytes) -> bool:
        try:
            return self.read(key, limit_bytes=len(body)) == body
        except ResultError:  # longer than `body`
            return False

    def _require_conditional_writes(self) -> None:
        """Raises ConfigurationError when the server stores over what is there although told not to."""
        with self._probing:
            if self._probed:
                return
            name = self._prefix + _PROBE
            if self._put_if_absent(name, b"") == 200 and self._put_if_absent(name, b"") == 200:
                raise ConfigurationError(
                    f"{self.uri} at {self._endpoint}: this server ignores `If-None-Match: *`, so two processes could "
                    "overwrite each other's results. Use one with conditional writes, or a folder as the store"
                )
            self._probed = True

    def _delete_if(self, name: str, etag: str) -> bool:
        try:
            self._client.delete_object(Bucket=self._bucket, Key=name, IfMatch=etag)
        except ClientError as err:
            status = refusal_of(err).status
            if status in {404, 412}:
                return False
            if status != 501:
                raise
            self._client.delete_object(Bucket=self._bucket, Key=name)  # no If-Match here; the tag was just compared
        return True

    def _abort(self, name: str, upload_id: str) -> None:
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=name, UploadId=upload_id)
        except ClientError as err:
            if refusal_of(err).status != 404:
                raise

    def _pages(self, start: str) -> Iterator[ObjectInfo]:
        with self._explained("ListObjectsV2", start):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=start):
                for found in self._contents(page):
                    key = found["Key"].removeprefix(self._prefix)
                    if is_key(key) and not key.endswith("/"):
                        yield ObjectInfo(key, found["Size"], found["ETag"])

    def _contents(self, page: Page) -> Sequence[Listed]:
        # boto3 reads any well-formed page as a listing, also the log-in page of a proxy: as an empty one.
        if "Name" not in page:
            raise ConfigurationError(
                f"{self.uri}: what answers at {self._endpoint} is no S3 server. Check AWS_ENDPOINT_URL_S3 and proxies"
            )
        return page.get("Contents", [])


def _connected(uri: str) -> Client:
    with explained_s3("open", place=uri, endpoint="the S3 client"):
        try:
            client = connect()
        except ValueError as err:
            raise ConfigurationError(
                f"open {uri}: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or AWS_REGION is not valid. "
                "An endpoint looks like https://host:port"
            ) from err
    if "@" in client.meta.endpoint_url:
        raise ConfigurationError(f"open {uri}: the endpoint's URL holds credentials; set AWS_ACCESS_KEY_ID instead")
    return client


def _wait(round_number: int) -> None:
    # Full jitter, so that racing writers do not meet again.
    time.sleep(random.uniform(0, min(2.0, 0.05 * 2**round_number)))  # noqa: S311  (no secret)


_: type[Store] = S3Store
_clock: type[ServerClock] = S3Store

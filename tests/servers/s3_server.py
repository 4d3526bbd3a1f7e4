"""A real S3 server (versitygw over a folder) on a port of this machine, for as long as a `with` block lasts.

Limits
- Its objects are files: a key cannot be both an object and the prefix of another (`a` and `a/b`), unlike on AWS.
- An unknown access key is answered with 404 XAdminUserNotFound; AWS says 403 InvalidAccessKeyId.
- The folder's file system must hold user extended attributes (ext4, xfs, btrfs; tmpfs from Linux 6.6 on).
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

READY_AFTER_S = 30.0  # it takes 0.1 s on an idle machine; the rest is for a busy one
STOP_AFTER_S = 10.0
PORT_TRIES = 3  # another process may take the free port before the server does


@dataclass(frozen=True)
class S3Server:
    """Where the server listens and the one account it knows."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"

    def environment(self) -> dict[str, str]:
        """The variables by which boto3, here or in a child process, finds this server and nothing else."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def client(self) -> Any:
        """A plain boto3 client, for what a test does behind the store's back."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(
                connect_timeout=5,
                read_timeout=30,
                retries={"total_max_attempts": 1},
                signature_version="s3v4",  # or links are signed in a way that the server no longer takes
            ),
        )


@dataclass(frozen=True)
class S3Bucket:
    """An empty bucket of its own for one test."""

    server: S3Server
    name: str

    @property
    def uri(self) -> str:
        return f"s3://{self.name}"


class ServerNotReadyError(Exception):
    """The server ended or did not answer in time; the message ends with its log."""


@contextmanager
def running_s3_server(program: Path, folder: Path) -> Iterator[S3Server]:
    """Serves the folder until the block ends. Raises ServerNotReadyError."""
    log = folder / "server.log"
    buckets = folder / "buckets"
    buckets.mkdir(parents=True, exist_ok=True)
    access_key, secret_key = f"test{secrets.token_hex(8)}", secrets.token_hex(20)
    for left in reversed(range(PORT_TRIES)):
        address = f"127.0.0.1:{_free_port()}"
        server = S3Server(endpoint=f"http://{address}", access_key=access_key, secret_key=secret_key)
        process = _start(program, address=address, server=server, buckets=buckets, log=log)
        try:
            try:
                _wait_until_ready(server, process=process, log=log)
            except ServerNotReadyError:
                if left and process.poll() is not None:
                    continue
                raise
            yield server
            return
        finally:
            _stop(process)


def new_bucket(server: S3Server) -> S3Bucket:
    bucket = S3Bucket(server=server, name=f"test-{secrets.token_hex(8)}")
    server.client().create_bucket(Bucket=bucket.name)
    return bucket


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _start(program: Path, *, address: str, server: S3Server, buckets: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(program), "--port", address, "--region", server.region, "--quiet", "posix", str(buckets)],
            env={"ROOT_ACCESS_KEY": server.access_key, "ROOT_SECRET_KEY": server.secret_key},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in a terminal reaches pytest alone, which then stops the server
        )


def _wait_until_ready(server: S3Server, *, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_AFTER_S
    client = server.client()
    while process.poll() is None:
        try:
            client.list_buckets()
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > deadline:
                raise ServerNotReadyError(
                    f"no answer in {READY_AFTER_S:.0f} s ({error}); its log:\n{_tail(log)}"
                ) from error
            time.sleep(0.05)
        else:
            return
    raise ServerNotReadyError(f"the S3 server ended with {process.returncode}; its log:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_AFTER_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


__all__ = ["S3Bucket", "S3Server", "ServerNotReadyError", "new_bucket", "running_s3_server"]

"""Fixtures over the real servers, for `pytest_plugins` in tests/conftest.py."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from servers.fault_proxy import FaultProxy, fault_proxy
from servers.go_tool import MissingGoError, built_program
from servers.s3_server import S3Bucket, S3Server, new_bucket, running_s3_server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server, one for each test process. Without Go a skip that names the remedy."""
    try:
        program = built_program(os.environ)
    except MissingGoError as missing:
        pytest.skip(str(missing))
    folder = tmp_path_factory.mktemp("s3_server")
    with running_s3_server(program, folder) as server:
        yield server
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def s3_bucket(s3_server: S3Server) -> S3Bucket:
    """An empty bucket that no other test sees."""
    return new_bucket(s3_server)


@pytest.fixture
def proxy(s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Stands between stores and the server; botocore's pauses between two attempts are taken out."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    for name, value in s3_bucket.server.environment().items():
        monkeypatch.setenv(name, value)
    with fault_proxy(s3_bucket.server.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        yield proxy

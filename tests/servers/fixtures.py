"""Fixtures over the real servers, for `pytest_plugins` in tests/conftest.py."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

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

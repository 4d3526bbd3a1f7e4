"""The S3 server under the store's tests is real in the points the store relies on, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from servers.go_tool import BuildFailedError, MissingGoError, built_program, cache_folder
from servers.s3_server import S3Bucket, S3Server, ServerNotReadyError, new_bucket, running_s3_server


def answers(endpoint: str) -> bool:
    host, port = endpoint.removeprefix("http://").split(":")
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((host, int(port))) == 0


def test_of_racing_conditional_puts_exactly_one_wins(s3_bucket: S3Bucket) -> None:
    def put(body: bytes) -> int:
        try:
            s3_bucket.server.client().put_object(Bucket=s3_bucket.name, Key="a/b.json", Body=body, IfNoneMatch="*")
        except ClientError as error:
            status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
            return status
        return 200

    with ThreadPoolExecutor(8) as racers:
        codes = list(racers.map(put, [str(n).encode() for n in range(8)]))
    assert codes.count(200) == 1
    assert set(codes) <= {200, 409, 412}


def test_a_bucket_is_empty_and_belongs_to_one_test(s3_bucket: S3Bucket) -> None:
    other = new_bucket(s3_bucket.server)
    client = s3_bucket.server.client()
    client.put_object(Bucket=other.name, Key="seen", Body=b"1")
    assert client.list_objects_v2(Bucket=s3_bucket.name)["KeyCount"] == 0


def test_the_environment_alone_leads_boto3_to_the_server(s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    for name, value in s3_bucket.server.environment().items():
        monkeypatch.setenv(name, value)
    names = [bucket["Name"] for bucket in boto3.session.Session().client("s3").list_buckets()["Buckets"]]
    assert s3_bucket.name in names


def test_a_wrong_secret_is_refused(s3_bucket: S3Bucket) -> None:
    stranger = replace(s3_bucket.server, secret_key="x" * 40)
    with pytest.raises(ClientError) as refused:
        stranger.client().list_objects_v2(Bucket=s3_bucket.name)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_the_server_stops_with_its_block_and_keeps_its_objects(s3_server: S3Server, tmp_path: Path) -> None:
    program = built_program(os.environ)
    with running_s3_server(program, tmp_path / "a folder") as first:
        bucket = new_bucket(first)
        first.client().put_object(Bucket=bucket.name, Key="k", Body=b"v")
        assert first.endpoint != s3_server.endpoint
        assert answers(first.endpoint)
    assert not answers(first.endpoint)
    with running_s3_server(program, tmp_path / "a folder") as second:
        assert second.client().get_object(Bucket=bucket.name, Key="k")["Body"].read() == b"v"


def test_the_secret_is_not_in_the_repr() -> None:
    assert "hush" not in repr(S3Server(endpoint="http://127.0.0.1:1", access_key="a", secret_key="hush"))


def test_a_program_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\necho no such flag\nexit 3\n", encoding="utf-8")
    program.chmod(0o755)
    with (
        pytest.raises(ServerNotReadyError, match=r"ended with 3[\s\S]*no such flag"),
        running_s3_server(program, tmp_path),
    ):
        pytest.fail("the block must not run")


def test_without_go_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingGoError, match="install Go"):
        built_program({"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)})


def test_without_go_a_program_built_earlier_is_used(tmp_path: Path) -> None:
    environ = {"PATH": "", "XDG_CACHE_HOME": str(tmp_path)}
    program = cache_folder(environ) / "versitygw"
    program.parent.mkdir(parents=True)
    program.write_bytes(b"")
    assert built_program(environ) == program


def test_parallel_workers_build_once_and_a_failed_build_leaves_no_program(tmp_path: Path) -> None:
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    environ = {"PATH": f"{go.parent}:{os.defpath}", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    go.write_text("#!/bin/sh\necho no such module\nexit 1\n", encoding="utf-8")
    go.chmod(0o755)
    with pytest.raises(BuildFailedError, match="no such module"):
        built_program(environ)
    assert [path.name for path in cache_folder(environ).iterdir()] == ["lock"]

    calls = tmp_path / "calls"
    go.write_text(
        f'#!/bin/sh\necho call >> "{calls}"\nwhile [ "$1" != -o ]; do shift; done\necho program > "$2"\n',
        encoding="utf-8",
    )
    with ThreadPoolExecutor(4) as workers:
        programs = set(workers.map(lambda _: built_program(environ), range(4)))
    assert [program.read_text(encoding="utf-8") for program in programs] == ["program\n"]
    assert calls.read_text(encoding="utf-8") == "call\n"

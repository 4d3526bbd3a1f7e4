"""Small models and rows in folders and buckets, as far as a source looks at them; no tensor and no tokenizer works."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from servers.s3_server import S3Bucket

__all__ = ["FILES", "put_folder", "safetensors", "write_model", "write_rows"]

FILES = ("train.jsonl", "test.jsonl")


def safetensors(size: int = 4) -> bytes:
    """A valid file with one tensor of zeros."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [size], "data_offsets": [0, 4 * size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4 * size)


def write_model(folder: Path, **more: bytes) -> Path:
    """`folder`, now with the three files that a model needs, and `more`."""
    folder.mkdir(parents=True)
    files = {"config.json": b'{"model_type": "gpt2"}', "tokenizer.json": b"{}", "model.safetensors": safetensors()}
    for name, body in {**files, **more}.items():
        (folder / name).write_bytes(body)
    return folder


def write_rows(folder: Path) -> Path:
    """`folder`, now with FILES of one row each."""
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text(json.dumps({"dialogue": name, "summary": "s"}) + "\n", encoding="utf-8")
    return folder


def put_folder(bucket: S3Bucket, folder: Path, prefix: str) -> str:
    """The URI of the prefix that now holds the folder's files."""
    for path in folder.rglob("*"):
        if path.is_file():
            key = f"{prefix}/{path.relative_to(folder).as_posix()}"
            bucket.server.client().put_object(Bucket=bucket.name, Key=key, Body=path.read_bytes())
    return f"s3://{bucket.name}/{prefix}"

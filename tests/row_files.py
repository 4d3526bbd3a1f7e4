"""Files of rows in every format, and what a trial gets from them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from job.contract.config import DataOptions, Source, SplitRole
from job.data import Row, Rows, load_rows

__all__ = ["DIGEST", "FORMATS", "ROLES", "Record", "jsonl", "load", "load_one", "parquet", "rows_of"]

Record = Mapping[str, Any]
DIGEST = "sha256:" + "0" * 64
ROLES: tuple[SplitRole, ...] = get_args(SplitRole)


def jsonl(records: Sequence[Record]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def json_array(records: Sequence[Record]) -> bytes:
    return json.dumps(list(records), indent=1).encode()


def comma_separated(records: Sequence[Record]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


def parquet(records: Sequence[Record]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    body = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([dict(record) for record in records]), body)
    return body.getvalue()


FORMATS: dict[str, Callable[[Sequence[Record]], bytes]] = {
    "jsonl": jsonl,
    "json": json_array,
    "csv": comma_separated,
    "parquet": parquet,
}


def rows_of(role: str, count: int) -> list[dict[str, Any]]:
    return [{"id": f"{role}-{n}", "dialogue": f"{role} talk {n}", "summary": f"{role} gist {n}"} for n in range(count)]


def load(path: Path, *, splits: Mapping[SplitRole, str], **options: Any) -> Rows:
    columns = options.pop("columns", {"id": "id", "input": "dialogue", "target": "summary"})
    kind = options.pop("kind", "path")
    source = Source(kind=kind, location=str(path), digest=DIGEST)
    return load_rows(path, source=source, options=DataOptions(digest=DIGEST, splits=splits, columns=columns, **options))


def load_one(path: Path, records: Sequence[Record], **options: Any) -> tuple[Row, ...]:
    """The test split of a JSONL file with these records."""
    path.write_bytes(jsonl(records))
    return load(path, splits={"test": path.name}, **options).splits["test"]

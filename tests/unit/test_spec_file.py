"""A file becomes plain values with places, or one SpecError; hostile text costs next to nothing."""

from __future__ import annotations

import math
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
from specs import HEAD, load

from controller.spec.file import load_spec
from controller.spec.yaml_tree import LIMIT_BYTES, TreeValue, parse_yaml
from job.contract.base import sha256_hex
from job.contract.errors import SpecError


def value_of(text: str) -> TreeValue:
    return parse_yaml(text.encode(), name="sweep.yaml").value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("5e-4", 5e-4),
        ("1E5", 1e5),
        (".5", 0.5),
        ("8", 8),
        ("8.0", 8.0),
        ("-3", -3),
        ("017", 17),
        ("0x1F", 31),
        ("0o17", 15),
        (".inf", math.inf),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("tRue", "tRue"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"),
        ("~", None),
        ("", None),
        ("'8'", "8"),
        ("<<", "<<"),
        ('"a\\nb"', "a\nb"),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(text: str, value: TreeValue) -> None:
    read = value_of(f"key: {text}\n")
    assert read == {"key": value}
    assert isinstance(read, dict)
    assert type(read["key"]) is type(value)


def test_every_value_and_key_has_its_line_and_column() -> None:
    tree = parse_yaml(b"a:\n  b: [1, two]\n", name="sweep.yaml")
    assert tree.marks["a", "b"] == (2, 3)
    assert tree.marks["a", "b", 1] == (2, 10)


HOSTILE = {
    "alias bomb": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "anchors"),
    "alias of nothing": ("a: *b\n", "aliases"),
    "object tag": ("a: !!python/object/apply:os.system [ls]\n", "tag"),
    "own tag": ("a: !x 1\n", "tag"),
    "harmless tag": ("a: !!str 1\n", "tag"),
    "duplicate keys": ("a: 1\nb: 2\na: 3\n", "given twice (first in line 1)"),
    "duplicate keys, deep": ("a: {b: 1, b: 1}\n", "given twice"),
    "two documents": ("a: 1\n---\na: 2\n", "second document"),
    "tab as indentation": ("a:\n\tb: 1\n", "spaces only"),
    "tab in a block text": ("a: |\n\tb\n", "spaces only"),
    "deep flow lists": ("a: " + "[" * 10_000, "nested"),
    "deep flow mappings": ("{a: " * 10_000, "nested"),
    "deep block lists": ("- " * 10_000, "nested"),
    "many values": ("a: [" + "1," * 100_000 + "]", "more than 10,000 values"),
    "many keys": ("".join(f"k{n}: 1\n" for n in range(20_000)), "more than 10,000 values"),
    "list as a key": ("? [a]\n: b\n", "a key has to be a word"),
    "number of 5,000 digits": ("a: " + "9" * 5_000, "a number of 5,000 characters"),
    "escaped NUL": ('a: "\\0"\n', "escape"),
    "escaped half character": ('a: "\\ud800"\n', "escape"),
    "escape beyond Unicode": ('a: "\\UFFFFFFFF"\n', "not YAML"),
    "NUL": ("a: \x00\n", "U+0000"),
    "bell": ("a: \x07\n", "U+0007"),
    "unclosed quote": ("a: 'b\n", "not YAML"),
    "colon in plain text": ("a: b: c\n", "quotes"),
    "too large": ("# " + "x" * LIMIT_BYTES, "larger than 262,144 bytes"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_yaml_is_refused_with_its_place(case: str) -> None:
    text, words = HOSTILE[case]
    with pytest.raises(SpecError) as caught:
        value_of(text)
    assert str(caught.value).startswith("sweep.yaml")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


# What was slowest of all shapes that fit the size limit, and the slowest that are accepted.
SLOW = {
    "flow lists": "a: " + "[" * 200_000,
    "values": "a: [" + "1," * 130_000 + "]",
    "plain lines": "a\n" * 130_000,
    "quoted lines": '"' + "a\n" * 130_000 + '"',
    "empty lines": "\n" * LIMIT_BYTES,
    "comments": "#\n" * 130_000,
    "unknown keys": "".join(f"learning_rat{n}: 1\n" for n in range(4_900)),
    "bad seeds": "vary: {seeds: [" + "x, " * 9_900 + "]}",
    "bad values": HEAD + "vary: {grid: {lora.r: [" + "x, " * 9_900 + "]}}",
    "bad paths": HEAD + "vary: {grid: {" + "".join(f"lora.rank{n}: [1], " for n in range(3_300)) + "}}",
    "bad trials": HEAD + "vary: {trials: [" + "{lora.r: 0}, " * 3_300 + "]}",
}


@pytest.mark.parametrize("case", SLOW)
def test_hostile_yaml_costs_under_a_second(case: str) -> None:
    start = time.process_time()
    with pytest.raises(SpecError):
        load(SLOW[case])
    assert time.process_time() - start < 1.0


def test_hostile_yaml_takes_under_200_mb(tmp_path: Path) -> None:
    for number, text in enumerate(SLOW.values()):
        (tmp_path / f"{number}.yaml").write_text(text)
    # A limit that the kernel holds the process to; a peak that it reports would count its parent's before exec.
    script = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_DATA, (200_000_000, 200_000_000))
from controller.spec.file import load_spec
from job.contract.errors import SpecError
refused = 0
for file in Path(sys.argv[1]).glob("*.yaml"):
    try:
        load_spec(file)
    except SpecError:
        refused += 1
print(refused)
"""
    ran = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, f"{len(SLOW)}\n"), ran.stderr


def test_50_megabytes_are_refused_after_reading_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    with file.open("wb") as out:
        out.truncate(50_000_000)
    tracemalloc.start()
    with pytest.raises(SpecError, match="larger than"):
        load_spec(file)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2e6


def test_bytes_that_are_not_utf_8_are_refused_with_their_line() -> None:
    with pytest.raises(SpecError, match=r"sweep.yaml:2: byte 0xff is not UTF-8"):
        parse_yaml(b"a: 1\nb: \xff\n", name="sweep.yaml")


def test_a_byte_order_mark_and_windows_line_ends_are_fine() -> None:
    assert parse_yaml(b"\xef\xbb\xbfa: 1\r\nb: x\r\n", name="sweep.yaml").value == {"a": 1, "b": "x"}


def test_a_loaded_spec_keeps_the_bytes_their_hash_and_their_folder(tmp_path: Path) -> None:
    text = (HEAD + "vary: {grid: {prompt: [v1], lora.r: [8]}}   # as written\r\n").encode()
    (tmp_path / "sweep.yaml").write_bytes(text)
    loaded = load_spec(tmp_path / "sweep.yaml")
    assert loaded.text == text
    assert loaded.sha256 == sha256_hex(text)
    assert loaded.folder == tmp_path


@pytest.mark.parametrize("kind", ["missing", "folder", "empty"])
def test_a_file_that_is_no_spec_says_so(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    if kind == "folder":
        path.mkdir()
    if kind == "empty":
        path.touch()
    with pytest.raises(SpecError, match={"missing": "no such file", "folder": "a folder", "empty": "mapping"}[kind]):
        load_spec(path)


def test_terminal_escapes_in_a_spec_do_not_reach_the_message() -> None:
    with pytest.raises(SpecError) as caught:
        load('"\\e[31mred\\r": 1\nname: "\\e[2J"\n')
    assert not any(ord(letter) < 32 and letter != "\n" for letter in str(caught.value))

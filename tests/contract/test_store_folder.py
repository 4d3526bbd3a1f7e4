"""What only a folder can do wrong: crashes between two steps, a full disk, links, rights, other writers."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from job.contract.errors import ConfigurationError, NotFoundError, ResultError, SweepError, TransientError
from job.store import ObjectInfo, Store, open_store
from job.store.folder import FolderStore

Write = Callable[[Store, str, bytes, Path], object]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def store(root: Path) -> Store:
    return open_store(str(root))


def by_put(store: Store, key: str, body: bytes, _: Path) -> None:
    store.put(key, body)


def by_put_once(store: Store, key: str, body: bytes, _: Path) -> None:
    assert store.put_once(key, body)


def by_upload(store: Store, key: str, body: bytes, scratch: Path) -> None:
    source = scratch / "source"
    source.write_bytes(body)
    store.upload(key, source)


WRITES = [by_put, by_put_once, by_upload]


def failing(err: int, calls: list[Path | int]) -> Callable[..., None]:
    """A system call that fails with `err` and remembers what for."""

    def fail(target: Path | int, *_: object, **__: object) -> None:
        calls.append(target)
        raise OSError(err, os.strerror(err), str(target))

    return fail


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_uri_is_the_absolute_folder(tmp_path: Path) -> None:
    store = open_store(f"{tmp_path}/a/../b/")
    assert isinstance(store, FolderStore)
    assert store.uri == str(tmp_path / "b")


def test_opening_a_store_writes_nothing(store: Store, root: Path) -> None:
    assert list(store.list("")) == []
    assert store.discard_unfinished("", before=datetime.now(UTC)) == 0
    assert not root.exists()


@pytest.mark.parametrize(
    ("uri", "message"),
    [("", "empty"), ("gs://b/runs", "`gs:` is not supported"), ("file:///runs", "`file:` is not supported")],
)
def test_a_uri_of_another_kind_is_refused(uri: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        open_store(uri)


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("call", ["fsync", "utime"])
@pytest.mark.parametrize("err", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_changes_nothing_and_names_path_and_free_bytes(
    store: Store, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write, call: str, err: int
) -> None:
    store.put("trials/1/other.json", b"before")
    before = names(root)
    calls: list[Path | int] = []
    with monkeypatch.context() as patch, pytest.raises(TransientError) as caught:
        patch.setattr(os, call, failing(err, calls))
        write(store, "trials/1/new.json", b"new", tmp_path)
    assert calls
    assert str(root / "trials/1/new.json") in str(caught.value)
    assert " bytes are free" in str(caught.value)
    assert names(root) == before
    write(store, "trials/1/new.json", b"new", tmp_path)
    assert store.read("trials/1/new.json", limit_bytes=10) == b"new"


@pytest.mark.parametrize("write", [by_put, by_upload])
def test_a_failed_rename_leaves_the_old_bytes(
    store: Store, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    store.put("progress.json", b"old")
    with monkeypatch.context() as patch, pytest.raises(TransientError, match=r"progress\.json: Input/output error"):
        patch.setattr(Path, "replace", failing(errno.EIO, []))
        write(store, "progress.json", b"new", tmp_path)
    assert store.read("progress.json", limit_bytes=10) == b"old"
    assert names(root) == [".store.lock", "progress.json"]


def test_a_full_disk_at_the_target_of_a_download_names_that_disk(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", b"body")
    target = tmp_path / "cache" / "a"
    with monkeypatch.context() as patch, pytest.raises(TransientError, match=f"{target}: .* bytes are free"):
        patch.setattr(os, "fsync", failing(errno.ENOSPC, []))
        store.download("a", target)
    assert names(tmp_path / "cache") == []
    store.download("a", target)
    assert target.read_bytes() == b"body"


@pytest.mark.parametrize("err", [errno.EACCES, errno.EROFS, errno.EPERM])
@pytest.mark.parametrize("write", WRITES)
def test_missing_rights_are_a_configuration_error_that_names_the_path(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write, err: int
) -> None:
    with monkeypatch.context() as patch, pytest.raises(ConfigurationError, match=r"runs/a.*Give user \d+ the rights"):
        patch.setattr(Path, "mkdir", failing(err, []))
        write(store, "a", b"x", tmp_path)


@pytest.mark.parametrize(("module", "call"), [(os, "link"), (fcntl, "flock")])
@pytest.mark.parametrize("err", [errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_links_or_locks_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch, module: ModuleType, call: str, err: int
) -> None:
    with (
        monkeypatch.context() as patch,
        pytest.raises(ConfigurationError, match="file system with locks and hard links"),
    ):
        patch.setattr(module, call, failing(err, []))
        store.put_once("a", b"x")
    assert store.stat("a") is None


def test_a_file_system_that_forbids_links_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(ConfigurationError, match="no hard links here"):
        patch.setattr(os, "link", failing(errno.EPERM, []))
        store.put_once("a", b"x")


def test_a_file_system_that_flushes_no_folders_will_do(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def only_files(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    store.put("a/b", b"x")
    assert store.put_once("a/c", b"y")
    assert store.delete("a/b")


def test_a_root_that_is_a_file_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_bytes(b"a file")
    store = open_store(str(tmp_path / "runs"))
    with pytest.raises(ConfigurationError, match="A file stands where a folder is needed"):
        store.put("a", b"x")
    assert store.stat("a") is None
    assert list(store.list("")) == []


def test_a_segment_longer_than_the_file_system_takes_is_refused(store: Store) -> None:
    with pytest.raises(ResultError, match="shorter"):
        store.put("a" * 300, b"x")


@pytest.mark.parametrize("key", ["out", "outside/secret", "loop"])
def test_a_symbolic_link_is_not_followed(store: Store, root: Path, tmp_path: Path, key: str) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    root.mkdir()
    (root / "out").symlink_to(outside / "secret")
    (root / "outside").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    calls: list[Callable[[], object]] = [
        lambda: store.read(key, limit_bytes=100),
        lambda: store.put(key, b"x"),
        lambda: store.put_once(key, b"x"),
        lambda: store.stat(key),
        lambda: store.sha256(key),
        lambda: store.delete(key),
        lambda: store.download(key, tmp_path / "copy"),
    ]
    for call in calls:
        with pytest.raises(ResultError, match="symbolic link"):
            call()
    assert list(store.list("")) == []
    with pytest.raises(ResultError, match="symbolic link"):
        list(store.list("outside/"))
    assert (outside / "secret").read_bytes() == b"secret"
    assert names(outside) == ["secret"]


def test_a_root_behind_a_symbolic_link_works(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    store = open_store(str(tmp_path / "runs"))
    store.put("a/b", b"x")
    assert store.read("a/b", limit_bytes=1) == b"x"
    assert (tmp_path / "disk" / "a" / "b").is_file()


def test_a_pipe_or_a_folder_is_no_object(store: Store, root: Path) -> None:
    (root / "folder").mkdir(parents=True)
    os.mkfifo(root / "pipe")
    for key in ("folder", "pipe"):
        assert store.stat(key) is None
        assert not store.delete(key)
        with pytest.raises(NotFoundError):
            store.read(key, limit_bytes=10)
    assert list(store.list("")) == []


def test_files_are_readable_as_the_umask_says(store: Store, root: Path) -> None:
    before = os.umask(0o022)
    try:
        store.put("a", b"x")
        assert store.put_once("b", b"x")
    finally:
        os.umask(before)
    assert [(root / name).stat().st_mode & 0o777 for name in ("a", "b")] == [0o644, 0o644]


def test_empty_folders_go_with_their_last_object(store: Store, root: Path) -> None:
    store.put("trials/1/checkpoints/1/step-000001/manifest.json", b"{}")
    store.put("trials/1/result.json", b"{}")
    assert store.delete("trials/1/checkpoints/1/step-000001/manifest.json")
    assert [path.name for path in (root / "trials/1").iterdir()] == ["result.json"]
    assert store.delete("trials/1/result.json")
    assert root.is_dir()
    assert not (root / "trials").exists()


def test_writers_and_deleters_of_one_folder_do_not_disturb_each_other(store: Store) -> None:
    def write_and_delete(number: int) -> None:
        for _ in range(40):
            store.put(f"a/b/c/{number}", b"x")
            assert store.delete(f"a/b/c/{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write_and_delete, range(8)))
    assert list(store.list("")) == []


def test_a_conditional_delete_never_takes_a_newer_object(store: Store) -> None:
    for number in range(100):
        store.put("result.json", b"bad")
        bad = store.stat("result.json")
        assert bad is not None
        start = threading.Barrier(2)

        def put_good(start: threading.Barrier = start, number: int = number) -> None:
            start.wait()
            store.put("result.json", b"good %d" % number)

        def delete_bad(start: threading.Barrier = start, bad: ObjectInfo = bad) -> None:
            start.wait()
            store.delete("result.json", etag=bad.etag)

        with ThreadPoolExecutor(2) as pool:
            for done in (pool.submit(put_good), pool.submit(delete_bad)):
                done.result()
        assert store.read("result.json", limit_bytes=20) == b"good %d" % number


def test_a_writer_killed_half_way_leaves_nothing_visible(store: Store, root: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    program = "import sys; from pathlib import Path; from job.store import open_store; "
    program += "open_store(sys.argv[1]).upload('trials/1/adapter', Path(sys.argv[2]))"
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(root), str(pipe)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with pipe.open("wb", buffering=0) as writer:
        writer.write(b"x" * 500_000)  # more than a pipe holds, so the child has begun its copy
        child.kill()
        child.wait()
    (rest,) = (root / "trials/1").iterdir()
    assert rest.name.startswith(".tmp-")
    assert store.stat("trials/1/adapter") is None
    assert list(store.list("")) == []
    assert store.discard_unfinished("", before=datetime.now(UTC) - timedelta(days=1)) == 0
    assert store.discard_unfinished("trials/", before=datetime.now(UTC) + timedelta(seconds=1)) == 1
    assert names(root) == []
    assert store.put_once("trials/1/adapter", b"whole")


KEYS = st.sampled_from(["a", "b/c", "b/d", "b-c", "e/f/g/h"])
BODIES = st.binary(max_size=3)


@settings(max_examples=40, stateful_step_count=30, suppress_health_check=list(HealthCheck), deadline=None)
class StoreAgainstDict(RuleBasedStateMachine):
    """A FolderStore does what a dict would do, whatever the order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = open_store(self.folder.name + "/runs")
        self.model: dict[str, bytes] = {}

    @rule(key=KEYS, body=BODIES)
    def put(self, key: str, body: bytes) -> None:
        self.store.put(key, body)
        self.model[key] = body

    @rule(key=KEYS, body=BODIES)
    def put_once(self, key: str, body: bytes) -> None:
        assert self.store.put_once(key, body) == (self.model.setdefault(key, body) == body)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        assert self.store.delete(key) == (self.model.pop(key, None) is not None)

    @rule(key=KEYS, between=st.one_of(st.none(), BODIES))
    def delete_with_a_tag(self, key: str, between: bytes | None) -> None:
        seen = self.store.stat(key)
        if seen is None:
            return
        if between is not None:
            self.put(key, between)
        assert self.store.delete(key, etag=seen.etag) == (between is None)
        if between is None:
            del self.model[key]

    @invariant()
    def holds_what_the_dict_holds(self) -> None:
        listed = {found.key: found for found in self.store.list("")}
        assert list(listed) == sorted(self.model)
        for key, body in self.model.items():
            assert self.store.read(key, limit_bytes=3) == body
            assert self.store.stat(key) == listed[key]
            assert listed[key].size_bytes == len(body)

    def teardown(self) -> None:
        self.folder.cleanup()


TestStoreAgainstDict = StoreAgainstDict.TestCase


def test_every_error_of_the_folder_is_one_of_ours(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a", b"x")
    for err in (errno.EIO, errno.ESTALE, errno.ENOENT, errno.EMFILE, errno.ENOSYS):
        with monkeypatch.context() as patch, pytest.raises(SweepError):
            patch.setattr(os, "fsync", failing(err, []))
            store.put("a", b"y")
    assert store.read("a", limit_bytes=1) == b"x"

"""Keys stay inside the run, sort as they should, and say what they name."""

from __future__ import annotations

import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.contract.errors import ResultError
from job.store.keys import Keys, check_key, check_object, check_prefix, is_key, is_ours

TRIAL = "0123456789ab"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (Keys.spec("0" * 64), f"specs/{'0' * 64}.yaml"),
        (Keys.plan("0" * 64), f"plans/{'0' * 64}.json"),
        (Keys.submission("quick-01234567-1"), "submissions/quick-01234567-1.json"),
        (Keys.report("report.html"), "report/report.html"),
        (Keys.trial(TRIAL), f"trials/{TRIAL}/"),
        (Keys.result(TRIAL), f"trials/{TRIAL}/result.json"),
        (Keys.failures(TRIAL), f"trials/{TRIAL}/failures/"),
        (Keys.failure(TRIAL, "pod-1"), f"trials/{TRIAL}/failures/pod-1.json"),
        (Keys.retries(TRIAL), f"trials/{TRIAL}/retries/"),
        (Keys.retry(TRIAL, 2), f"trials/{TRIAL}/retries/2.json"),
        (Keys.progress(TRIAL), f"trials/{TRIAL}/progress.json"),
        (Keys.attempt(TRIAL, "pod-1"), f"trials/{TRIAL}/attempts/pod-1/"),
        (Keys.attempt_file(TRIAL, "pod-1", "adapter/a.b"), f"trials/{TRIAL}/attempts/pod-1/adapter/a.b"),
        (Keys.manifest(TRIAL, "pod-1"), f"trials/{TRIAL}/attempts/pod-1/manifest.json"),
        (Keys.checkpoints(TRIAL), f"trials/{TRIAL}/checkpoints/"),
        (Keys.checkpoint(TRIAL, "pod-1", 16), f"trials/{TRIAL}/checkpoints/pod-1/step-000016/"),
    ],
)
def test_the_layout_is_the_documented_one(key: str, expected: str) -> None:
    assert key == expected


@pytest.mark.parametrize(
    "key",
    [
        Keys.CONTROL,
        Keys.spec("0" * 64),
        Keys.plan("0" * 64),
        Keys.examples(TRIAL),
        Keys.submission("quick-01234567-1"),
        Keys.report("report.html"),
        Keys.report("junit.xml"),
        Keys.report("verified.json"),
        "preflight/kept",
        "preflight/1f2e",
        Keys.result(TRIAL),
        Keys.failure(TRIAL, "quick-01234567-1-disrupted"),
        Keys.retry(TRIAL, 2),
        Keys.progress(TRIAL),
        Keys.attempt_file(TRIAL, "pod-1", "adapter/adapter_model.safetensors"),
        Keys.attempt_file(TRIAL, "pod-1", "events/events.out.tfevents.0"),
        Keys.manifest(TRIAL, "pod-1"),
        Keys.checkpoint(TRIAL, "pod-1", 1_000_000) + "extra/seconds.json",
    ],
)
def test_what_the_project_writes_is_its_own(key: str) -> None:
    assert is_ours(key)


@pytest.mark.parametrize(
    "key",
    [
        "notes.txt",
        "plans/notes.txt",
        "plans/old.json",
        f"plans/{'0' * 64}.json.bak",
        "submissions/notes.txt",
        "report/figure.png",
        "trials/notes.txt",
        "trials/mine/result.json",
        f"trials/{TRIAL}/result.json.bak",
        f"trials/{TRIAL}/failures/notes.txt",
        f"trials/{TRIAL}/retries/first.json",
        f"trials/{TRIAL}/attempts/pod-1/notes.txt",
        f"trials/{TRIAL}/checkpoints/pod-1/notes.txt",
        f"mine/trials/{TRIAL}/result.json",
    ],
)
def test_what_somebody_put_beside_it_is_foreign(key: str) -> None:
    assert is_key(key)
    assert not is_ours(key)


def test_checkpoints_sort_by_their_step() -> None:
    steps = [1, 9, 10, 99, 100, 123_456]
    keys = [Keys.checkpoint(TRIAL, "1", step) for step in steps]
    assert sorted(keys) == keys


@pytest.mark.parametrize(
    "key",
    ["", "/", "/a", "..", "../a", "a/../b", "./a", "a//b", "a b", "ä", ".a", "a/.b", "a\n", "a\x00", "-a", "a/-b"],
)
def test_a_key_that_leaves_the_run_or_needs_quoting_is_refused_with_its_value(key: str) -> None:
    assert not is_key(key)
    with pytest.raises(ResultError) as caught:
        check_key(key)
    assert repr(key) in str(caught.value)


@pytest.mark.parametrize("name", ["../../x", "a/../../x", "/etc/passwd", ".ssh", "a b"])
def test_no_name_inside_a_key_leads_out_of_the_trial(name: str) -> None:
    makes: list[Callable[[], str]] = [
        lambda: Keys.attempt_file(TRIAL, "1", name),
        lambda: Keys.attempt(TRIAL, name),
        lambda: Keys.report(name),
        lambda: Keys.result(name),
    ]
    for make in makes:
        with pytest.raises(ResultError):
            make()


def test_the_longest_key_has_900_characters() -> None:
    assert is_key("a" * 900)
    assert not is_key("a" * 901)


def test_an_object_has_no_final_slash_and_a_prefix_has_one() -> None:
    assert check_object("a/b") == "a/b"
    assert check_prefix("a/b/") == "a/b/"
    assert check_prefix("") == ""
    with pytest.raises(ResultError, match="'a/b/' names a prefix"):
        check_object("a/b/")
    with pytest.raises(ResultError, match="'trials/1' has to end in a slash"):
        check_prefix("trials/1")
    with pytest.raises(ResultError, match="not allowed"):
        check_prefix("/")


@given(st.text(alphabet=string.ascii_letters + string.digits + "._-/ \n\\ä", max_size=12))
def test_an_allowed_key_has_only_plain_segments(key: str) -> None:
    plain = set(string.ascii_letters + string.digits + "._-")
    segments = key.removesuffix("/").split("/")
    expected = all(part and part[0] not in ".-" and set(part) <= plain for part in segments)
    assert is_key(key) == expected

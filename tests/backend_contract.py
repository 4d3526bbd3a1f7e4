"""What every Backend promises, as one class of tests: for processes, for Jobs of a real cluster, and for the fake.

A process that ends with 85 of its own accord is not here: a cluster replaces it, this machine does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from fake_backend import FakeBackend
from submissions import DEADLINE_S, one, over, runs, submission
from submissions import wait_for as wait_until

from controller.backend import Backend, EndCause, Observed

__all__ = ["BackendContract", "Place"]


@dataclass(frozen=True)
class Place:
    """A backend and the means to say what its next process does."""

    backend: Backend
    behave: Callable[[str], None]
    restart: Callable[[], Backend]
    """Another controller's view of the same submissions; the first one is not to be used any more."""
    deadline_s: float = DEADLINE_S
    killed: EndCause = "killed"
    """How a submission ends that is killed."""

    def until(self, condition: Callable[[Observed], bool]) -> Observed:
        """The first submission, as soon as it is as wanted."""
        return wait_until(self.backend, submission().name, condition, deadline_s=self.deadline_s)

    def until_ready(self) -> None:
        """Wait until the process of the first submission runs and waits for SIGTERM."""
        name = submission().name
        self.until(runs)
        if not isinstance(self.backend, FakeBackend):
            self.until(lambda _: b"waiting" in (self.backend.logs(name, limit_bytes=10**6) or b""))


class BackendContract:
    """A subclass gives the fixture `place`."""

    def test_nothing_is_there_at_first(self, place: Place) -> None:
        assert list(place.backend.observe()) == []
        assert place.backend.capacity >= 1

    def test_a_submission_is_visible_at_once_and_says_what_it_is(self, place: Place) -> None:
        place.behave("slow")
        wanted = submission()
        place.backend.submit(wanted)
        seen = one(place.backend, wanted.name)
        assert seen is not None
        assert (seen.number, seen.group_id, seen.trial_ids) == (1, wanted.group_id, wanted.trial_ids)
        assert seen.live
        assert seen.submitted_at is not None

    def test_a_process_that_runs_has_an_attempt_and_a_start(self, place: Place) -> None:
        place.behave("slow")
        place.backend.submit(submission())
        seen = place.until(runs)
        assert seen.attempt
        assert seen.started_at is not None
        assert not seen.stopping

    @pytest.mark.parametrize(("word", "code"), [("ok", 0), ("80", 80), ("kill", 137)])
    def test_an_end_has_its_exit_code_its_time_and_its_last_words(self, place: Place, word: str, code: int) -> None:
        place.behave(word)
        place.backend.submit(submission())
        seen = place.until(over)
        assert (seen.exit_code, seen.cause) == (code, "exited")
        assert seen.ended_at is not None
        assert seen.log_tail or code == 0
        assert place.backend.logs(seen.name, limit_bytes=10**6)

    def test_submitting_twice_makes_one(self, place: Place) -> None:
        place.behave("slow")
        place.backend.submit(submission())
        first = place.until(runs)
        place.backend.submit(submission())
        assert [seen.attempt for seen in place.backend.observe()] == [first.attempt]

    def test_an_ended_submission_is_not_made_again_and_stays_until_it_is_forgotten(self, place: Place) -> None:
        place.behave("80")
        place.backend.submit(submission())
        place.until(over)
        place.backend.submit(submission())
        other = place.restart()
        seen = one(other, submission().name)
        assert seen is not None
        assert seen.exit_code == 80
        other.forget(submission().name)
        assert list(other.observe()) == []
        other.forget(submission().name)

    def test_a_live_submission_is_not_forgotten(self, place: Place) -> None:
        place.behave("slow")
        place.backend.submit(submission())
        place.until(runs)
        place.backend.forget(submission().name)
        assert one(place.backend, submission().name) is not None

    def test_a_stopped_process_ends_with_85_and_a_second_stop_changes_nothing(self, place: Place) -> None:
        place.behave("slow")
        place.backend.submit(submission())
        place.until_ready()
        place.backend.stop(submission().name)
        place.backend.stop(submission().name)
        seen = place.until(over)
        assert (seen.exit_code, seen.cause) == (85, "exited")

    def test_a_killed_process_is_over_at_once(self, place: Place) -> None:
        place.behave("deaf")
        place.backend.submit(submission())
        place.until_ready()
        place.backend.kill(submission().name)
        seen = place.until(over)
        assert (seen.exit_code, seen.cause) == (137, place.killed)

    def test_words_about_unknown_submissions_are_harmless(self, place: Place) -> None:
        place.backend.stop("demo-nothing-1")
        place.backend.kill("demo-nothing-1")
        place.backend.forget("demo-nothing-1")
        assert place.backend.logs("demo-nothing-1", limit_bytes=10) is None

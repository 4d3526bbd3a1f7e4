"""Every key of a run, in one place. Keys are relative to `<root>/<sweep>/<run>`."""

from __future__ import annotations

import re

from job.contract.errors import ResultError

__all__ = ["Keys", "check_key", "check_object", "check_prefix", "is_key", "is_ours"]

# What every file system, every S3 server and every URL take as it is; no segment starts with a dot.
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*/?")
_LIMIT = 900  # bytes; S3 allows 1,024 including the root's prefix


# Every object that this project writes, and no other. Below the last folder of a line names are those of libraries.
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_ATTEMPT = r"(adapter/.+|events/.+|manifest\.json|scores\.json|predictions\.jsonl|metrics\.jsonl|log\.txt)"
_TRIAL = (
    rf"(result\.json|progress\.json|failures/{_NAME}\.json|retries/[0-9]+\.json"
    rf"|attempts/{_NAME}/{_ATTEMPT}|checkpoints/{_NAME}/step-[0-9]{{6,}}/.+)"
)
_OURS = re.compile(
    rf"control\.json|removing\.json|(plans|more)/[0-9a-f]{{64}}\.json|specs/[0-9a-f]{{64}}\.yaml"
    rf"|examples/[0-9a-f]{{12}}\.jsonl"
    rf"|submissions/{_NAME}\.json|report/(report\.[a-z]+|junit\.xml|verified\.json|regression\.json|webhook\.json)"
    rf"|preflight/(kept|[0-9a-f]+)"
    rf"|trials/[0-9a-f]{{12}}/{_TRIAL}"
)


def is_ours(key: str) -> bool:
    """Whether an object of a run with this key can be one that this project wrote; any other is foreign."""
    return _OURS.fullmatch(key) is not None


def is_key(key: str) -> bool:
    """Whether `key` can name an object, or with a final slash a prefix."""
    return len(key) <= _LIMIT and _KEY.fullmatch(key) is not None


def check_key(key: str) -> str:
    """`key` itself. Raises ResultError when it could leave the run or would need quoting."""
    if not is_key(key):
        raise ResultError(
            f"store key {key!r} is not allowed: segments of A-Z a-z 0-9 . _ - that do not start with a dot"
        )
    return key


def check_object(key: str) -> str:
    """`key` itself. Raises ResultError when it cannot name an object: a prefix, or not allowed at all."""
    if key.endswith("/"):
        raise ResultError(f"store key {key!r} names a prefix; an object's key does not end in a slash")
    return check_key(key)


def check_prefix(prefix: str) -> str:
    """`prefix` itself. Raises ResultError unless it is empty or a key that ends in a slash."""
    if prefix and not prefix.endswith("/"):
        raise ResultError(f"store prefix {prefix!r} has to end in a slash: `trials/1` would also match `trials/12`")
    return check_key(prefix) if prefix else prefix


class Keys:
    """The layout of a run."""

    CONTROL = "control.json"
    TRIALS = "trials/"
    PLANS = "plans/"
    SPECS = "specs/"
    SUBMISSIONS = "submissions/"
    REPORT = "report/"
    MORE = "more/"
    REMOVING = "removing.json"

    @staticmethod
    def spec(spec_sha256: str) -> str:
        return check_key(f"specs/{spec_sha256}.yaml")

    @staticmethod
    def plan(spec_sha256: str) -> str:
        return check_key(f"plans/{spec_sha256}.json")

    @staticmethod
    def more(spec_sha256: str) -> str:
        """Which widened spec the run of this one goes on with."""
        return check_key(f"more/{spec_sha256}.json")

    @staticmethod
    def examples(data_id: str) -> str:
        """The scored rows of one choice of data; a widened spec may choose other rows in the same run."""
        return check_key(f"examples/{data_id}.jsonl")

    @staticmethod
    def submission(name: str) -> str:
        return check_key(f"submissions/{name}.json")

    @staticmethod
    def report(file: str) -> str:
        return check_key(f"report/{file}")

    @staticmethod
    def trial(trial_id: str) -> str:
        """The prefix of everything about one trial."""
        return check_key(f"trials/{trial_id}/")

    @staticmethod
    def result(trial_id: str) -> str:
        return check_key(f"trials/{trial_id}/result.json")

    @staticmethod
    def failures(trial_id: str) -> str:
        return check_key(f"trials/{trial_id}/failures/")

    @staticmethod
    def failure(trial_id: str, attempt: str) -> str:
        return check_key(f"trials/{trial_id}/failures/{attempt}.json")

    @staticmethod
    def retries(trial_id: str) -> str:
        return check_key(f"trials/{trial_id}/retries/")

    @staticmethod
    def retry(trial_id: str, number: int) -> str:
        return check_key(f"trials/{trial_id}/retries/{number}.json")

    @staticmethod
    def progress(trial_id: str) -> str:
        return check_key(f"trials/{trial_id}/progress.json")

    @staticmethod
    def attempts(trial_id: str) -> str:
        """The prefix of what all processes of a trial published."""
        return check_key(f"trials/{trial_id}/attempts/")

    @staticmethod
    def attempt(trial_id: str, attempt: str) -> str:
        """The prefix of what one process published."""
        return check_key(f"trials/{trial_id}/attempts/{attempt}/")

    @staticmethod
    def attempt_file(trial_id: str, attempt: str, path: str) -> str:
        return check_key(f"trials/{trial_id}/attempts/{attempt}/{path}")

    @staticmethod
    def manifest(trial_id: str, attempt: str) -> str:
        return check_key(f"trials/{trial_id}/attempts/{attempt}/manifest.json")

    @staticmethod
    def checkpoints(trial_id: str) -> str:
        """The prefix of the checkpoints of all attempts."""
        return check_key(f"trials/{trial_id}/checkpoints/")

    @staticmethod
    def checkpoint(trial_id: str, attempt: str, step: int) -> str:
        """The prefix of one checkpoint; the step is padded so that names sort by it."""
        return check_key(f"trials/{trial_id}/checkpoints/{attempt}/step-{step:06d}/")

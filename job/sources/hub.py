"""The model hub: commits and downloads. Every wait has an end, and a pinned commit that is here needs no network.

Limits
- Between the first answer and the end of a download, huggingface_hub's own timeouts and retries rule.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from job.contract.errors import ConfigurationError, TransientError

__all__ = ["commit_of", "download", "file_sizes"]

logger = logging.getLogger(__name__)

RepoType = Literal["model", "dataset"]
_COMMIT = re.compile(r"[0-9a-f]{40}")
# huggingface_hub waits for ever unless told (its client is made with timeout=None); 10 s is its own download timeout.
_TIMEOUT_S = 10.0


def commit_of(repo: str, *, kind: RepoType, revision: str | None) -> str:
    """The commit, 40 hex digits, that the revision (a branch, tag or commit; null: the default branch) is at now.

    With HF_HUB_OFFLINE=1 the one that the local cache knows. Raises ConfigurationError when there is no such thing or
    no right to see it, TransientError when the hub does not answer.
    """
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import RevisionResolutionError

    if constants.is_offline_mode():
        try:
            found = HfApi().resolve_revision(repo, repo_type=kind, revision=revision, local_files_only=True)
        except RevisionResolutionError as err:
            raise _not_here(repo, kind=kind, revision=revision) from err
        return found.resolved
    with _explained(repo, kind=kind, revision=revision):
        commit = HfApi().repo_info(repo, repo_type=kind, revision=revision, timeout=_TIMEOUT_S).sha
    if commit is None or not _COMMIT.fullmatch(commit):
        raise TransientError(f"{kind} {repo!r}: the hub named no commit but {commit!r}; try again")
    return commit


def download(repo: str, *, kind: RepoType, commit: str, patterns: Sequence[str]) -> Path:
    """The folder of the commit in the hub cache, with every file that matches `patterns`.

    Raises as `commit_of` does.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    offline = constants.is_offline_mode()
    if offline or _is_listed(repo, kind=kind, commit=commit):
        try:
            return _snapshot(repo, kind=kind, commit=commit, patterns=patterns, only_here=True)
        except LocalEntryNotFoundError as err:
            if offline:
                raise _not_here(repo, kind=kind, revision=commit) from err
    with _explained(repo, kind=kind, revision=commit):
        # Asked first because this call has a timeout, and listing the files has none: a hub may accept and stay silent.
        HfApi().repo_info(repo, repo_type=kind, revision=commit, timeout=_TIMEOUT_S)
        logger.info("fetching %s %s at %s", kind, repo, commit)
        return _snapshot(repo, kind=kind, commit=commit, patterns=patterns, only_here=False)


def file_sizes(repo: str, *, commit: str, folder: Path) -> Mapping[str, int]:
    """Bytes by name of the model's files at a commit of which some were downloaded into `folder` of the cache.

    Where the cache does not list the commit's files, as when it was copied here, those that are there count.
    """
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        tree = get_cached_repo_tree(repo, repo_type="model", revision=commit)
    except CachedRepoTreeNotFoundError:
        return {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    return {file.path: file.size for file in tree}


def _snapshot(repo: str, *, kind: RepoType, commit: str, patterns: Sequence[str], only_here: bool) -> Path:
    from huggingface_hub import snapshot_download

    return Path(
        snapshot_download(
            repo, repo_type=kind, revision=commit, allow_patterns=list(patterns), local_files_only=only_here
        )
    )


def _is_listed(repo: str, *, kind: RepoType, commit: str) -> bool:
    """Whether the cache knows which files the commit has, so that it can say whether they are all here."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        return bool(get_cached_repo_tree(repo, repo_type=kind, revision=commit))
    except CachedRepoTreeNotFoundError:
        return False


@contextmanager
def _explained(repo: str, *, kind: RepoType, revision: str | None) -> Iterator[None]:
    """Maps what huggingface_hub and its HTTP client raise to ours."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    what = f"{kind} {repo!r}" + (f" at {revision!r}" if revision else "")
    try:
        yield
    except GatedRepoError as err:
        raise ConfigurationError(
            f"{what} is gated: accept its terms on its hub page, and set HF_TOKEN to a token that may read it"
        ) from err
    except RevisionNotFoundError as err:
        raise ConfigurationError(f"{what}: the hub knows the repository, and no such revision") from err
    except RepositoryNotFoundError as err:
        raise ConfigurationError(
            f"{what}: there is no folder of this name, and none on the hub that you may see; check the name, and set "
            "HF_TOKEN if it is private"
        ) from err
    except HFValidationError as err:
        raise ConfigurationError(f"{what} is no hub id: {err}") from err
    except HfHubHTTPError as err:
        status = err.response.status_code
        if status < 500 and status not in (408, 429):
            raise ConfigurationError(f"{what}: the hub refused with {status}; check HF_TOKEN and the name") from err
        raise TransientError(f"{what}: the hub answered {status}; try again later") from err
    except (HTTPError, LocalEntryNotFoundError) as err:
        raise TransientError(
            f"{what}: the hub does not answer ({type(err).__name__}: {_first_line(err)}); check the network, or set "
            "HF_HUB_OFFLINE=1 to use what an earlier download left in the cache, or name a local folder"
        ) from err


def _not_here(repo: str, *, kind: RepoType, revision: str | None) -> ConfigurationError:
    from huggingface_hub import constants

    flags = (" --repo-type dataset" if kind == "dataset" else "") + (f" --revision {revision}" if revision else "")
    return ConfigurationError(
        f"{kind} {repo!r} at {revision or 'main'!r} is not, or not whole, in {constants.HF_HUB_CACHE}, and "
        f"HF_HUB_OFFLINE forbids fetching it; run `hf download {repo}{flags}` where there is a network, or unset it"
    )


def _first_line(err: BaseException) -> str:
    return (str(err).strip().splitlines() or [""])[0][:200]

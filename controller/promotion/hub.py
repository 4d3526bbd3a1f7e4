"""An adapter in a repository of a model hub: a private one is made where there is none.

Limits
- Between the first answer and the end of an upload, huggingface_hub's own timeouts and retries rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from controller.promotion.place import Delivered, Place
from job.contract.errors import ConfigurationError, ConflictError, TransientError

__all__ = ["HubRepository"]

_TIMEOUT_S = 10.0  # of the first question; huggingface_hub's client waits for ever unless told
_THEIRS = frozenset({".gitattributes"})  # made by the hub with the repository


class _There(NamedTuple):
    commit: str | None
    names: frozenset[str]


class HubRepository:
    """A repository that is not there yet, or holds no file but those of an adapter; its history keeps what it held."""

    def __init__(self, repository: str) -> None:
        self._repository = repository

    def take(self, folder: Path, names: tuple[str, ...]) -> Delivered:
        from huggingface_hub import HfApi

        repository, api = self._repository, HfApi()
        with _explained(repository):
            before = self._there()
            if strange := sorted(before.names - _THEIRS - set(names)):
                raise ConflictError(
                    f"hub repository {repository!r} holds {strange[0]!r}, which is not of this adapter; name a new one"
                )
            if before.commit is None:
                api.create_repo(repository, private=True, exist_ok=True)
            after = api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                allow_patterns=list(names),
                commit_message="Promote an adapter of a lorasweep run",
            )
        written = () if before.names.issuperset(names) and after.oid == before.commit else names
        return Delivered(f"hub:{repository}", written)

    def _there(self) -> _There:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

        try:
            found = HfApi().model_info(self._repository, timeout=_TIMEOUT_S)
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:  # also one that the token may not see; making it says so
            return _There(None, frozenset())
        return _There(found.sha, frozenset(file.rfilename for file in found.siblings or ()))


@contextmanager
def _explained(repository: str) -> Iterator[None]:
    """Maps what huggingface_hub and its HTTP client raise to ours."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled

    what = f"hub repository {repository!r}"
    try:
        yield
    except OfflineModeIsEnabled as err:
        raise ConfigurationError(f"{what}: HF_HUB_OFFLINE forbids asking the hub; unset it to promote there") from err
    except LocalTokenNotFoundError as err:
        raise ConfigurationError(f"{what}: set HF_TOKEN to a token that may write there") from err
    except HFValidationError as err:
        raise ConfigurationError(f"{what} is no name for one: {err}") from err
    except HfHubHTTPError as err:
        status = err.response.status_code
        if status < 500 and status not in (408, 429):
            raise ConfigurationError(
                f"{what}: the hub refused with {status}; set HF_TOKEN to a token that may write there"
            ) from err
        raise TransientError(f"{what}: the hub answered {status}; try again later") from err
    except (HTTPError, OSError, RuntimeError) as err:  # hf_xet's are of the last kind
        raise TransientError(
            f"{what}: the hub does not answer ({type(err).__name__}); check the network, then run this again"
        ) from err


_: type[Place] = HubRepository

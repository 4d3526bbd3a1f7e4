"""Where this machine keeps what is no part of any run: processes, and the locks of runs in S3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from job.contract.errors import ConfigurationError

__all__ = ["state_home"]


def state_home(environ: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/lorasweep`, or `~/.local/state/lorasweep`.

    A relative value is ignored, as the XDG base directory specification asks: every working directory would have
    locks and processes of its own. Raises ConfigurationError for a user without a home directory.
    """
    try:
        base = Path(environ.get("XDG_STATE_HOME", "")).expanduser()
        if not base.is_absolute():
            base = Path("~/.local/state").expanduser()
    except RuntimeError as err:
        raise ConfigurationError(
            "no place for the state of local processes: this user has no home directory; set XDG_STATE_HOME to the "
            "absolute path of a folder"
        ) from err
    return base / "lorasweep"

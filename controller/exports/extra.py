"""Libraries that only an export needs: an extra of the package each."""

from __future__ import annotations

from importlib.util import find_spec

from job.contract.errors import ConfigurationError

__all__ = ["check_extra"]


def check_extra(module: str, *, extra: str) -> None:
    """Raises ConfigurationError with the remedy where `module` of this extra is not installed."""
    if find_spec(module) is None:
        raise ConfigurationError(f"{module} is not installed here; `pip install 'lorasweep[{extra}]'` brings it")

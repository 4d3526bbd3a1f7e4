"""What a plan needs to know of the base model: the words of its config.json and its shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controller.planning.model_shape import ModelShape, model_shape
from job.contract.config import Source
from job.contract.errors import ConfigurationError, SweepError, TransientError

__all__ = ["BaseModel", "base_model", "look_at_model"]


@dataclass(frozen=True)
class BaseModel:
    """Of the pinned model, as far as it could be read when the plan was made."""

    config: Mapping[str, Any] | None = None
    """Its config.json; None where that could not be read."""
    shape: ModelShape | None = None
    """None where config.json does not have the words for it."""
    unknown: str = "nobody has looked at the model"
    """Why a part is None; empty where none is."""


def base_model(config: Mapping[str, Any], *, weight_bytes: int) -> BaseModel:
    """What a config.json and the size of the weights say; pure."""
    try:
        return BaseModel(config, model_shape(config, weight_bytes=weight_bytes), unknown="")
    except ConfigurationError as err:
        return BaseModel(config, None, unknown=str(err))


def look_at_model(source: Source) -> BaseModel:
    """The model as its place tells it now; a place that cannot be read costs the knowledge, not the plan.

    Reads config.json and the sizes of files. A pin is read again only where its bytes were not hashed a moment before.
    Raises TransientError when the place does not answer.
    """
    from job.sources.description import describe_model  # clients of places, which `validate` never asks
    from job.sources.hashes import default_cache

    try:
        described = describe_model(source, cache=default_cache())
    except TransientError:
        raise  # a later look would find it, and the engine that a plan fixes must not depend on when it was made
    except SweepError as err:
        return BaseModel(unknown=str(err))
    return base_model(described.config, weight_bytes=described.weight_bytes)

"""What a sweep varies: grid, pairs, random draws, listed trials, seeds and baselines."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from job.contract.base import Flag, Frozen, Number, Positive, Seed, Text

__all__ = ["Axis", "RandomRange", "RandomSearch", "VariedValue", "Vary", "written"]

VariedValue = StrictBool | StrictInt | StrictFloat | StrictStr | None | tuple[StrictStr, ...]
"""One value of a varied path, before its field's own rule is applied."""


def _plain_list_is_values(value: Any) -> Any:
    return {"values": value} if isinstance(value, list | tuple) else value


class Axis(Frozen):
    """The values of one path."""

    values: Annotated[tuple[VariedValue, ...], Field(min_length=1)]
    """Tried in this order."""
    why: Text | None = None
    """The question that this axis answers; printed in the report."""


class RandomRange(Frozen):
    """Where the values of one path are drawn from."""

    low: Number
    """Smallest value."""
    high: Number
    """Largest value."""
    log: Flag = False
    """Draw the logarithm uniformly, as is usual for learning rates."""

    @model_validator(mode="after")
    def _low_is_below_high(self) -> RandomRange:
        if not self.low < self.high:
            raise ValueError(f"low {written(self.low)} has to be below high {written(self.high)}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range has to start above 0, got low: {written(self.low)}")
        return self


class RandomSearch(Frozen):
    """Random points (Bergstra and Bengio 2012); each is combined with every point of grid and pairs."""

    n: Positive
    """How many points; more points keep the earlier ones."""
    seed: Seed = 0
    """Of the draws; the same spec always draws the same points."""
    ranges: Annotated[dict[Text, RandomRange], Field(min_length=1)]
    """Path to range."""


class Vary(Frozen):
    """The trials of a sweep."""

    grid: dict[Text, Annotated[Axis, BeforeValidator(_plain_list_is_values)]] = Field(default_factory=dict)
    """Path to values: every combination is a configuration; the first path varies slowest."""
    paired: tuple[Annotated[dict[Text, tuple[VariedValue, ...]], Field(min_length=1)], ...] = ()
    """Paths whose values go together, position by position; each block is combined with the grid."""
    random: RandomSearch | None = None
    """Points drawn at random instead of listed."""
    trials: tuple[dict[Text, VariedValue], ...] = ()
    """Single configurations, added as written after all others."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    """Every trained configuration runs once with each."""
    rotating_seeds: Positive | None = None
    """So many seeds in the place of `seeds`, derived from the name of the run: other ones each night."""
    baselines: tuple[Annotated[str, Field(pattern=r"^(zero-shot|lead-[1-9][0-9]?)$")], ...] = ("zero-shot",)
    """`zero-shot`: the base model, once per prompt in use; `lead-3`: the first three lines of the input, once."""

    @property
    def seed_count(self) -> int:
        """How many seeds each trained configuration runs with."""
        return self.rotating_seeds or len(self.seeds)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every varied path, in the order of first mention; labels are written in it."""
        listed = [path for trial in self.trials for path in trial]
        return tuple(dict.fromkeys([*self.product_paths, *listed]))

    @property
    def product_paths(self) -> tuple[str, ...]:
        """The paths that grid, pairs and random draws vary."""
        paired = [path for block in self.paired for path in block]
        drawn = self.random.ranges if self.random else ()
        return tuple(dict.fromkeys([*self.grid, *paired, *drawn]))


def written(value: object) -> str:
    """A value as a label shows it: text as it is, numbers in their shortest form (0.0005 is `5e-4`, 8.0 is `8`).

    Equal values have equal labels however the spec writes them, since runs over time are matched by label.
    """
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | tuple):
        return "[" + ", ".join(written(part) for part in value) + "]"
    return _short(value) if isinstance(value, float) else str(value)


def _short(number: float) -> str:
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    if not isinstance(exponent, int):  # infinity or NaN
        return repr(number)
    text = "".join(str(digit) for digit in digits)
    scientific = f"{text[0]}{'.' if text[1:] else ''}{text[1:]}e{len(text) - 1 + exponent}"
    plain = f"{abs(Decimal(repr(number))):f}".removesuffix(".0")
    return "-" * sign + (scientific if len(scientific) < len(plain) else plain)

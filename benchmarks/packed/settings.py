"""What is measured, and with which numbers; every one of them can be changed on the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

from packed.ablations import ABLATIONS

__all__ = ["ROOT", "SHAPES", "WAYS", "Arguments", "Settings", "command_of", "parsed"]

ROOT = Path(__file__).resolve().parents[2]
WAYS: Mapping[str, str] = {
    "trl": "TRL's SFTTrainer, a process for each trial",
    "reference": "reference engine, a process for each trial",
    "packed": "packed",
    **{f"packed-{name}": f"packed, {words}" for name, words in ABLATIONS.items()},
}
"""Every way by name, in the order in which it runs."""
SHAPES = ("gpt2", "llama-1b")
"""Models with random weights, for a machine without a network; packed.random_model knows them."""

_PAGE = ROOT / "benchmarks" / "packed.md"
_DEFAULT_MODEL = ROOT / ".demo" / "smollm2-135m-instruct"


@dataclass(frozen=True)
class Settings:
    """The sweep. Two runs with the same settings and the same model can be compared on one machine."""

    trials: int = 8
    """Trained configurations: 2 prompts x rank 8/16 x 2 learning rates, then again with another seed."""
    steps: int = 32
    batch: int = 2
    accumulation: int = 2
    eval_steps: int = 16
    validation_rows: int = 10
    test_rows: int = 64
    max_new_tokens: int = 64
    eval_batch_size: int = 16
    baselines: bool = False
    """Whether the base model is scored as well, with each prompt."""
    check_steps: int = 4
    """Of the runs without dropout in which every way has to have the same losses."""

    @property
    def train_rows(self) -> int:
        """As many as are trained on: no way has to read, and no way repeats, any other."""
        return self.steps * self.batch * self.accumulation


class Arguments(NamedTuple):
    """The command line."""

    settings: Settings
    ways: tuple[str, ...]
    model: Path
    shape: str | None
    """A random model of that shape is made, and `model` is not used."""
    dtype: str | None
    """None: bfloat16 on CUDA, else float32."""
    tolerance: float | None
    """Largest relative difference of two losses; None: by the dtype."""
    page: Path
    measured: Path | None
    """Where measurements are kept, and taken from if they are of the same settings on the same machine."""


def parsed(argv: Sequence[str] | None = None) -> Arguments:
    """The command line's wishes; ends the process with 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m packed", description="See benchmarks/README.md.")
    for field in fields(Settings):
        option = "--" + field.name.replace("_", "-")
        if field.name == "baselines":
            parser.add_argument(option, action="store_true", help="score the base model with each prompt, too")
        else:
            parser.add_argument(option, type=_positive, default=field.default, help="default: %(default)s")
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--model", type=Path, default=_DEFAULT_MODEL, metavar="FOLDER", help="of `make demo` by default")
    model.add_argument("--random", choices=SHAPES, help="a model of this shape with random weights, made for the run")
    parser.add_argument("--ways", type=_ways, default=tuple(WAYS), metavar="A,B", help=", ".join(WAYS))
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="default: bfloat16 on CUDA, else float32")
    parser.add_argument("--tolerance", type=float, help="of losses, relative; default: 1e-4 in float32, else 2e-2")
    parser.add_argument("--page", type=Path, default=_PAGE, help="default: benchmarks/packed.md; the plot is beside it")
    parser.add_argument("--measured", type=Path, metavar="FOLDER", help="keep measurements there, and go on from them")
    given = parser.parse_args(argv)
    settings = Settings(**{field.name: getattr(given, field.name) for field in fields(Settings)})
    if settings.steps % settings.eval_steps:
        parser.error(f"--eval-steps {settings.eval_steps} does not divide --steps {settings.steps}")
    return Arguments(
        settings=settings,
        ways=given.ways,
        model=Path(os.path.abspath(given.model)),  # noqa: PTH100  # a link stays the name that was given
        shape=given.random,
        dtype=given.dtype,
        tolerance=given.tolerance,
        page=given.page,
        measured=given.measured,
    )


def command_of(arguments: Arguments) -> str:
    """What gives the same measurement; without folders, which are another machine's business."""
    options = []
    for field in fields(Settings):
        value = getattr(arguments.settings, field.name)
        if value != field.default:
            options.append(f"--{field.name.replace('_', '-')}" + ("" if value is True else f" {value}"))
    if arguments.shape is not None:
        options.append(f"--random {arguments.shape}")
    if arguments.dtype is not None:
        options.append(f"--dtype {arguments.dtype}")
    if arguments.tolerance is not None:
        options.append(f"--tolerance {arguments.tolerance:g}")
    if arguments.ways != tuple(WAYS):
        options.append(f"--ways {','.join(arguments.ways)}")
    return "make bench-packed" + (f' BENCH_ARGS="{" ".join(options)}"' if options else "")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _ways(text: str) -> tuple[str, ...]:
    asked = text.split(",")
    if unknown := [name for name in asked if name not in WAYS]:
        raise argparse.ArgumentTypeError(
            f"there is no way {', '.join(map(repr, unknown))}; there are {', '.join(WAYS)}"
        )
    return tuple(name for name in WAYS if name in asked)

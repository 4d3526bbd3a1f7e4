"""`make bench-packed`: the same sweep four ways, one after the other, each in processes of its own.

First every way trains a few steps without dropout: they have to have the same losses, and what is on disk is in the
page cache afterwards. Then the sweep itself; nothing is written when losses or amounts of work differ.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from job.contract.errors import SweepError
from packed.agreement import TOLERANCE, Agreement, agreement, check_losses, check_work
from packed.machine import Machine, machine_here, require_trl
from packed.measured import MeasuredWay
from packed.plot import plot
from packed.process import BenchmarkError, run
from packed.settings import Arguments, command_of, parsed
from packed.sweep import Sweep, new_sweep, reference_tokens, write_rows
from packed.table import Page, page
from packed.ways import Ways


def main() -> int:
    arguments = parsed()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-packed-") as folder:
            _measure(arguments, Path(folder))
    except (BenchmarkError, SweepError) as err:
        sys.stderr.write(f"bench-packed: {err}\n")
        return 1
    return 0


def _measure(arguments: Arguments, folder: Path) -> None:
    machine = machine_here(folder)
    if "trl" in arguments.ways:
        require_trl(machine)
    dtype = arguments.dtype or ("bfloat16" if machine.on_cuda else "float32")
    tolerance = TOLERANCE[dtype] if arguments.tolerance is None else arguments.tolerance
    model = _model(arguments, folder, dtype=dtype)
    repeated = write_rows(folder / "rows", settings=arguments.settings)
    written = reference_tokens(folder / "rows", cap=arguments.settings.max_new_tokens) if arguments.shape else None
    sweep = new_sweep(model, folder / "rows", settings=arguments.settings, dtype=dtype, tokens_written=written)
    checked = _checked(sweep, arguments, folder / "check", on_cuda=machine.on_cuda)
    check_losses(checked, tolerance=tolerance)
    ways: list[MeasuredWay] = []
    compared: list[Agreement] = []
    for way in _measured(sweep, arguments, folder / "sweep", machine=machine):
        ways.append(way)
        check_work(ways)  # after each, as the next may take an hour
        compared = _compared(ways)
        check_losses(compared, tolerance=tolerance)
    plotted = arguments.page.with_suffix(".svg")
    plotted.write_text(plot(ways), encoding="utf-8")
    text = page(
        Page(
            ways, [*checked, *compared], machine.in_words(), arguments.shape or model.name, dtype, arguments.settings,
            command=command_of(arguments), repeated=repeated, tokens_written=written, plot=plotted.name,
        )
    )  # fmt: skip
    arguments.page.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def _model(arguments: Arguments, folder: Path, *, dtype: str) -> Path:
    if arguments.shape is not None:
        model = folder / f"random-{arguments.shape}"
        run("packed.random_model", arguments.shape, dtype, str(model), log=folder / "model.txt")
        return model
    if not (arguments.model / "config.json").is_file():
        raise BenchmarkError(
            f"{arguments.model} is no model; `make demo` makes the default one, or take --model FOLDER or --random gpt2"
        )
    return arguments.model


def _checked(sweep: Sweep, arguments: Arguments, folder: Path, *, on_cuda: bool) -> list[Agreement]:
    """How far TRL and packed are from the reference without dropout, from the same first weights, in the same order."""
    settings = replace(
        arguments.settings, trials=1, steps=min(arguments.settings.check_steps, arguments.settings.steps),
        eval_steps=arguments.settings.steps, validation_rows=1, test_rows=1, baselines=False,
    )  # fmt: skip
    ways = [way for way in ("reference", "packed", "trl") if way in arguments.ways]
    write_rows(folder / "rows", settings=settings)
    trial = sweep.trials[0]
    small = new_sweep(
        Path(sweep.model.location), folder / "rows", settings=settings,
        dtype=trial.config.model.dtype, tokens_written=1, lora_dropout=0.0,
    )  # fmt: skip
    found = {}
    for way in ways:
        _say(f"checking {way}")
        found[way] = Ways(small, folder, on_cuda=on_cuda).run(way)
    first = found.pop(ways[0]) if ways else None
    return [] if first is None else [_named(agreement(way, first)) for way in found.values()]


def _named(found: Agreement) -> Agreement:
    return found._replace(way=f"{found.way}, without dropout")


def _measured(sweep: Sweep, arguments: Arguments, folder: Path, *, machine: Machine) -> Iterator[MeasuredWay]:
    """Every way; one that was measured before, with the same settings on the same machine, is not run again."""
    what = json.dumps(
        {
            "settings": asdict(arguments.settings),
            "machine": machine._asdict(),
            "trials": [trial.trial_id for trial in sweep.trials],
        },
        sort_keys=True,
    )
    kept = arguments.measured
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        about = kept / "about.json"
        if about.exists() and about.read_text(encoding="utf-8") != what:
            raise BenchmarkError(f"{kept} holds measurements of another sweep, machine or version; name another folder")
        about.write_text(what, encoding="utf-8")
    for way in arguments.ways:
        path = None if kept is None else kept / f"{way}.json"
        if path is not None and path.exists():
            yield MeasuredWay.model_validate_json(path.read_bytes())
            continue
        _say(f"measuring {way}")
        measured = Ways(sweep, folder, on_cuda=machine.on_cuda).run(way)
        _say(f"{way}: {measured.seconds:.1f} s")
        if path is not None:
            path.write_text(measured.model_dump_json(), encoding="utf-8")
        yield measured


def _compared(ways: Sequence[MeasuredWay]) -> list[Agreement]:
    """Every way against the reference; TRL at the first step, as its dropout takes other masks from then on."""
    by_name = {way.way: way for way in ways}
    first = by_name.get("reference") or by_name.get("packed")
    if first is None:
        return []
    return [agreement(way, first, steps=1 if way.way == "trl" else None) for way in ways if way is not first]


def _say(text: str) -> None:
    sys.stderr.write(f"bench-packed: {text}\n")


if __name__ == "__main__":
    sys.exit(main())

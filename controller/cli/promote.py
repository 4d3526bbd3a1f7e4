"""`lorasweep promote RUN TRIAL --to PLACE`: an adapter with its evidence, where others take it from."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from controller.cli.errand import Errand
from controller.cli.target import Target, open_target
from controller.collect import TrialData, collect, read_examples
from controller.program import program
from controller.promotion.adapter import CARD, fetch_adapter
from controller.promotion.card import Evidence, promoted_card
from controller.promotion.chosen import BEST, Chosen, choose
from controller.promotion.place import Delivered, place_of
from controller.report.content import objective_of
from controller.report.numbers import counted
from controller.report.ranking import Ranking, ranking_of
from controller.streams import deliver, deliver_json, tell
from job.contract.errors import ExitCode, ResultError
from job.store.whole_file import explained

__all__ = ["run_promote"]


def run_promote(args: argparse.Namespace) -> int:
    """Bring the adapter of one trial to a place and say which it is."""
    errand = Errand("promote", (args.trial, "--to", args.to))
    target = open_target(args.target, store=args.store, run=args.run, errand=errand)
    place = place_of(args.to, run_uri=target.naming.run_uri)
    ranking = _ranking(target)
    chosen = choose(args.trial, ranking)
    if args.trial == BEST and (others := [letter for letter in chosen.tied if letter != chosen.planned.letter]):
        tell(f"{chosen.planned.letter} has the best mean, and is not shown better than {', '.join(others)}\n")
    with TemporaryDirectory(prefix="lorasweep-promote-") as made:
        folder = Path(made)
        with explained(folder):
            names = _fetch(target, chosen, ranking, folder=folder)
        delivered = place.take(folder, names)
    _say(args.output, chosen, delivered, names)
    return ExitCode.DONE


def _ranking(target: Target) -> Ranking:
    collected = collect(target.store, target.plan, target.spec)
    return ranking_of(collected.trials, objective_of(target.spec), characters=_lengths(target))


def _lengths(target: Target) -> Mapping[tuple[str, str], int]:
    try:
        examples = read_examples(target.store, target.plan)
    except ResultError:  # losses of different prompts are then not compared, as in the report
        return {}
    return {key: len(example.reference) for key, example in examples.items()}


def _fetch(target: Target, chosen: Chosen, ranking: Ranking, *, folder: Path) -> tuple[str, ...]:
    """The verified files with the evidence in their card. Raises ResultError with the command that makes them anew."""
    try:
        names = fetch_adapter(target.store, chosen.measured.result, folder)
        card = promoted_card((folder / CARD).read_text(encoding="utf-8"), _evidence(target, chosen, ranking))
    except (ResultError, UnicodeDecodeError) as err:
        retry = shlex.join([*program(), "retry", target.naming.run_uri, chosen.planned.trial_id])
        raise ResultError(f"{err}; `{retry}` and another run make it anew") from err
    (folder / CARD).write_text(card, encoding="utf-8")
    return names


def _evidence(target: Target, chosen: Chosen, ranking: Ranking) -> Evidence:
    alone = [TrialData(chosen.planned, "succeeded", measured=chosen.measured)]
    metrics = ranking_of(alone, objective_of(target.spec), characters={}).standings[0].metrics
    return Evidence(chosen, ranking.objective, metrics)


def _say(output: str, chosen: Chosen, delivered: Delivered, names: tuple[str, ...]) -> None:
    planned = chosen.planned
    if output == "json":
        deliver_json(
            {
                "trial_id": planned.trial_id,
                "adapter_id": planned.adapter_id,
                "letter": planned.letter,
                "label": planned.label,
                "seed": planned.seed,
                "rank": chosen.standing.rank,
                "place": delivered.place,
                "files": list(names),
                "written": list(delivered.written),
            }
        )
        return
    adapter = f"{planned.letter} {planned.trial_id} ({planned.label}, seed {planned.seed})"
    if delivered.written:
        deliver(f"promoted {adapter} to {delivered.place}: {counted(len(delivered.written), 'file')}\n")
    else:
        deliver(f"{adapter} is in {delivered.place} already\n")

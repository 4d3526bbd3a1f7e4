"""report.html: one file without scripts, pictures or anything that is fetched; what it may do, its policy says."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from controller.report import numbers
from controller.report.brief import NARROW, Brief, brief
from controller.report.diagnosis_words import HEADING as SHORTCOMINGS
from controller.report.document import Configuration, Report
from controller.report.effects_words import EFFECTS_LEGEND, effect_lines, effects_heading, effects_sentences
from controller.report.examples_words import compare_command, set_views
from controller.report.reproduction import reproduction_of
from controller.report.scatter import tradeoffs_view
from controller.report.svg import charts_of, key_of, whiskers_of
from controller.report.trend import trend_of
from controller.report.words import (
    baseline_words,
    behind_words,
    headline,
    opening,
    rows_words,
    short_label,
    spent_words,
    splits_of,
    store_words,
    tied_letters,
    train_words,
    trial_words,
)
from job.contract.documents import ScoredSplit

__all__ = ["PAGE_BYTES", "html_report"]

PAGE_BYTES = 2_000_000

_ENVIRONMENT = Environment(
    loader=PackageLoader("controller.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(
    plus_minus=numbers.plus_minus,
    half_width=numbers.half_width,
    number=numbers.written_number,
    seconds=numbers.seconds,
    size=numbers.bytes_written,
    title_of=numbers.title,
    arrow=numbers.arrow,
    better=numbers.better,
    kind=baseline_words,
    money=numbers.money,
    train=train_words,
    opening=opening,
)
_ENVIRONMENT.globals.update(trial_words=trial_words)
_ENVIRONMENT.tests.update(without_spread=numbers.has_no_spread)


def html_report(whole: Report) -> str:
    """The page, in less than 2 MB: with shorter texts and fewer of them where it would be more."""
    page = _page(whole, brief(whole))
    return page if len(page.encode()) <= PAGE_BYTES else _page(whole, brief(whole, room=NARROW))


def _page(whole: Report, shown: Brief) -> str:
    """Values are only ever text in it: the template is compiled before it meets them."""
    report = shown.report
    style = files("controller.report").joinpath("templates/report.css").read_text(encoding="utf-8")
    charts = charts_of(report)
    found = {
        name for configuration in report.configurations for split in configuration.metrics.values() for name in split
    }
    page = _ENVIRONMENT.get_template("report.html.jinja").render(
        report=report,
        goal=report.objective,
        style=Markup(style),  # noqa: S704  (a file of this package)
        policy=_policy(style),
        headline=headline(whole),
        spent_words=spent_words(report),
        store_words=store_words(report),
        left_out=shown.left_out,
        failures_left_out=shown.failures_left_out,
        failed=len(whole.failures),
        tied=tied_letters(report),
        behind=behind_words(report),
        effects=report.effects,
        effects_heading="" if report.effects is None else effects_heading(report.effects),
        effects_legend=EFFECTS_LEGEND,
        effect_lines=() if report.effects is None else effect_lines(report.effects),
        effects_sentences=() if report.effects is None else effects_sentences(report.effects),
        is_ranked=any(found.rank is not None for found in report.configurations),
        splits={split: _ranked(report, split) for split in splits_of(report)},
        rows_words={split: rows_words(_ranked(report, split), split) for split in splits_of(report)},
        columns=numbers.metric_names(sorted(found), objective=report.objective.metric),
        whiskers={split: whiskers_of(report, split, report.objective.metric) for split in splits_of(report)},
        labels={configuration.letter: short_label(configuration, report) for configuration in report.configurations},
        by_letter=sorted(report.configurations, key=lambda found: (len(found.letter), found.letter)),
        tradeoffs=tradeoffs_view(report),
        takeaways=report.takeaways,
        reproduction=reproduction_of(report),
        charts=charts,
        shortcomings_heading=SHORTCOMINGS,
        trend=None if report.regression is None else trend_of(report.regression),
        key=key_of(charts),
        example_sets=set_views(report),
        compare_command=compare_command(report),
        unranked=_unranked(report),
        shared=_by_section(report.setup.shared),
    )
    return f"{page.rstrip()}\n"


def _policy(style: str) -> str:
    """Nothing may be loaded or run; the one style sheet is allowed by its hash."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _ranked(report: Report, split: ScoredSplit) -> list[Configuration]:
    return [found for found in report.configurations if found.metrics.get(split)]


def _by_section(settings: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Section to field to value, of `section.field` to value."""
    sections: dict[str, dict[str, str]] = {}
    for path, value in settings.items():
        section, _, name = path.rpartition(".")
        sections.setdefault(section or "prompt", {})[name] = value
    return sections


def _unranked(report: Report) -> Mapping[str, str]:
    """Letter to state, of configurations that the ranking lacks."""
    lacking = [found for found in report.configurations if not found.metrics.get(report.objective.split)]
    return {found.letter: ", ".join(dict.fromkeys(trial.state for trial in found.trials)) for found in lacking}

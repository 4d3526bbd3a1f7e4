"""Verdicts in numbers, made up: a clear winner of three unless it is said otherwise."""

from __future__ import annotations

from typing import Any

from controller.report.conclusions import BesideBaseline, BesideBest, Decided, MoreData, Verdict
from controller.report.verdict_words import worded

MEANS = {
    "A": "0.231 \N{PLUS-MINUS SIGN} 0.020",
    "B": "0.252 \N{PLUS-MINUS SIGN} 0.020",
    "C": "0.312 \N{PLUS-MINUS SIGN} 0.020",
}


def beside(letter: str, *, behind: float = 0.0, tied: bool = False) -> BesideBest:
    """C is the best; the interval is 0.025 to each side."""
    best = letter == "C"
    return BesideBest(
        letter=letter,
        behind=behind,
        low=None if best else behind - 0.025,
        high=None if best else behind + 0.025,
        in_set=best or tied,
        worse_than=None if best or tied else "C",
    )


def baseline(label: str, *, by: float, shown: str = "better") -> BesideBaseline:
    return BesideBaseline.model_validate(
        {"letter": "X", "label": label, "better_by": by, "low": by - 0.02, "high": by + 0.02, "p": 0.01, "shown": shown}
    )


ZERO_SHOT, LEAD = baseline("zero-shot, prompt=v1", by=0.1), baseline("lead-3", by=0.05)


def decided_as(**changed: Any) -> Decided:
    values: dict[str, Any] = {
        "kind": "winner",
        "nothing": None,
        "metric": "rougeL",
        "split": "validation",
        "rows": 200,
        "seeds": 3,
        "best": ("C",),
        "tied": ("C",),
        "compared": (beside("C"), beside("B", behind=0.06), beside("A", behind=0.081)),
        "baselines": (ZERO_SHOT, LEAD),
        "baselines_split": "test",
        "missing_baselines": (),
        "would_show": None,
        "optimism": 0.004,
        "adapters_only": False,
        "few_seeds": False,
        "uneven": (),
        "small": False,
        "without_spread": (),
        "left_out": (),
    }
    return Decided.model_validate({**values, **changed})


def tied_as(**more: Any) -> Decided:
    """B is behind C by 0.012 and not shown worse; A is."""
    would_show = {"against": "B", "size": 0.012, "rows": 1234, "seeds": 4, "seeds_known": True, "detectable": 0.03}
    return decided_as(
        kind="tied",
        tied=("C", "B"),
        compared=(beside("C"), beside("B", behind=0.012, tied=True), beside("A", behind=0.081)),
        would_show=MoreData.model_validate({**would_show, **more}),
    )


def said(found: Decided) -> Verdict:
    return worded(found, means=MEANS)

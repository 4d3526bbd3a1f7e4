"""A spec with other metrics, and all else as it is."""

from __future__ import annotations

from collections.abc import Sequence

from controller.spec.file import LoadedSpec, parse_spec
from controller.spec.yaml_text import yaml_text
from controller.spec.yaml_tree import TreeValue, parse_yaml

__all__ = ["scored_by"]


def scored_by(loaded: LoadedSpec, metrics: Sequence[str]) -> LoadedSpec:
    """The spec that asks for `metrics` and judges no night; the same bytes where it does already.

    Raises SpecError for a metric that is not installed.
    """
    wanted = tuple(dict.fromkeys(metrics))
    if loaded.spec.trial.evaluation.metrics == wanted and loaded.spec.regression is None:
        return loaded
    tree = _mapping(parse_yaml(loaded.text, name="the spec").value)
    tree.pop("regression", None)
    trial = _mapping(tree.get("trial"))
    trial["evaluation"] = {**_mapping(trial.get("evaluation")), "metrics": list(wanted)}
    text = yaml_text({**tree, "trial": trial})
    return parse_spec(text.encode(), name="the spec with these metrics", folder=loaded.folder)


def _mapping(value: TreeValue) -> dict[str, TreeValue]:
    return dict(value) if isinstance(value, dict) else {}

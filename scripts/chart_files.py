"""Writes what the chart takes from the code: values.schema.json, and the rules of the controller's Role."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from controller.kube.chart_values import values_schema
from controller.kube.rights import CONTROLLER_RIGHTS, Right

CHART = Path(__file__).resolve().parents[1] / "charts" / "lorasweep"


def generated() -> dict[Path, str]:
    """The text of each file, by its path."""
    return {CHART / "values.schema.json": values_schema(), CHART / "files" / "controller-rights.yaml": rules_text()}


def rules_text() -> str:
    """The rules of a Role in YAML, each with what it is for."""
    return "# Of controller/kube/rights.py, by `make chart`.\n" + "".join(_rule(right) for right in CONTROLLER_RIGHTS)


def _rule(right: Right) -> str:
    resource = right.resource.plural + (f"/{right.subresource}" if right.subresource else "")
    return (
        f"- apiGroups: {json.dumps([right.resource.api_group])} # {right.purpose}\n"
        f"  resources: {json.dumps([resource])}\n"
        f"  verbs: {json.dumps(list(right.verbs))}\n"
    )


def main() -> int:
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

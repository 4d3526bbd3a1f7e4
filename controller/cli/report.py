"""`lorasweep report RUN`: the report again, from what is in the store."""

from __future__ import annotations

import argparse
import sys

from controller.cli.ending import as_reported
from controller.cli.errand import Errand
from controller.cli.target import open_target
from controller.remedies import remedies
from controller.report.document import Report
from controller.report.terminal import ranked_table
from controller.report.write import write_report
from controller.states import TrialStatus
from controller.streams import deliver, tell
from controller.terminal import columns_of
from controller.verified import VerifiedResults
from job.contract.documents import to_json
from job.contract.errors import ExitCode
from job.store import Keys

__all__ = ["run_report"]


def run_report(args: argparse.Namespace) -> int:
    """Write report/ of the run anew and say where it is; 1 when a trial failed or nothing could be ranked."""
    target = open_target(args.target, store=args.store, run=args.run, errand=Errand("report"))
    results = VerifiedResults(target.store, trusting=not args.verify)
    report = write_report(
        target.store,
        plan=target.plan,
        spec_text=target.loaded.text,
        results=results,
        compared=None if args.compare is None else (args.compare[0], args.compare[1]),
        markdown_bytes=args.max_bytes,
    )
    if args.output == "json":
        deliver(to_json(report).decode())
    else:
        deliver(ranked_table(report, columns_of(sys.stdout)))
        deliver(f"report: {target.store.uri}/{Keys.report('report.html')}\n")
    pending = {trial.trial_id: TrialStatus("pending") for trial in target.plan.trials}
    tell(remedies(target.plan, as_reported(pending, report), run=target.naming.run_uri))
    return int(ExitCode.DONE if _sound(report) else ExitCode.FINISHED_WITH_FAILURES)


def _sound(report: Report) -> bool:
    trained = [found for found in report.configurations if found.kind == "lora"]
    ranked = any(found.rank is not None for found in trained)
    return not report.failures and (ranked or report.state == "partial")

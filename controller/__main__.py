"""`lorasweep VERB`: the argument parser, and one module per verb that is imported only when it is called.

`kubectl lorasweep VERB` is the same, where trials run on a cluster unless said otherwise.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, NoReturn

from controller.interrupts import ending
from controller.logs import configure_logging
from controller.program import default_backend, program
from controller.streams import deliver_failure, give_up_stdout, prepare_streams, tell
from job.contract.errors import ExitCode, SpecError, SweepError

__all__ = ["main"]

logger = logging.getLogger(__name__)


class _Verb(NamedTuple):
    module: str
    help: str
    add: Callable[[argparse.ArgumentParser], None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; gives the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser(words).parse_args(words)
    prepare_streams(as_json=arguments.output == "json")
    configure_logging(os.environ)
    try:
        _check_working_directory()
        return _function(arguments.verb)(arguments)
    except SweepError as err:
        return _failed(arguments, err.exit_code, str(err))
    except KeyboardInterrupt:
        with ending():
            return _failed(arguments, ExitCode.INTERRUPTED, "interrupted")
    except BrokenPipeError:
        give_up_stdout()  # whoever read it, such as `head`, has seen enough
        return int(ExitCode.DONE)
    except Exception as err:  # the one place where nothing may pass: an exit code is owed
        logger.exception("this is a bug in lorasweep, not in your sweep; please report it with the lines below")
        return _failed(arguments, ExitCode.BUG, f"ended by a bug: {type(err).__name__}")


def _failed(arguments: argparse.Namespace, code: ExitCode, message: str) -> int:
    tell(f"{' '.join(program())} {arguments.verb}: {message}\n")
    if arguments.output == "json":
        with suppress(BrokenPipeError, SweepError):
            deliver_failure(code, message)
    return int(code)


def _check_working_directory() -> None:
    """Raises SpecError where there is none, as after `rm -r` in another window: nothing relative could be found."""
    try:
        Path.cwd()
    except OSError as err:
        raise SpecError(f"the current directory is gone ({err.strerror}); change to one that exists") from err


def _function(verb: str) -> Callable[[argparse.Namespace], int]:
    module = import_module(f"controller.cli.{_VERBS[verb].module}")
    function: Callable[[argparse.Namespace], int] = getattr(module, f"run_{verb}")
    return function


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(int(ExitCode.MISTAKE), f"{self.prog}: {message}\n")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("lorasweep")
    except PackageNotFoundError:
        return "of a checkout that is not installed"


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=" ".join(program()),
        description="Fine-tune one base model many times with LoRA, and say what the evidence shows.",
        epilog="RUN: a spec file (with --store, --run) or <root>/<sweep>/<run>. TRIAL: a letter or the start of an id.",
    )
    # The package's metadata takes as long to read as all else here.
    version = f"%(prog)s {_version()}" if "--version" in words else ""
    parser.add_argument("--version", action="version", version=version, help="print the version and end")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)
    for name, verb in _VERBS.items():
        added = verbs.add_parser(name, help=verb.help, description=verb.help[0].upper() + verb.help[1:] + ".")
        verb.add(added)
    first = next((word for word in words if not word.startswith("-")), None)
    if first is not None and first not in _VERBS:
        near = difflib.get_close_matches(first, _VERBS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"verbs are {', '.join(_VERBS)}"
        parser.error(f"unknown verb {first!r}; {hint}")
    return parser


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", choices=["text", "json"], default="text", help="what stdout gets (default: text)")


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store", metavar="URI", help="store root, a folder or s3://bucket/prefix (default: the spec's)"
    )
    parser.add_argument("--run", metavar="NAME", help="which run of the sweep (default: main)")


def _add_spec(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", type=_spec_path, metavar="SPEC", help="the sweep, a YAML file")
    _add_output(parser)


def _spec_path(word: str) -> Path:
    if not word.strip():
        raise argparse.ArgumentTypeError("is empty; name a YAML file")  # Path("") would be the current directory
    return Path(word)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    _add_spec(parser)
    _add_place(parser)
    parser.add_argument(
        "--repin", action="store_true", help="look up model and data again, where an earlier run pinned them"
    )
    _add_backend(parser)


def _add_backend(parser: argparse.ArgumentParser) -> None:
    backend = default_backend()
    parser.add_argument(
        "--backend", choices=["local", "kubernetes"], default=backend, help=f"where the trials run (default: {backend})"
    )


def _add_preflight(parser: argparse.ArgumentParser) -> None:
    _add_plan(parser)
    _add_cluster(parser)
    parser.add_argument(
        "--canary", action="store_true", help="let one process in the shape of the largest trial look as well"
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_plan(parser)
    _add_cluster(parser)
    parser.add_argument("--metrics-port", type=int, metavar="PORT", help="offer /metrics to Prometheus on this port")
    parser.add_argument(
        "--metrics-linger-s",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="and so long after the end (60)",
    )


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_target(parser)
    parser.add_argument(
        "--metric", action="append", metavar="NAME", help="score by this one; again for more (default: the spec's)"
    )
    _add_backend(parser)
    _add_cluster(parser)


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    cluster = parser.add_argument_group("with --backend kubernetes")
    cluster.add_argument(
        "--cluster", type=_spec_path, metavar="FILE", help="image, Secrets, volumes, queue: a YAML file"
    )
    cluster.add_argument("--context", metavar="NAME", help="of the kubeconfig (default: its current one)")
    cluster.add_argument("-n", "--namespace", metavar="NAME", help="where the Jobs are made (default: the context's)")
    cluster.add_argument(
        "--run-from-job", metavar="JOB", help="call the run by the time for which a CronJob scheduled this Job"
    )
    cluster.add_argument("--owner", metavar="CONFIGMAP", help="a release's ConfigMap; deleting it ends the run")


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="RUN", help="a spec file, or <root>/<sweep>/<run>")
    _add_output(parser)
    _add_place(parser)


def _add_onlook(parser: argparse.ArgumentParser) -> None:
    """Options with which a command asks the cluster, too."""
    cluster = parser.add_argument_group("of a run on a cluster, to see what its pods say and why they wait")
    cluster.add_argument("--context", metavar="NAME", help="of the kubeconfig (default: its current one)")
    cluster.add_argument("-n", "--namespace", metavar="NAME", help="where its Jobs are (default: the context's)")


def _add_status(parser: argparse.ArgumentParser) -> None:
    _add_target(parser)
    _add_onlook(parser)
    parser.add_argument("--watch", action="store_true", help="go on until the run is finished")


def _add_trial(parser: argparse.ArgumentParser) -> None:
    _add_target(parser)
    parser.add_argument("trial", metavar="TRIAL", nargs="?", help="a letter or the start of an id (default: all)")


def _add_logs(parser: argparse.ArgumentParser) -> None:
    _add_target(parser)
    _add_onlook(parser)
    parser.add_argument("trial", metavar="TRIAL", nargs="?", help="a letter or the start of an id (default: what runs)")
    parser.add_argument("--tail", type=int, metavar="LINES", help="only the last lines")


def _add_report(parser: argparse.ArgumentParser) -> None:
    _add_target(parser)
    parser.add_argument("--verify", action="store_true", help="read every byte of every result again, however it looks")
    parser.add_argument(
        "--compare", nargs=2, metavar="LETTER", help="show the texts of these two side by side (default: the first two)"
    )
    parser.add_argument(
        "--max-bytes", type=int, metavar="N", default=60_000, help="of report.md, for a comment (default: 60000)"
    )


def _add_promote(parser: argparse.ArgumentParser) -> None:
    _add_target(parser)
    parser.add_argument("trial", metavar="TRIAL", help="a letter, the start of an id, or `best`")
    parser.add_argument("--to", metavar="PLACE", required=True, help="a new folder, s3://bucket/prefix, hub:ORG/NAME")


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="the run to compare with: a spec file, or <root>/<sweep>/<run>")
    parser.add_argument("b", metavar="B", help="the run that may be worse")
    _add_output(parser)


def _add_schema(parser: argparse.ArgumentParser) -> None:
    _add_output(parser)
    parser.add_argument("--report", action="store_true", help="of report.json, in the place of a spec's")


def _add_tensorboard(parser: argparse.ArgumentParser) -> None:
    _add_target(parser)
    _add_onlook(parser)
    parser.add_argument("--port", type=int, metavar="PORT", help="of 127.0.0.1; 0: any (default: TensorBoard's own)")
    parser.add_argument("--into", metavar="FOLDER", help="write the event files there, and start nothing")


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_target(parser)
    _add_onlook(parser)
    parser.add_argument("--to", metavar="TOOL", required=True, help="mlflow or mlflow:URI, a tracking server's address")
    parser.add_argument("--experiment", metavar="NAME", help="of MLflow (default: the sweep's name)")


def _add_clean(parser: argparse.ArgumentParser) -> None:
    _add_target(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--all", action="store_true", help="remove the whole run, results and all")
    parser.add_argument(
        "--keep-runs", type=int, metavar="N", help="remove runs of the sweep, but the newest N and what nights need"
    )


_PAUSE = "start no further trial of a run until `resume`; what runs, or waits in a cluster, goes on to its end"
_VERBS: dict[str, _Verb] = {
    "validate": _Verb("plan", "check a spec and say every mistake in it", _add_spec),
    "plan": _Verb(
        "plan", "list the trials of a spec, what exists of them already, and what they cost at most", _add_plan
    ),
    "preflight": _Verb(
        "preflight", "say whether store, sources and cluster would take a run; makes nothing", _add_preflight
    ),
    "run": _Verb("run", "bring every trial of a spec to its result and write the report", _add_run),
    "evaluate": _Verb("evaluate", "score the adapters of a run anew; trains nothing", _add_evaluate),
    "status": _Verb("status", "say where every trial of a run is", _add_status),
    "logs": _Verb("logs", "print what the newest process of a trial wrote", _add_logs),
    "report": _Verb("report", "write the report of a run from what is in its store", _add_report),
    "compare": _Verb("compare", "say whether run B is worse than run A, and what changed", _add_compare),
    "stop": _Verb("stop", "end a run or one trial; what is finished is kept", _add_trial),
    "pause": _Verb("pause", _PAUSE, _add_target),
    "resume": _Verb("pause", "let a paused run go on", _add_target),
    "retry": _Verb("retry", "give failed or stopped trials a new start", _add_trial),
    "promote": _Verb("promote", "copy a trial's adapter, with its evidence, to where others take it", _add_promote),
    "tensorboard": _Verb("tensorboard", "show a run in TensorBoard, on this machine alone", _add_tensorboard),
    "export": _Verb("export", "write the trials of a run to MLflow, each once", _add_export),
    "clean": _Verb("clean", "remove what a run no longer needs, or the whole run", _add_clean),
    "schema": _Verb("plan", "print the JSON Schema of a spec, or of report.json", _add_schema),
}


if __name__ == "__main__":
    sys.exit(main())

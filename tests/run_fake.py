"""`python run_fake.py SPEC STORE [--output json]`: `lorasweep run` with fake_job.py in the place of the job."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import fake_job

from controller.cli.run import SweepRun
from controller.cli.target import naming_of
from controller.interrupts import Interrupts
from controller.local.site import LocalSite
from controller.spec.file import load_spec
from job.contract.errors import SweepError

COMMAND = (sys.executable, fake_job.__file__)


def main() -> int:
    """As controller.__main__.main, for this one verb."""
    parser = argparse.ArgumentParser()
    parser.add_argument("spec", type=Path)
    parser.add_argument("store")
    parser.add_argument("--output", default="text")
    parser.add_argument("--run")
    arguments = parser.parse_args()
    try:
        loaded = load_spec(arguments.spec)
        naming = naming_of(loaded.spec, store=arguments.store, run=arguments.run)
        site = LocalSite(naming.run_uri, environ=os.environ, now=lambda: datetime.now(UTC), command=COMMAND)
        return SweepRun(loaded, naming, site, Interrupts(), output=arguments.output).whole()
    except SweepError as err:
        sys.stderr.write(f"{err}\n")
        return int(err.exit_code)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

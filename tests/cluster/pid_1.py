"""The first process of a cluster's namespaces: it collects ended processes, and ends when its lifeline does.

The lifeline is standard input, a pipe whose other end the harness holds. When the harness goes away, however it went,
this process ends, and the kernel then ends every process of the namespaces and drops their mounts and interfaces.
With `--stay` it waits to be killed.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def collect(_signal: int, _frame: FrameType | None) -> None:
    """Collect every child that has ended; orphans of the namespace become children of this process."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def main() -> None:
    signal.signal(signal.SIGCHLD, collect)
    if "--stay" in sys.argv:
        while True:
            signal.pause()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()

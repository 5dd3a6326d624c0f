"""A process of a launched job: ``python -m mindformers.parallel.launched LAUNCHER -m MODULE ...`` (or -c CODE).

It ends when its launcher, the process of that number, ends, however that happens (on Linux). And it leaves at once when
it failed: MindSpore 2.10 lets a process of a cluster end only after the others have let it go, so one that failed would
stay until those that wait for its numbers give up, half a minute later, and look like their victim.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import traceback

STOPPED = 128 + signal.SIGTERM
"""Status of a rank that stopped together with all others, as it was asked to."""
PR_SET_PDEATHSIG = 1


def main() -> int:
    """Run what the arguments say as a program; returns the status of a good end, and never from a bad one."""
    launcher, kind, what = int(sys.argv[1]), *sys.argv[2:4]
    _end_with(launcher)
    sys.argv[:4] = [what]
    status = _run(kind, what)
    if status not in (0, STOPPED):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _end_with(launcher: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:  # it has ended already
            os._exit(1)


def _run(kind: str, what: str) -> int:
    try:
        if kind == "-c":
            exec(compile(what, "<launched>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_module(what, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

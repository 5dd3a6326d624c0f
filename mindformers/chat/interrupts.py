"""Ctrl-C at moments of our choice. Nothing is imported here, so that it can begin before MindSpore.

MindSpore 2.10 puts a handler of its own in place of Python's when it compiles a graph, and that one ends the process.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import Iterator

CTRL_C = {signal.SIGINT}


@contextmanager
def held() -> Iterator[None]:
    """Let every Ctrl-C wait, in this thread and in those that it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, CTRL_C)
    try:
        yield
    finally:
        taken()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def heard() -> Iterator[None]:
    """Raise KeyboardInterrupt for a Ctrl-C, also for one that waits."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, CTRL_C)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, CTRL_C)


def taken() -> bool:
    """Return whether a Ctrl-C waits, which then is over."""
    if not CTRL_C & signal.sigpending():
        return False
    signal.sigwait(CTRL_C)
    return True

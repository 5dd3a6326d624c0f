"""Work beside training: one piece at a time in a thread; what goes wrong in it is raised in the thread of training."""

from __future__ import annotations

import threading
from typing import Callable, Optional


class Background:
    """Carries out one piece of work at a time, so that at most one is under way and memory stays bounded.

    The thread is no daemon: a process that ends waits for the work.
    """

    def __init__(self) -> None:
        self._thread: Optional[threading.Thread] = None
        self._error: Optional[BaseException] = None

    def start(self, work: Callable[[], object]) -> None:
        """Wait for the piece under way, then begin `work`. Raises what went wrong in the former."""
        self.wait()
        self._thread = threading.Thread(target=self._carry_out, args=(work,), name="mindformers-background")
        self._thread.start()

    def wait(self) -> None:
        """Return when nothing is under way. Raises what went wrong, once."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()

    def check(self) -> None:
        """Raise what went wrong, once, without waiting."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _carry_out(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # carried to the thread of training, which raises it
            self._error = error

"""The one thread that runs the model. Texts that wait are written together; others join when a batch has ended."""

from __future__ import annotations

import threading
from collections import deque
from typing import Callable, Deque, Dict, List, Optional, Sequence, Union

from mindformers.chat.speaker import Speaker
from mindformers.errors import MindFormersError
from mindformers.generation.rows import Row
from mindformers.log import logger
from mindformers.serve.refusals import RefusedError

ABANDONED = "abandoned"
News = Union[str, RefusedError]


class Job:
    """One text that waits, is written or was written."""

    def __init__(self, row: Row, tell: Callable[[News, Optional[str]], None]):
        """Keep a row; `tell` is called in the worker's thread.

        It gets each new piece of text with the reason why the text ended, None while it goes on; or the error that
        ended it.
        """
        self.row, self._tell = row, tell
        self.is_abandoned = False
        """Set from any thread when nobody wants the text any more."""
        self._is_told = False

    def look(self) -> None:
        """Pass on what the last token brought, and end a row that nobody wants."""
        if self.is_abandoned:
            self.row.finished = ABANDONED
        elif not self._is_told and (self.row.piece or self.row.finished):
            self._is_told = self.row.finished is not None
            self._tell(self.row.piece, self.row.finished)

    def fail(self, error: RefusedError) -> None:
        """End the text with an error."""
        if not self.is_abandoned and not self._is_told:
            self._is_told = True
            self._tell(error, None)


class Worker:
    """A queue of jobs and the thread that carries them out."""

    def __init__(self, speaker: Speaker, max_queue: int, max_batch: int):
        """Prepare for at most `max_queue` texts that wait and `max_batch` that are written at a time."""
        self.speaker, self.max_queue, self.max_batch = speaker, max_queue, max_batch
        self._waiting: Deque[Job] = deque()
        self._writing: List[Job] = []
        self._changed = threading.Condition()  # its lock may be taken twice by one thread
        self._is_stopping = False
        self._thread = threading.Thread(target=self._work, name="model")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Fail all jobs and end the thread after the token that it is at."""
        with self._changed:
            self._is_stopping = True
            waiting, self._waiting = list(self._waiting), deque()
            for job in (*waiting, *self._writing):
                job.fail(RefusedError(503, "the server is shutting down"))
                job.is_abandoned = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Let jobs wait for their turn. Raises RefusedError when they are too many."""
        if len(jobs) > self.max_queue:
            message = f"the request asks for {len(jobs)} texts; at most {self.max_queue} may wait"
            raise RefusedError(400, message, "too_many_texts")
        with self._changed:
            if self._is_stopping:
                raise RefusedError(503, "the server is shutting down")
            waiting = self.counts()["waiting"]
            if waiting + len(jobs) > self.max_queue:
                message = f"{waiting} texts wait already, of at most {self.max_queue}; try again later"
                raise RefusedError(429, message, "queue_full")
            self._waiting.extend(jobs)
            self._changed.notify()

    def counts(self) -> Dict[str, int]:
        """Return how many texts wait and how many are written."""
        with self._changed:
            waiting = sum(not job.is_abandoned for job in self._waiting)
            return {"waiting": waiting, "writing": sum(not job.row.finished for job in self._writing)}

    def _work(self) -> None:
        while self._take():
            try:
                for _ in self.speaker.write([job.row for job in self._writing]):
                    for job in self._writing:
                        job.look()
            except Exception as error:  # whatever it was, the next batch may go well
                logger.exception("serve: a batch of %d texts failed", len(self._writing))
                said = str(error) if isinstance(error, MindFormersError) else "the model failed; see the server's log"
                for job in self._writing:
                    job.fail(RefusedError(500, said))

    def _take(self) -> bool:
        """Wait for jobs and make the oldest of them the batch; False when the worker stops."""
        with self._changed:
            self._writing = []
            while not self._writing:
                self._changed.wait_for(lambda: self._waiting or self._is_stopping)
                if self._is_stopping:
                    return False
                count = min(self.max_batch, len(self._waiting))
                taken = [self._waiting.popleft() for _ in range(count)]
                self._writing = [job for job in taken if not job.is_abandoned]
            return True

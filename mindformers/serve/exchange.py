"""One request on the side of the event loop: its texts as they are written, and its end when the client has left."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, List, NamedTuple, Optional, Sequence, TypeVar

from mindformers.generation.rows import Row
from mindformers.serve.refusals import RefusedError
from mindformers.serve.worker import Job, News, Worker

Result = TypeVar("Result")


class Step(NamedTuple):
    """What one token brought."""

    place: int
    """Which text of the request."""
    piece: str
    reason: Optional[str]
    """Why the text ended, None while it goes on."""


class Exchange:
    """The texts that one request asks for; made on the event loop that will read them."""

    def __init__(self, worker: Worker, rows: Sequence[Row], prompt_tokens: int):
        """Hand rows to the worker. Raises RefusedError when it takes no more."""
        self._loop, self._news = asyncio.get_running_loop(), asyncio.Queue()  # type: ignore[var-annotated]
        self.jobs = [Job(row, partial(self._tell, index)) for index, row in enumerate(rows)]
        self._prompt_tokens = prompt_tokens
        worker.submit(self.jobs)

    def _tell(self, index: int, news: News, reason: Optional[str]) -> None:
        item = Step(index, news, reason) if isinstance(news, str) else news
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.put_nowait, item)

    async def steps(self) -> AsyncIterator[Step]:
        """Yield the pieces of all texts until they have ended. Raises RefusedError when the model fails."""
        left = len(self.jobs)
        while left:
            news = await self._news.get()
            if isinstance(news, RefusedError):
                raise news
            left -= news.reason is not None
            yield news

    async def texts(self) -> List[Step]:
        """Return the whole texts in their order. Raises RefusedError when the model fails."""
        found = [Step(place, "", None) for place in range(len(self.jobs))]
        async for step in self.steps():
            found[step.place] = Step(step.place, found[step.place].piece + step.piece, step.reason)
        return found

    def abandon(self) -> None:
        """Say that nobody reads any more; what is not finished is not written on."""
        for job in self.jobs:
            job.is_abandoned = True

    def usage(self) -> Dict[str, int]:
        """Return the numbers of tokens that were read and written."""
        written = sum(len(job.row.tokens) for job in self.jobs)
        total = self._prompt_tokens + written
        return {"prompt_tokens": self._prompt_tokens, "completion_tokens": written, "total_tokens": total}


async def unless_left(receive: Callable[[], Awaitable[Any]], result: Awaitable[Result]) -> Optional[Result]:
    """Return a result, None when the client hangs up before; `receive` is that of the request."""
    waiting, leaving = asyncio.ensure_future(result), asyncio.ensure_future(_hung_up(receive))
    try:
        await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else None
    finally:
        waiting.cancel()
        leaving.cancel()


async def _hung_up(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

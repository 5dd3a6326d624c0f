"""Texts that are written independently of each other, each with settings and random numbers of its own."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Generator, List, Optional, Sequence, Union

import numpy as np

from mindformers.generation import logits as rules
from mindformers.generation.sessions import CachedSession, WholeSession
from mindformers.generation.settings import GenerationConfig
from mindformers.generation.text import TextPieces

AnySession = Union[CachedSession, WholeSession]


class Row:
    """One text: its prompt, and what was written so far."""

    def __init__(
        self,
        prompt: np.ndarray,
        settings: GenerationConfig,
        limit: int,
        number: int = 0,
        context: Sequence[int] = (),
        tokenizer: Any = None,
    ):
        """Begin a text.

        `limit` is the most new tokens; `number` tells rows of one seed apart; `context` is the text that the answer
        continues, of an encoder-decoder none; without a tokenizer there is no text and there are no stop texts.
        """
        self.prompt, self.settings, self.limit = prompt, settings, limit
        self.random = np.random.default_rng(None if settings.seed is None else [settings.seed, number])
        self.tokens: List[int] = []
        self.log_probs: List[float] = []
        self.finished: Optional[str] = None
        """Why the text ended: "eos", "stop" or "length"; None while it is written."""
        self.pieces = None if tokenizer is None else TextPieces(tokenizer, context, settings.stop)
        self.piece = ""
        """Text that the last step made certain."""

    @property
    def text(self) -> str:
        """The answer so far; "" without a tokenizer."""
        return "" if self.pieces is None else self.pieces.text

    def choose(self, logits: np.ndarray) -> int:
        """Add the next token by the logits after the text, float32 [V], and return it."""
        settings = self.settings
        text = [*self.prompt, *self.tokens]
        logits = rules.allowed(logits, settings, text, len(self.tokens), len(self.prompt))
        if settings.do_sample:
            logits = rules.warped(logits, settings)
        token = rules.draw(logits, self.random) if settings.do_sample else int(logits.argmax())
        if settings.return_output_log_probs:
            self.log_probs.append(float(rules.log_probabilities(logits)[token]))
        self.take(token)
        return token

    def take(self, token: int) -> None:
        """Add a token to the text, and see whether it ends there."""
        self.piece = ""
        self.tokens.append(token)
        if token in self.settings.eos:
            self.finished = "eos"
        elif self.pieces is not None:
            self.piece = self.pieces.add(token)
            self.finished = "stop" if self.pieces.is_stopped else None
        if self.finished is None and len(self.tokens) >= self.limit:
            self.finished = "length"
        if self.finished is not None and self.pieces is not None:
            self.piece += self.pieces.finish()


def write(session: AnySession, rows: Sequence[Row]) -> Generator[None, None, None]:
    """Add a token to every row that is not finished, and yield, until all are.

    Row i of the session belongs to rows[i]; the session is closed when the texts end, or nobody asks for more. Raises
    UsageError for logits that are not finite.
    """
    with closing(session):
        logits = session.start()
        tokens = np.zeros(len(rows), np.int64)
        while True:
            active = np.array([row.finished is None for row in rows])
            rules.check_finite(logits[active])
            for index in np.flatnonzero(active):
                tokens[index] = rows[index].choose(logits[index])
            for index in np.flatnonzero(~active):
                rows[index].piece = ""
            yield
            if all(row.finished for row in rows):
                return
            logits = session.advance(tokens, active)

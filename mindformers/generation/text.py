"""From tokens to text as they come: whole characters only, and nothing of a text that ends the answer."""

from __future__ import annotations

from typing import Any, List, Sequence, Tuple

CONTEXT = 8
"""Tokens before the answer that decide how its first ones are written, e.g. whether a space leads."""
UNFINISHED = "\ufffd"
"""What the bytes of a character are decoded to before its last one has come."""


class TextPieces:
    """The text of an answer in pieces; joined they are the whole answer.

    `prompt` is what stands before it. `stop` are the texts that end it: they and all behind them are left out, and no
    piece is given away that could be the beginning of one.
    """

    def __init__(self, tokenizer: Any, prompt: Sequence[int], stop: Tuple[str, ...] = ()):
        self.tokenizer, self.stop = tokenizer, stop
        self._ids: List[int] = [int(token) for token in prompt[-CONTEXT:]]
        self._context, self._read = 0, len(self._ids)
        self._held, self.text, self.is_stopped = "", "", False

    def add(self, token: int) -> str:
        """Take a token and return the text that is certain by now and was not given yet."""
        self._ids.append(int(token))
        return self._give(self._decoded(last=False), last=False)

    def finish(self) -> str:
        """Return what was held back."""
        return self._give(self._decoded(last=True), last=True)

    def _decoded(self, last: bool) -> str:
        """Return the text of the tokens that were not read yet, "" while a character is unfinished.

        Only the newest tokens are decoded, together with some before them, whose text is taken off again.
        """
        before = self.tokenizer.decode(self._ids[self._context : self._read])
        now = self.tokenizer.decode(self._ids[self._context :])
        if len(now) <= len(before) or (now.endswith(UNFINISHED) and not last):
            return ""
        self._context, self._read = max(self._context, self._read - CONTEXT), len(self._ids)
        return now[len(before) :]

    def _give(self, piece: str, last: bool) -> str:
        if self.is_stopped:
            return ""
        text = self._held + piece
        places = [text.find(stop) for stop in self.stop if stop in text]
        self.is_stopped = bool(places)
        certain = min(places) if places else len(text) if last else len(text) - self._possible_beginning(text)
        self._held = "" if self.is_stopped else text[certain:]
        self.text += text[:certain]
        return text[:certain]

    def _possible_beginning(self, text: str) -> int:
        """Return how many characters at the end of `text` could begin a stop text."""
        longest = max(map(len, self.stop), default=1) - 1
        for size in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self.stop):
                return size
        return 0

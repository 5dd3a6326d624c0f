"""Clean-up of text before tokenisation that remembers where every character came from."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Callable, List, Tuple


@dataclass(frozen=True)
class AlignedText:
    """A text and, for each of its characters, the span of the original text that it stands for."""

    text: str
    spans: Tuple[Tuple[int, int], ...]

    @classmethod
    def original(cls, text: str) -> AlignedText:
        """Return a text whose characters stand for themselves."""
        return cls(text, tuple((index, index + 1) for index in range(len(text))))

    def stripped(self) -> AlignedText:
        """Return the text without white space at its ends."""
        begin = len(self.text) - len(self.text.lstrip())
        end = max(begin, len(self.text.rstrip()))
        return AlignedText(self.text[begin:end], self.spans[begin:end])

    def replaced(self, pattern: str, character: str) -> AlignedText:
        """Return the text with every match of a regular expression turned into one character."""
        pieces: List[str] = []
        spans: List[Tuple[int, int]] = []
        last = 0
        for match in re.finditer(pattern, self.text):
            pieces += [self.text[last : match.start()], character]
            spans += [*self.spans[last : match.start()], self.whole(match.start(), match.end())]
            last = match.end()
        return AlignedText("".join([*pieces, self.text[last:]]), (*spans, *self.spans[last:]))

    def mapped(self, change: Callable[[str], str]) -> AlignedText:
        """Return the text with each character turned into any number of characters."""
        if self.text.isascii():
            changed = change(self.text)
            if len(changed) == len(self.text):
                return AlignedText(changed, self.spans)
        parts = [change(character) for character in self.text]
        return AlignedText("".join(parts), tuple(span for part, span in zip(parts, self.spans) for _ in part))

    def lowered(self) -> AlignedText:
        """Return the text in lower case; the whole text decides the form of a final sigma."""
        return AlignedText(self.text.lower(), self.mapped(str.lower).spans)

    def whole(self, begin: int, end: int) -> Tuple[int, int]:
        """Return the span of the original text that the characters from `begin` to `end` stand for."""
        if begin >= end:
            place = self.spans[begin][0] if begin < len(self.spans) else self.spans[-1][1] if self.spans else 0
            return place, place
        return self.spans[begin][0], self.spans[end - 1][1]


def without_accents(text: str) -> str:
    """Return the compatibility decomposition (NFKD) of a text without combining marks."""
    return "".join(item for item in unicodedata.normalize("NFKD", text) if not unicodedata.combining(item))

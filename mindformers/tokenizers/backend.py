"""The part of a tokenizer that turns plain text into ids and back, carried by the `tokenizers` library.

A backend knows nothing about special tokens around a text, padding or truncation; `SentencePieceBackend` offers the
same methods.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np
from tokenizers import AddedToken, Tokenizer, models

from mindformers.errors import DataError

TOKENIZER_FILE = "tokenizer.json"
WORD_BEGINS = ("Ġ", "▁")
"""Marks of a piece that begins a word: byte-level BPE and SentencePiece."""


@dataclass(frozen=True)
class TokenizedText:
    """The tokens of one text, without special tokens."""

    ids: np.ndarray
    """int32 [tokens]."""
    offsets: np.ndarray
    """int32 [tokens, 2]: first character and the one past the last, counted in the original text."""


HALF = re.compile("[\ud800-\udfff]")
"""Half a character: what an escape of JSON can write, and UTF-8 and the libraries behind cannot."""


def whole(texts: Sequence[str]) -> List[str]:
    """Return texts that have tokens. Raises DataError that shows a text with half a character."""
    for text in texts:
        if not text.isascii() and HALF.search(text):
            raise DataError(f"{text!r} is no text of whole characters, so it has no tokens")
    return list(texts)


class LibraryBackend:
    """A tokenizer of the `tokenizers` library; padding and truncation stored in it are switched off."""

    def __init__(self, tokenizer: Tokenizer):
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer = tokenizer

    @classmethod
    def read(cls, path: Path, model: Optional[str]) -> LibraryBackend:
        """Load a tokenizer.json whose model is of the class `model` (None: any). Raises DataError."""
        try:
            tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # the library raises plain Exception for a file it cannot parse
            raise DataError(f"{path}: not a tokenizer.json that the tokenizers library reads ({error})") from error
        found = type(tokenizer.model).__name__
        if model is not None and found != model:
            raise DataError(
                f"{path}: holds a {found} model; this tokenizer accepts {model} only; "
                "AutoTokenizer chooses the class that fits"
            )
        return cls(tokenizer)

    def token_to_id(self, token: str) -> Optional[int]:
        """Return the id of a token, None when it has none."""
        return self.tokenizer.token_to_id(token)

    def id_to_token(self, token_id: int) -> Optional[str]:
        """Return the token of an id, None when there is none."""
        return self.tokenizer.id_to_token(token_id)

    def vocabulary(self) -> Dict[str, int]:
        """Return every token and its id, added tokens included."""
        return self.tokenizer.get_vocab(with_added_tokens=True)

    def added_tokens(self) -> Dict[int, AddedToken]:
        """Return the tokens that are found whole in a text, by id."""
        return self.tokenizer.get_added_tokens_decoder()

    def add(self, tokens: Sequence[AddedToken]) -> None:
        """Find these tokens whole in a text; those without an id get the next free ones."""
        known = {token.content: token for token in self.added_tokens().values()}
        for token in tokens:
            held = known.get(token.content)
            if held is None or token.special and not held.special:
                (self.tokenizer.add_special_tokens if token.special else self.tokenizer.add_tokens)([token])

    def encode_ids(self, texts: Sequence[str]) -> List[List[int]]:
        """Return the ids of each text."""
        return [item.ids for item in self.tokenizer.encode_batch(whole(texts), add_special_tokens=False)]

    def encode(self, texts: Sequence[str]) -> List[TokenizedText]:
        """Return ids and offsets of each text."""
        return [
            TokenizedText(np.array(item.ids, np.int32), np.array(item.offsets, np.int32).reshape(-1, 2))
            for item in self.tokenizer.encode_batch(whole(texts), add_special_tokens=False)
        ]

    def decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """Return the text of ids."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def continues_word(self, piece: str) -> bool:
        """Return whether a piece stands inside a word, after its first piece."""
        if isinstance(self.tokenizer.model, models.WordPiece):
            return piece.startswith(self.tokenizer.model.continuing_subword_prefix)
        return not piece.startswith(WORD_BEGINS)

    def state(self) -> bytes:
        """Return everything that decides ids and offsets."""
        return self.tokenizer.to_str().encode("utf-8")

    def contents(self) -> Dict[str, bytes]:
        """Return the files that hold the backend: tokenizer.json, and vocab.txt for WordPiece."""
        files = {TOKENIZER_FILE: self.tokenizer.to_str(pretty=True).encode("utf-8")}
        if isinstance(self.tokenizer.model, models.WordPiece):
            ordered = sorted(self.vocabulary().items(), key=lambda item: item[1])
            files["vocab.txt"] = "".join(f"{token}\n" for token, _ in ordered).encode("utf-8")
        return files

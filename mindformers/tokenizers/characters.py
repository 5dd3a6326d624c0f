"""A token for every character: the vocabulary is the set of characters of a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from tokenizers import Tokenizer, decoders, models

from mindformers.errors import DataError
from mindformers.tokenizers.backend import LibraryBackend, TokenizedText
from mindformers.tokenizers.pretrained import Family, PretrainedTokenizer
from mindformers.tokenizers.special_tokens import SpecialTokens


class CharacterBackend(LibraryBackend):
    """A backend that refuses characters without a token, which the library leaves out without a word."""

    def __init__(self, tokenizer: Tokenizer):
        super().__init__(tokenizer)
        self._known = {piece for piece in self.vocabulary() if len(piece) == 1}

    def encode_ids(self, texts: Sequence[str]) -> List[List[int]]:
        """Return the ids of each text. Raises DataError for a character without a token."""
        self._check(texts)
        return super().encode_ids(texts)

    def encode(self, texts: Sequence[str]) -> List[TokenizedText]:
        """Return ids and offsets of each text. Raises DataError for a character without a token."""
        self._check(texts)
        return super().encode(texts)

    def _check(self, texts: Sequence[str]) -> None:
        if self.tokenizer.model.unk_token is not None:
            return
        added = [token.content for token in self.added_tokens().values()]
        for text in texts:
            for token in added:
                text = text.replace(token, "")
            unknown = set(text) - self._known
            if unknown:
                first = min(unknown, key=text.index)
                raise DataError(
                    f"the character {first!r} is not in the vocabulary of {len(self._known)} characters; make the "
                    "tokenizer from a text that has it, or give it an unk_token"
                )


def build(paths: Sequence[Path], special: SpecialTokens, options: Mapping[str, Any]) -> CharacterBackend:
    """Make a backend whose vocabulary is special tokens and the characters of a text, sorted. Raises DataError."""
    try:
        text = paths[0].read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{paths[0]}: no such file; give the text whose characters are the vocabulary") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{paths[0]}: not readable as UTF-8 text ({error})") from error
    if not text:
        raise DataError(f"{paths[0]}: the text is empty; its characters are to be the vocabulary")
    pieces = [*(token.content for token in special.all()), *sorted(set(text))]
    vocabulary: Dict[str, int] = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    # Byte-pair encoding without a merge leaves single characters, seven times as fast as a split by pattern.
    model = models.BPE(vocab=vocabulary, merges=[], unk_token=special.token("unk_token"))
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.Fuse()
    return CharacterBackend(tokenizer)


class CharacterTokenizer(PretrainedTokenizer):
    """Characters as tokens; made from the text that the model is trained on, saved as tokenizer.json.

    Special tokens exist where they are asked for: `eos_token` to part documents, `unk_token` for characters that the
    text does not have (without it they raise DataError).
    """

    family = Family(build=build, model="BPE")

    @classmethod
    def find_vocabulary(cls, data: Path) -> Optional[Path]:
        """Return the text itself: a file, or of a folder train.txt or the only .txt there is."""
        texts = [data] if data.is_file() else sorted(data.glob("*.txt"))
        training = [text for text in texts if text.name == "train.txt"]
        return next(iter(training), texts[0] if len(texts) == 1 else None)

    def _adopt(self, backend: Any, *rest: Any) -> None:
        """Take over a backend read from a file as one that checks characters."""
        super()._adopt(CharacterBackend(backend.tokenizer), *rest)

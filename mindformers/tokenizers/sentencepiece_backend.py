"""SentencePiece models (Kudo & Richardson 2018, arXiv:1808.06226), encoded by the sentencepiece library itself.

A conversion into another library is not exact: unigram scores are summed in other precision, pieces that the model
marks as user-defined are matched differently, and white space at the ends of a text is kept or dropped differently.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
from tokenizers import AddedToken, decoders

from mindformers.errors import DataError, MissingExtraError
from mindformers.tokenizers.aligned_text import AlignedText
from mindformers.tokenizers.backend import TokenizedText, whole

SPACE = "▁"
WITHOUT_DUMMY_PREFIX = b"\x1a\x02\x18\x00"
"""ModelProto.normalizer_spec.add_dummy_prefix = false: appended to a model it wins, as protobuf merges messages."""

Piece = Tuple[int, int, int]
"""Id, first character (or byte) and the one past the last."""


@dataclass(frozen=True)
class SentencePieceRules:
    """What a family does around the sentencepiece library."""

    clean: Optional[Callable[[AlignedText], AlignedText]] = None
    """Clean-up of the text before the library sees it."""
    prefix: str = "every"
    """Which stretches of text between special tokens get the model's leading space: every, first or none."""
    split_digit_comma: bool = False
    """Whether a piece that ends with a digit and a comma is encoded again without the comma (ALBERT)."""
    trim_offsets: bool = False
    """Whether offsets leave out white space at both ends of a piece."""


class SentencePieceBackend:
    """A `.model` file and the tokens added to it; the same methods as `LibraryBackend`."""

    def __init__(self, path: Path, rules: SentencePieceRules, decoder: decoders.Decoder):
        """Load the model. Raises DataError for another kind of file, MissingExtraError without sentencepiece."""
        self._name = path.name
        self._model = read_model(path)
        self._processor = load_processor(self._model, path)
        self._inside = (
            self._processor if rules.prefix == "every" else load_processor(self._model + WITHOUT_DUMMY_PREFIX, path)
        )
        self._rules, self._decoder = rules, decoder
        self._pieces = [self._processor.id_to_piece(index) for index in range(self._processor.get_piece_size())]
        self._ids = {piece: index for index, piece in reversed(list(enumerate(self._pieces)))}
        self._added: Dict[int, AddedToken] = {}
        self._pattern: Optional[re.Pattern] = None
        self._resplit = self._digit_comma_pieces() if rules.split_digit_comma else {}

    def token_to_id(self, token: str) -> Optional[int]:
        """Return the id of a token, None when it has none."""
        return self._ids.get(token)

    def id_to_token(self, token_id: int) -> Optional[str]:
        """Return the token of an id, None when there is none."""
        return self._pieces[token_id] if 0 <= token_id < len(self._pieces) else None

    def vocabulary(self) -> Dict[str, int]:
        """Return every token and its id, added tokens included."""
        return dict(self._ids)

    def added_tokens(self) -> Dict[int, AddedToken]:
        """Return the tokens that are found whole in a text, by id."""
        return dict(self._added)

    def add(self, tokens: Sequence[AddedToken]) -> None:
        """Find these tokens whole in a text; those without an id get the next free ones."""
        for token in tokens:
            if token.content not in self._ids:
                self._ids[token.content] = len(self._pieces)
                self._pieces.append(token.content)
            held = self._added.get(self._ids[token.content])
            if held is None or token.special and not held.special:
                self._added[self._ids[token.content]] = token
        longest_first = sorted((token.content for token in self._added.values()), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def encode_ids(self, texts: Sequence[str]) -> List[List[int]]:
        """Return the ids of each text."""
        return [[item for part in self._parts(text) for item in self._part_ids(*part)] for text in whole(texts)]

    def encode(self, texts: Sequence[str]) -> List[TokenizedText]:
        """Return ids and offsets of each text."""
        rows = [self._encode_one(text) for text in whole(texts)]
        return [
            TokenizedText(
                np.array([item[0] for item in row], np.int32),
                np.array([item[1:] for item in row], np.int32).reshape(-1, 2),
            )
            for row in rows
        ]

    def decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """Return the text of ids."""
        kept = [
            self._pieces[index]
            for index in ids
            if 0 <= index < len(self._pieces)
            and not (skip_special_tokens and index in self._added and self._added[index].special)
        ]
        return self._decoder.decode(kept)

    def continues_word(self, piece: str) -> bool:
        """Return whether a piece stands inside a word, after its first piece."""
        return not piece.startswith(SPACE)

    def state(self) -> bytes:
        """Return what decides ids and offsets, besides the family and its options."""
        return self._model + repr(sorted((index, repr(token)) for index, token in self._added.items())).encode("utf-8")

    def contents(self) -> Dict[str, bytes]:
        """Return the file that holds the model, unchanged."""
        return {self._name: self._model}

    def _parts(self, text: str) -> List[Tuple[int, str, Optional[int]]]:
        """Cut a text at added tokens; returns first character, text, and the id of an added token or None."""
        parts: List[Tuple[int, str, Optional[int]]] = []
        last = 0
        for match in self._pattern.finditer(text) if self._pattern else ():
            token_id = self._ids[match.group()]
            token = self._added[token_id]
            begin, end = match.span()
            if token.single_word and (text[begin - 1 : begin].isalnum() or text[end : end + 1].isalnum()):
                continue
            while token.lstrip and begin > last and text[begin - 1].isspace():
                begin -= 1
            while token.rstrip and end < len(text) and text[end].isspace():
                end += 1
            if begin > last:
                parts.append((last, text[last:begin], None))
            parts.append((begin, text[begin:end], token_id))
            last = end
        if last < len(text):
            parts.append((last, text[last:], None))
        return parts

    def _encoder_at(self, begin: int) -> Any:
        """Return the processor for plain text that starts at character `begin`."""
        return self._processor if begin == 0 and self._rules.prefix != "none" else self._inside

    def _cleaned(self, text: str) -> AlignedText:
        original = AlignedText.original(text)
        return self._rules.clean(original) if self._rules.clean else original

    def _part_ids(self, begin: int, text: str, token_id: Optional[int]) -> List[int]:
        if token_id is not None:
            return [token_id]
        cleaned = self._cleaned(text).text if self._rules.clean else text
        ids = self._encoder_at(begin).encode(cleaned, out_type=int)
        return [item for index in ids for item in self._resplit.get(index, (index,))] if self._resplit else ids

    def _encode_one(self, text: str) -> List[Piece]:
        """Return the pieces of a text with their places in it."""
        found: List[Piece] = []
        for begin, part, token_id in self._parts(text):
            if token_id is not None:
                first = len(part) - len(part.lstrip()) if self._rules.trim_offsets else 0
                last = len(part.rstrip()) if self._rules.trim_offsets else len(part)
                found.append((token_id, begin + first, begin + last))
                continue
            cleaned = self._cleaned(part)
            for index, first, last in self._placed(self._encoder_at(begin), cleaned.text):
                if self._rules.trim_offsets:
                    covered = cleaned.text[first:last]
                    first += len(covered) - len(covered.lstrip())
                    last = first + len(covered.strip())
                span = cleaned.whole(first, last)
                found.append((index, begin + span[0], begin + span[1]))
        return found

    def _placed(self, processor: Any, text: str) -> List[Piece]:
        """Return the pieces of cleaned text with their places in it."""
        encoded = text.encode("utf-8")
        character = None
        if len(encoded) != len(text):  # the library counts bytes
            character = [0, *accumulate((byte & 0xC0) != 0x80 for byte in encoded)]
        pieces: List[Piece] = []
        for index, begin, end in read_pieces(processor.encode(text, out_type="serialized_proto")):
            if character is not None:
                begin, end = character[begin], character[end]
            pieces.extend(self._comma_split(index, begin, end))
        # Of several pieces that come from one character only the last is given its place; all of them stand for it.
        for place in range(len(pieces) - 2, -1, -1):
            index, begin, end = pieces[place]
            if begin == end and self._pieces[index] != SPACE:
                pieces[place] = (index, *pieces[place + 1][1:])
        return pieces

    def _comma_split(self, index: int, begin: int, end: int) -> List[Piece]:
        """Return a piece, or the pieces that take its place when it ends with a digit and a comma."""
        if index not in self._resplit:
            return [(index, begin, end)]
        pieces: List[Piece] = []
        for part in reversed(self._resplit[index]):
            start = max(begin, end - len(self._pieces[part].lstrip(SPACE)))
            pieces.append((part, start, end))
            end = start
        return pieces[::-1]

    def _digit_comma_pieces(self) -> Dict[int, Tuple[int, ...]]:
        """Return by id what takes the place of the pieces that end with a digit and a comma."""
        made: Dict[int, Tuple[int, ...]] = {}
        for index, piece in enumerate(self._pieces):
            if len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit():
                parts = self._processor.encode(piece[:-1].replace(SPACE, ""), out_type=str)
                if piece[0] != SPACE and parts[0][0] == SPACE:
                    parts = parts[1:] if len(parts[0]) == 1 else [parts[0][1:], *parts[1:]]
                made[index] = tuple(self._processor.piece_to_id(part) for part in [*parts, ","])
        return made


def read_model(path: Path) -> bytes:
    """Return the content of a model file. Raises DataError when it cannot be read."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such vocabulary file; give a SentencePiece .model") from None
    except OSError as error:
        raise DataError(f"{path}: not readable as a SentencePiece .model ({error})") from error
    if not content:
        raise DataError(f"{path}: is empty; give a SentencePiece .model")
    return content


def load_processor(model: bytes, path: Path) -> Any:
    """Return the sentencepiece processor of a model; `path` is for the message. Raises DataError."""
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        raise MissingExtraError("sentencepiece", "sentencepiece", f"reading {path.name}") from None
    try:
        return SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise DataError(f"{path}: not a SentencePiece .model ({error}); fetch the file again") from error


def read_pieces(message: bytes) -> Iterator[Piece]:
    """Read the pieces of a serialized SentencePieceText; places are counted in bytes.

    Written out because the ready-made readers differ between versions of sentencepiece (immutable_proto until 0.2.1,
    proto and offset_mapping from 0.2.3); one way remains once Python 3.9 is given up.
    """
    for number, value in read_message(message):
        if number == 2:
            fields = dict(read_message(value))
            yield fields.get(2, 0), fields.get(4, 0), fields.get(5, 0)


def read_message(message: bytes) -> Iterator[Tuple[int, Any]]:
    """Read the fields of a protobuf message: number, and an int for varints, bytes for the rest."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        size = 4
        if key & 7 == 0:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if key & 7 == 2:
            size, place = _varint(message, place)
        yield key >> 3, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> Tuple[int, int]:
    value = message[place]
    if value < 0x80:
        return value, place + 1
    value &= 0x7F
    shift = 7
    while True:
        place += 1
        value |= (message[place] & 0x7F) << shift
        if message[place] < 0x80:
            return value, place + 1
        shift += 7

"""WordPiece tokens (Devlin et al. 2019, arXiv:1810.04805) with character offsets into the text as it was given.

The work is done by the `tokenizers` library. State that a stored tokenizer.json may carry about padding and
truncation is switched off on loading: lengths are always the caller's decision.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Union

import numpy as np
from tokenizers import Encoding, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from mindformers.errors import UsageError
from mindformers.tokenizers import wordpiece_files as files

PADDINGS = (False, True, "longest", "max_length")
TRUNCATIONS = (False, True, "longest_first", "only_first", "only_second")


CONTINUES = "##"
"""Begins the pieces that continue a word."""


@dataclass(frozen=True)
class TokenizedText:
    """The tokens of one text, without special tokens."""

    ids: np.ndarray
    """int32 [tokens]."""
    offsets: np.ndarray
    """int32 [tokens, 2]: first character and the one past the last, counted in the original text."""


class BertTokenizer:
    """Text to WordPiece ids, made from a vocab.txt; see `from_pretrained` for a folder.

    `do_lower_case` also strips accents unless `strip_accents` says otherwise. Without `do_basic_tokenize` the text
    is only cut at white space: no lower-casing, no splitting of punctuation. Raises DataError when the file is no
    vocabulary or lacks a special token.
    """

    def __init__(
        self,
        vocab_file: Union[str, Path],
        do_lower_case: bool = True,
        do_basic_tokenize: bool = True,
        unk_token: str = "[UNK]",
        sep_token: str = "[SEP]",
        pad_token: str = "[PAD]",
        cls_token: str = "[CLS]",
        mask_token: str = "[MASK]",
        tokenize_chinese_chars: bool = True,
        strip_accents: Optional[bool] = None,
        model_max_length: int = 512,
    ):
        special = files.SpecialTokens(unk_token, sep_token, pad_token, cls_token, mask_token)
        vocabulary = files.read_vocabulary(Path(vocab_file), special)
        backend = Tokenizer(models.WordPiece(vocabulary, unk_token=unk_token, max_input_chars_per_word=100))
        if do_basic_tokenize:
            backend.normalizer = normalizers.BertNormalizer(
                lowercase=do_lower_case, handle_chinese_chars=tokenize_chinese_chars, strip_accents=strip_accents
            )
            backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        else:
            backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        backend.decoder = decoders.WordPiece()
        self._adopt(
            backend,
            special,
            {
                "do_lower_case": do_lower_case,
                "do_basic_tokenize": do_basic_tokenize,
                "tokenize_chinese_chars": tokenize_chinese_chars,
                "strip_accents": strip_accents,
                "model_max_length": model_max_length,
            },
        )

    @classmethod
    def from_pretrained(cls, folder: Union[str, Path]) -> BertTokenizer:
        """Load a folder that holds tokenizer.json or vocab.txt, with or without tokenizer_config.json.

        Values written in tokenizer_config.json win over those inside tokenizer.json, as in Hugging Face. Raises
        DataError when the folder, its files or their content cannot be used.
        """
        stored = files.read_folder(Path(folder))
        if stored.backend is None:
            return cls(stored.vocab_file, **stored.options, **stored.special.as_dict())
        tokenizer = cls.__new__(cls)
        tokenizer._adopt(stored.backend, stored.special, stored.options)
        return tokenizer

    def _adopt(self, backend: Tokenizer, special: files.SpecialTokens, options: Dict[str, object]) -> None:
        """Take over a backend: no stored padding or truncation, special tokens known, [CLS] a [SEP] b [SEP]."""
        backend.no_padding()
        backend.no_truncation()
        backend.add_special_tokens(list(special.as_dict().values()))
        ids = {name: backend.token_to_id(token) for name, token in special.as_dict().items()}
        backend.post_processor = processors.BertProcessing(
            (special.sep_token, ids["sep_token"]), (special.cls_token, ids["cls_token"])
        )
        self._backend, self._special, self._options = backend, special, dict(options)
        self.unk_token, self.unk_token_id = special.unk_token, ids["unk_token"]
        self.sep_token, self.sep_token_id = special.sep_token, ids["sep_token"]
        self.pad_token, self.pad_token_id = special.pad_token, ids["pad_token"]
        self.cls_token, self.cls_token_id = special.cls_token, ids["cls_token"]
        self.mask_token, self.mask_token_id = special.mask_token, ids["mask_token"]
        self.model_max_length = int(options.get("model_max_length", 512))

    def save_pretrained(self, folder: Union[str, Path]) -> None:
        """Write tokenizer.json, vocab.txt, tokenizer_config.json and special_tokens_map.json, as Hugging Face reads.

        Raises OutputError when the folder cannot be written.
        """
        files.write_folder(Path(folder), self._backend, self._special, self._options)

    @property
    def vocab_size(self) -> int:
        """Number of ids, special and added tokens included."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    @property
    def special_ids(self) -> Dict[str, int]:
        """Special token names (`cls_token` ...) and their ids."""
        return {name: self._backend.token_to_id(token) for name, token in self._special.as_dict().items()}

    def continuations(self) -> np.ndarray:
        """Return by token id, bool [vocab_size], whether the piece continues a word."""
        inside = np.zeros(self.vocab_size, bool)
        for piece, index in self._backend.get_vocab(with_added_tokens=True).items():
            inside[index] = piece.startswith(CONTINUES)
        return inside

    def digest(self) -> str:
        """Return a SHA-256 of everything that decides ids and offsets (key of feature caches)."""
        return hashlib.sha256(self._backend.to_str().encode("utf-8")).hexdigest()

    def encode_batch(self, texts: Sequence[str]) -> List[TokenizedText]:
        """Tokenise texts without special tokens; offsets count the characters of each original text."""
        encodings = self._backend.encode_batch(list(texts), add_special_tokens=False)
        return [
            TokenizedText(np.array(encoding.ids, np.int32), np.array(encoding.offsets, np.int32).reshape(-1, 2))
            for encoding in encodings
        ]

    def __call__(
        self,
        text: Union[str, Sequence[str]],
        text_pair: Union[str, Sequence[str], None] = None,
        max_length: Optional[int] = None,
        padding: Union[bool, str] = False,
        truncation: Union[bool, str] = False,
    ) -> Dict[str, np.ndarray]:
        """Return int32 arrays input_ids, attention_mask and token_type_ids with special tokens.

        Shapes are [tokens] for one text and [texts, tokens] for a list. `padding` is False, True ("longest") or
        "max_length"; `truncation` is False, True ("longest_first"), "only_first" or "only_second"; `max_length`
        counts special tokens and defaults to `model_max_length`. Raises UsageError for other values, for a list
        of unequal lengths without padding, and when nothing is left to cut.
        """
        if padding not in PADDINGS or truncation not in TRUNCATIONS:
            raise UsageError(
                f"padding={padding!r}, truncation={truncation!r}: padding accepts {PADDINGS}, "
                f"truncation accepts {TRUNCATIONS}"
            )
        limit = self.model_max_length if max_length is None else max_length
        single = isinstance(text, str)
        firsts = [text] if single else list(text)
        seconds = None if text_pair is None else ([text_pair] if isinstance(text_pair, str) else list(text_pair))
        if seconds is not None and len(seconds) != len(firsts):
            raise UsageError(f"text has {len(firsts)} entries but text_pair has {len(seconds)}; they go pair by pair")
        left = self._backend.encode_batch(firsts, add_special_tokens=False)
        right = [None] * len(left) if seconds is None else self._backend.encode_batch(seconds, add_special_tokens=False)
        rows = []
        for first, second in zip(left, right):
            if truncation:
                cut(first, second, limit - self._backend.num_special_tokens_to_add(second is not None), truncation)
            rows.append(self._backend.post_process(first, second, True))
        arrays = self._stack(rows, padding, limit)
        return {name: array[0] for name, array in arrays.items()} if single else arrays

    def _stack(self, rows: Sequence[Encoding], padding: Union[bool, str], limit: int) -> Dict[str, np.ndarray]:
        """Return the rows as rectangular arrays."""
        lengths = [len(row) for row in rows]
        longest = max(lengths, default=0)
        if not padding and any(length != longest for length in lengths):
            raise UsageError(
                f"the texts have {min(lengths)} to {longest} tokens and padding is off: "
                "ask for padding=True or padding='max_length', or give one text at a time"
            )
        width = max(longest, limit) if padding == "max_length" else longest
        arrays = {
            "input_ids": np.full((len(rows), width), self.pad_token_id, np.int32),
            "attention_mask": np.zeros((len(rows), width), np.int32),
            "token_type_ids": np.zeros((len(rows), width), np.int32),
        }
        for index, row in enumerate(rows):
            arrays["input_ids"][index, : len(row)] = row.ids
            arrays["attention_mask"][index, : len(row)] = 1
            arrays["token_type_ids"][index, : len(row)] = row.type_ids
        return arrays

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Return the text of ids; letter case and spacing are those of the vocabulary, not of the original."""
        return self._backend.decode([int(item) for item in ids], skip_special_tokens=skip_special_tokens)

    def tokenize(self, text: str) -> List[str]:
        """Return the token strings of a text, without special tokens."""
        return self._backend.encode(text, add_special_tokens=False).tokens


def cut(first: Encoding, second: Optional[Encoding], room: int, strategy: Union[bool, str]) -> None:
    """Shorten one encoding or a pair in place to `room` tokens; "longest_first" keeps both as even as possible."""
    lengths = [len(first), 0 if second is None else len(second)]
    excess = sum(lengths) - room
    if excess <= 0:
        return
    if strategy in (True, "longest_first"):
        half = max(room, 0) // 2
        shorter = min(lengths)
        # A text that fits into half of the room stays whole; the odd token goes to the longer one.
        kept = shorter if shorter <= half else half
        if lengths[0] <= lengths[1]:
            lengths = [kept, room - kept]
        else:
            lengths = [room - kept, kept]
    else:
        lengths[0 if strategy == "only_first" else 1] -= excess
    if min(lengths) < 0:
        raise UsageError(
            f"truncation={strategy!r} leaves no token: {room} tokens are to hold "
            f"{len(first)} + {0 if second is None else len(second)}; raise max_length"
        )
    first.truncate(lengths[0])
    if second is not None:
        second.truncate(lengths[1])

"""Texts and pairs of texts to rows of tokens of one width, as a model takes them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from mindformers.data.cache import cache_key, load_or_build
from mindformers.errors import UsageError

FORMAT_VERSION = 1
"""Raise it when the meaning of a stored array changes: caches of older versions are then not found."""
TEXTS_AT_ONCE = 4096
"""Texts that are tokenised together; bounds the size of temporary lists."""


def build_text_features(
    texts: Sequence[str], pairs: Optional[Sequence[str]], tokenizer: Any, max_seq_len: int
) -> Dict[str, np.ndarray]:
    """Return int32 [n, max_seq_len] input_ids, attention_mask and, where the family has them, token_type_ids.

    Too long texts are cut, of a pair the longer one first. Raises UsageError when special tokens alone fill a row.
    """
    if max_seq_len < tokenizer.layout.special_count(pairs is not None) + (1 if pairs is None else 2):
        raise UsageError(f"max_seq_len={max_seq_len}: special tokens leave no room for text; raise it")
    arrays: Dict[str, np.ndarray] = {}
    for begin in range(0, len(texts), TEXTS_AT_ONCE):
        part = slice(begin, begin + TEXTS_AT_ONCE)
        encoded = tokenizer(
            list(texts[part]),
            None if pairs is None else list(pairs[part]),
            max_length=max_seq_len,
            padding="max_length",
            truncation="longest_first",
        )
        for name, array in encoded.items():
            arrays.setdefault(name, np.empty((len(texts), max_seq_len), np.int32))[part] = array
    return arrays


def text_features(
    texts: List[str], pairs: Optional[List[str]], tokenizer: Any, max_seq_len: int, cache_dir: Optional[Path]
) -> Dict[str, np.ndarray]:
    """Return `build_text_features`, from the cache where the same texts were prepared before."""
    key = ""
    if cache_dir is not None:
        digest = hashlib.sha256()
        for text in (*texts, *(pairs or ())):
            digest.update(text.encode("utf-8") + b"\n\0")
        key = cache_key(
            version=FORMAT_VERSION,
            tokenizer=tokenizer.digest(),
            side=(tokenizer.padding_side, tokenizer.truncation_side),
            texts=digest.hexdigest(),
            pairs=pairs is not None,
            max_seq_len=max_seq_len,
        )
    return load_or_build(cache_dir, "texts", key, lambda: build_text_features(texts, pairs, tokenizer, max_seq_len))

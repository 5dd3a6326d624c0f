"""Options of `tokenizer:` sections; what a file beside the vocabulary says applies where an option is absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, List, Literal, Optional


@dataclass(frozen=True)
class WordPiece:
    """WordPiece with BERT's special tokens."""

    UNUSED: ClassVar[Dict[str, str]] = {
        "is_tokenize_char": "Chinese is cut into characters in any case",
    }

    vocab_file: Optional[str] = None
    """vocab.txt; absent: the tokenizer files beside the weights."""
    checkpoint_name_or_path: Optional[str] = None
    """Name or folder whose tokenizer files are used."""
    do_lower_case: bool = True
    do_basic_tokenize: bool = True
    """Whether punctuation is split off and case dropped as `do_lower_case` says; else white space alone parts words."""
    cls_token: str = "[CLS]"
    sep_token: str = "[SEP]"
    pad_token: str = "[PAD]"
    unk_token: str = "[UNK]"
    mask_token: str = "[MASK]"


@dataclass(frozen=True)
class PretrainedTokenizer:
    """What every tokenizer takes, and the lengths and prefix of a translation task."""

    vocab_file: Optional[str] = None
    """Vocabulary or model file; absent: the tokenizer files beside the weights."""
    checkpoint_name_or_path: Optional[str] = None
    """Folder whose tokenizer files are used."""
    unk_token: Optional[str] = None
    bos_token: Optional[str] = None
    eos_token: Optional[str] = None
    pad_token: Optional[str] = None
    sep_token: Optional[str] = None
    cls_token: Optional[str] = None
    mask_token: Optional[str] = None
    additional_special_tokens: Optional[List[str]] = None
    model_max_length: Optional[int] = None
    """Tokens that a text is cut to when no other length is asked for."""
    padding_side: Optional[Literal["right", "left"]] = None
    truncation_side: Optional[Literal["right", "left"]] = None
    src_max_length: Optional[int] = None
    """Tokens of a source text, in translation."""
    tgt_max_length: Optional[int] = None
    """Tokens of a target text, in translation."""
    prefix: Optional[str] = None
    """Stands before every source text, in translation."""
    stage: Optional[str] = None
    extra: Optional[Dict[str, Any]] = None


@dataclass(frozen=True)
class ByteLevelTokenizer(PretrainedTokenizer):
    """Byte-level BPE."""

    merges_file: Optional[str] = None
    """merges.txt; the one beside `vocab_file` when absent."""
    add_prefix_space: Optional[bool] = None
    """Whether the first word is tokenised as if a space stood before it."""
    add_bos_token: Optional[bool] = None
    add_eos_token: Optional[bool] = None


@dataclass(frozen=True)
class SentencePieceTokenizer(PretrainedTokenizer):
    """SentencePiece BPE."""

    add_bos_token: Optional[bool] = None
    add_eos_token: Optional[bool] = None
    add_prefix_space: Optional[bool] = None
    legacy: Optional[bool] = None
    """Whether a text after a special token also gets the space that starts a text."""


@dataclass(frozen=True)
class AlbertTokenizer(PretrainedTokenizer):
    """SentencePiece unigram after ALBERT's clean-up of the text."""

    do_lower_case: Optional[bool] = None
    keep_accents: Optional[bool] = None
    remove_space: Optional[bool] = None


@dataclass(frozen=True)
class T5Tokenizer(PretrainedTokenizer):
    """SentencePiece unigram with T5's sentinel tokens."""

    extra_ids: Optional[int] = None
    """Sentinel tokens behind the vocabulary."""

"""Options of the loader of texts for masked language modelling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Literal, Optional

from mindformers.config.options import Loader


@dataclass(frozen=True)
class MaskedTextLoader(Loader):
    """Text whose tokens are masked anew in every epoch."""

    seq_length: Optional[int] = None
    """Tokens of a row, special ones included; the model's `seq_length` when absent."""
    part: List[float] = field(default_factory=lambda: [0.0, 1.0])
    """Share of the tokens that is used, from and to."""
    rows: Optional[Literal["full", "documents", "pairs"]] = None
    """What a row holds: as many tokens as fit, across documents; one document, cut at the end; or two segments of a
    document's lines. Absent: pairs where the model has a sentence head, else full."""
    remainder: Optional[Literal["drop", "pad"]] = None
    """What becomes of the tokens behind the last full row; absent: drop in training, pad in evaluation."""
    documents: Literal["file", "line", "blank_line"] = "blank_line"
    """What a document is in plain text: a file, a line, or what blank lines part."""
    text_key: str = "text"
    """Column of the text in files with rows."""
    mask_probability: float = 0.15
    """Share of the tokens that is to be found."""
    whole_words: bool = False
    """Whether all pieces of a word are chosen together."""
    max_predictions_per_seq: Optional[int] = None
    """Most tokens of a row that are to be found; `mask_probability` of a full row when absent."""
    cache_dir: Optional[str] = None
    """Folder for tokens; the user's cache folder when absent."""

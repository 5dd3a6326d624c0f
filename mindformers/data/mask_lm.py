"""Masks for masked language modelling, drawn when a batch is made (Liu et al. 2019, arXiv:1907.11692, section 4.1).

Of the tokens to be found 80 % are shown as the mask, 10 % as any other token and 10 % as they are (Devlin et al. 2019,
arXiv:1810.04805, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Sequence

import numpy as np

from mindformers.data.loader import FeatureSet
from mindformers.data.pack import IGNORED
from mindformers.errors import DataError

MASKED, REPLACED = 0.8, 0.1
"""Shares of the chosen tokens that are shown as the mask, and as another token."""
FILLERS = {"labels": IGNORED, "sentence_labels": IGNORED}
STORED = {
    "input_ids": "input_ids",
    "input_mask": "attention_mask",
    "segment_ids": "token_type_ids",
    "next_sentence_labels": "sentence_labels",
    "masked_lm_positions": "masked_positions",
    "masked_lm_ids": "labels",
}
"""Columns of BERT's pre-training records (`create_pretraining_data`) -> the model's inputs."""
WEIGHTS = "masked_lm_weights"
"""1 for positions that are to be found, 0 for those that fill up the row."""


@dataclass(frozen=True)
class Masking:
    """Chooses and hides tokens: `FeatureSet.draw` of rows with `input_ids` and maybe `attention_mask`.

    What a row looks like follows from (seed, epoch, row) alone.
    """

    mask_id: int
    special: np.ndarray
    """bool [V]: tokens that are never chosen, nor drawn in place of others."""
    probability: float
    width: int
    """Most tokens of a row that are chosen, P."""
    seed: int
    continues: Optional[np.ndarray] = None
    """bool [V]: pieces that belong to the word before them, for whole words; None: pieces are chosen one by one."""

    @classmethod
    def of(
        cls, tokenizer: Any, length: int, probability: float, whole_words: bool, width: Optional[int], seed: int
    ) -> Masking:
        """Return the masking of rows of `length` tokens."""
        special = np.zeros(tokenizer.vocab_size, bool)
        special[list(tokenizer.special_ids.values())] = True
        special[tokenizer.convert_tokens_to_ids(tokenizer.additional_special_tokens)] = True
        return cls(
            tokenizer.mask_token_id,
            special,
            probability,
            width or max(1, round(probability * length)),
            seed,
            tokenizer.continuations() if whole_words else None,
        )

    def __call__(self, columns: Dict[str, np.ndarray], rows: np.ndarray, epoch: int) -> Dict[str, np.ndarray]:
        """Return the columns with masks in `input_ids`, and `labels` and `masked_positions`, int32 [B, P]."""
        shown = columns["input_ids"].copy()
        labels, positions = (np.full((len(rows), self.width), filling, np.int32) for filling in (IGNORED, 0))
        may = ~self.special[shown] & (columns.get("attention_mask", np.ones_like(shown)) > 0)
        for number, row in enumerate(rows):
            random = np.random.Generator(np.random.PCG64([self.seed, epoch, int(row)]))
            places = self._places(shown[number], np.flatnonzero(may[number]), random)
            labels[number, : len(places)] = shown[number, places]
            positions[number, : len(places)] = places
            shown[number, places] = self._hidden(shown[number, places], random)
        return {**columns, "input_ids": shown, "labels": labels, "masked_positions": positions}

    def _places(self, ids: np.ndarray, places: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return the chosen of the places that may be, in their order."""
        count = min(self.width, max(1, round(self.probability * len(places))))
        if self.continues is None:
            return np.sort(random.permutation(places)[:count])
        inside = self.continues[ids[places]] & (np.diff(places, prepend=-2) == 1)
        words = np.split(places, np.flatnonzero(~inside)[1:])
        chosen: list = []
        for word in random.permutation(len(words)):
            if len(chosen) + len(words[word]) <= count:  # a longer word would exceed the share
                chosen.extend(words[word])
        return np.array(sorted(chosen), np.int64)

    def _hidden(self, ids: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return what is shown in place of the chosen tokens."""
        kind = random.random(len(ids))
        others = random.choice(np.flatnonzero(~self.special), len(ids))
        return np.where(kind < MASKED, self.mask_id, np.where(kind < MASKED + REPLACED, others, ids))


def masked_features(columns: Mapping[str, np.ndarray], masking: Masking) -> FeatureSet:
    """Return rows that are masked when a batch of them is made; until then nothing of them is to be found."""
    shape = (len(columns["input_ids"]), masking.width)
    blank = {
        "labels": np.broadcast_to(np.int32(IGNORED), shape),
        "masked_positions": np.broadcast_to(np.int32(0), shape),
    }
    made = {**columns, **blank}
    return FeatureSet(made, {name: value for name, value in FILLERS.items() if name in made}, masking)


def is_masked(columns: Mapping[str, np.ndarray]) -> bool:
    """Return whether the masks of records were chosen when they were written."""
    return any(name.startswith("masked_lm_") for name in columns)


def masked_rows(columns: Mapping[str, np.ndarray], name: str) -> FeatureSet:
    """Return BERT's pre-training records, whose masks were chosen when they were written, as a model takes them.

    Raises DataError for other columns, other shapes, and positions outside of a row.
    """
    rows = _rows(columns, ("attention_mask", "masked_positions", "labels"), name)
    if WEIGHTS in columns:
        rows["labels"] = np.where(np.asarray(columns[WEIGHTS]) > 0, rows["labels"], IGNORED).astype(np.int32)
    places, length = rows["masked_positions"], rows["input_ids"].shape[1]
    wrong = np.argwhere((places < 0) | (places >= length))
    if len(wrong):
        row, place = (int(item) for item in wrong[0])
        raise DataError(
            f"{name}: row {row}: masked_lm_positions has {int(places[row, place])}, outside of its {length} tokens"
        )
    return FeatureSet(rows, {key: value for key, value in FILLERS.items() if key in rows})


def unmasked_rows(columns: Mapping[str, np.ndarray], name: str) -> Dict[str, np.ndarray]:
    """Return records of tokens whose masks are still to be drawn, as `mindformers preprocess` writes them.

    Raises DataError for other columns and other shapes.
    """
    rows = _rows(columns, (), name)
    return {key: array for key, array in rows.items() if key not in ("labels", "masked_positions")}


def _rows(columns: Mapping[str, np.ndarray], needed: Sequence[str], name: str) -> Dict[str, np.ndarray]:
    """Return records under the names of the model's inputs. Raises DataError."""
    rows = {STORED.get(key, key): np.asarray(array).astype(np.int32) for key, array in columns.items()}
    rows.pop(WEIGHTS, None)
    missing = [key for key in ("input_ids", *needed) if key not in rows]
    unknown = sorted(set(rows) - set(STORED.values()))
    if missing or unknown:
        raise DataError(
            f"{name}: the columns are {', '.join(columns)}; masked language modelling takes those of BERT's "
            f"pre-training records, {', '.join((*STORED, WEIGHTS))} (segment_ids, next_sentence_labels and "
            f"{WEIGHTS} may be absent), or input_ids and attention_mask of rows without masks"
        )
    if "sentence_labels" in rows:
        rows["sentence_labels"] = rows["sentence_labels"].reshape(-1)
    for group in (("input_ids", "attention_mask", "token_type_ids"), ("labels", "masked_positions")):
        shapes = {key: rows[key].shape for key in group if key in rows}
        if len(set(shapes.values())) > 1 or any(len(shape) != 2 for shape in shapes.values()):
            raise DataError(f"{name}: columns must have the same shape [rows, tokens]; these have {shapes}")
    return rows

"""The first rows of a dataset as a model sees them: text, tokens, and on which of them the loss looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List

import numpy as np
from rich.console import Console
from rich.text import Text

from mindformers import build
from mindformers.config.check import Checked
from mindformers.data.loader import FeatureSet, gather
from mindformers.errors import UsageError

SPLITS = {"train": "train_dataset", "eval": "eval_dataset"}
LEARNED, SPECIAL = "bold green", "dim"
OPEN, CLOSE = "[", "]"
"""Around the tokens that the loss looks at, for eyes and terminals without colour."""


@dataclass(frozen=True)
class ShownRow:
    """One row, in words."""

    text: str
    """The row's tokens as text, special tokens left out."""
    tokens: List[str]
    """Without padding."""
    learned: np.ndarray
    """bool [tokens]: on which of them the loss looks."""
    special: np.ndarray
    """bool [tokens]: special tokens."""
    padding: int
    """Tokens of padding."""
    notes: Dict[str, str]
    """What else the row says: its label, its answer."""

    def render(self) -> Text:
        """Return the row as coloured lines."""
        lines = Text().append("text    ", "bold").append(self.text).append("\n")
        lines.append("tokens  ", "bold")
        inside = False
        for token, learned, special in zip(self.tokens, self.learned, self.special):
            if inside and not learned:
                lines.append(CLOSE, LEARNED)
            lines.append(" ")
            if learned and not inside:
                lines.append(OPEN, LEARNED)
            lines.append(token, LEARNED if learned else SPECIAL if special else "")
            inside = bool(learned)
        lines.append(CLOSE if inside else "", LEARNED)
        if self.padding:
            lines.append(f"  + {self.padding} of padding", SPECIAL)
        for name, value in self.notes.items():
            lines.append(f"\n{name:<8}", "bold").append(value)
        return lines.append("\n")


def preview(checked: Checked, split: str, count: int) -> List[ShownRow]:
    """Return the first rows of a configuration's training or evaluation data, as the first epoch shows them.

    Raises UsageError for a task without tokens, and what reading the data raises.
    """
    if count < 1:
        raise UsageError(f"rows={count}: it must be at least 1")
    config = checked.run
    tokenizer, task = build.tokenizer_and_task(config)
    loader = build.data_loader(getattr(config, SPLITS[split]), SPLITS[split], "train" if split == "train" else "dev")
    features = task.train_features(loader) if split == "train" else task.eval_features(loader).features
    if tokenizer is None or "input_ids" not in features.columns:
        raise UsageError(f"{config.trainer.type}: its rows are no tokens of a tokenizer, so there is no text to show")
    return [shown(row, task, tokenizer) for row in first_rows(features, count)]


def first_rows(features: FeatureSet, count: int) -> List[Dict[str, np.ndarray]]:
    """Return the first rows by column name."""
    columns = gather(features, np.arange(min(count, len(features))))
    return [dict(zip(features.columns, values)) for values in zip(*columns)]


def shown(row: Dict[str, np.ndarray], task: Any, tokenizer: Any) -> ShownRow:
    """Return one row in words."""
    ids = row["input_ids"]
    real = row["attention_mask"] > 0 if "attention_mask" in row else np.ones(len(ids), bool)
    special = np.isin(ids, list(tokenizer.special_ids.values()))
    return ShownRow(
        tokenizer.decode(ids[real]),
        list(tokenizer.convert_ids_to_tokens(ids[real])),
        task.learned(row)[real],
        special[real],
        int((~real).sum()),
        task.notes(row),
    )


def print_preview(checked: Checked, split: str, count: int) -> None:
    """Print the first rows; brackets and green mark what the loss looks at."""
    console = Console(soft_wrap=True, highlight=False)
    for number, row in enumerate(preview(checked, split, count)):
        console.rule(f"{SPLITS[split]}, row {number}", align="left")
        console.print(row.render())

"""From texts to the tensors that a model takes."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence, Tuple, Union

from mindformers.errors import UsageError

Pair = Tuple[str, str]
KINDS = ("ms", "np")
"""What `return_tensors` accepts: MindSpore tensors or NumPy arrays."""


class TextProcessor:
    """A tokenizer with its settings: call it with texts, give the result to a model as keyword arguments."""

    def __init__(
        self,
        tokenizer: Any,
        max_length: Optional[int] = None,
        padding: Union[bool, str] = True,
        return_tensors: str = "ms",
    ):
        """Keep the settings.

        `max_length` is the longest row in tokens, by default the tokenizer's own limit; longer texts are cut.
        `padding` is True or "longest" (to the longest row), "max_length" or False. Raises UsageError for a
        `return_tensors` that is neither "ms" nor "np", and for a tokenizer that is a name.
        """
        if return_tensors not in KINDS:
            raise UsageError(f"return_tensors={return_tensors!r}: accepted are 'ms' (MindSpore tensors) and 'np'")
        if not callable(tokenizer):
            raise UsageError(
                f"tokenizer={tokenizer!r}: give a tokenizer; AutoProcessor.from_pretrained(...) finds one by name"
            )
        self.tokenizer, self.max_length, self.padding, self.return_tensors = (
            tokenizer,
            max_length,
            padding,
            return_tensors,
        )

    def __call__(
        self,
        text: Union[str, Pair, Sequence[Union[str, Pair]]],
        text_pair: Union[str, Sequence[str], None] = None,
    ) -> Dict[str, Any]:
        """Return input_ids, attention_mask and, where the family has them, token_type_ids: int32 [texts, tokens].

        `text` is a text, a tuple of two texts that belong together, or a list of either; `text_pair` holds the second
        texts of plain ones. Raises UsageError for anything else.
        """
        firsts, seconds = _columns(text, text_pair)
        arrays = self.tokenizer(firsts, seconds, max_length=self.max_length, padding=self.padding, truncation=True)
        if self.return_tensors == "np":
            return dict(arrays)
        from mindspore import Tensor

        return {name: Tensor(array) for name, array in arrays.items()}


def _columns(text: Any, text_pair: Any) -> Tuple[Sequence[str], Optional[Sequence[str]]]:
    """Return first and second texts as lists, None for no second ones."""
    rows = [text] if isinstance(text, (str, tuple)) else text
    if not isinstance(rows, (list, tuple)) or not rows:
        raise UsageError(
            f"text: give a text, a pair (tuple of two texts) or a list of them that is not empty: {text!r}"
        )
    if all(isinstance(row, str) for row in rows):
        if text_pair is None:
            return rows, None
        others = [text_pair] if isinstance(text_pair, str) else list(text_pair)
        if len(others) != len(rows) or not all(isinstance(item, str) for item in others):
            raise UsageError(f"text_pair: give one text for each of the {len(rows)} in text; it holds {len(others)}")
        return rows, others
    pairs = [row for row in rows if isinstance(row, (tuple, list)) and len(row) == 2]
    if len(pairs) != len(rows) or not all(isinstance(part, str) for row in pairs for part in row):
        wrong = next((row for row in rows if row not in pairs), rows[0])
        raise UsageError(f"text: every row must be a text, or every row a pair of two texts; one is {wrong!r}")
    if text_pair is not None:
        raise UsageError("text_pair: the rows of text are pairs already; leave text_pair out")
    return [row[0] for row in pairs], [row[1] for row in pairs]

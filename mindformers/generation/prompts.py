"""What a caller gives `generate`, as rows of ids that the model can read."""

from __future__ import annotations

from typing import Any, List, NamedTuple, Optional, Sequence, Union

import numpy as np

from mindformers.arch.stacks import StackArch
from mindformers.errors import UsageError
from mindformers.generation.sessions import is_encoder_decoder, longest_text
from mindformers.generation.settings import GenerationConfig

Inputs = Union[str, Sequence[str], Sequence[int], Sequence[Sequence[int]], np.ndarray, Any]
ACCEPTED = "give a text, a list of texts, the ids of a text, or a list of ids of several texts"


class Prompts(NamedTuple):
    """Rows of ids."""

    ids: List[np.ndarray]
    """What was given, int32 [tokens] each."""
    is_single: bool
    """Whether one text was given and no list."""
    texts: Optional[List[str]] = None
    """The texts, when texts were given."""


def read_prompts(
    inputs: Inputs, attention_mask: Any, tokenizer: Any, settings: GenerationConfig, vocab_size: int
) -> Prompts:
    """Return the rows of what was given; where attention_mask [rows, tokens] is 0 stands padding.

    An empty text stands for the bos token. Raises UsageError for anything that cannot be read.
    """
    if isinstance(inputs, str) or _is_list_of(inputs, str):
        if attention_mask is not None:
            raise UsageError("attention_mask belongs to ids; texts are given without it")
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        if tokenizer is None:
            raise UsageError(
                "a text needs a tokenizer: load the model from a folder that holds one, give tokenizer=..., or give ids"
            )
        rows = [np.asarray(tokenizer(text)["input_ids"], np.int32) for text in texts]
        prompts = Prompts(rows, isinstance(inputs, str), texts)
    else:
        prompts = _given_ids(inputs, attention_mask)
    return prompts._replace(ids=[_checked(row, number, settings, vocab_size) for number, row in enumerate(prompts.ids)])


def _is_list_of(inputs: Any, *kinds: type) -> bool:
    return isinstance(inputs, (list, tuple)) and len(inputs) > 0 and all(isinstance(item, kinds) for item in inputs)


def _given_ids(inputs: Any, attention_mask: Any) -> Prompts:
    if _is_list_of(inputs, list, tuple, np.ndarray):
        rows, is_single = [_whole_numbers(row) for row in inputs], False
    else:
        array = _whole_numbers(inputs)
        if array.ndim not in (1, 2) or len(array) == 0:
            raise UsageError(f"the input has the shape {list(array.shape)}; {ACCEPTED}")
        rows, is_single = ([array], True) if array.ndim == 1 else (list(array), False)
    if any(row.ndim != 1 for row in rows):
        raise UsageError(f"the input is nested too deep; {ACCEPTED}")
    if attention_mask is None:
        return Prompts(rows, is_single)
    masks = np.atleast_2d(_whole_numbers(attention_mask)).astype(bool)
    if masks.shape != (len(rows), len(rows[0])) or any(len(row) != len(rows[0]) for row in rows):
        raise UsageError(f"attention_mask has the shape {list(masks.shape)}; it needs a number for every id")
    return Prompts([row[mask] for row, mask in zip(rows, masks)], is_single)


def _whole_numbers(values: Any) -> np.ndarray:
    try:
        array = np.asarray(values.asnumpy() if hasattr(values, "asnumpy") else values)
    except ValueError:
        raise UsageError(f"the input cannot be read; {ACCEPTED}") from None
    if array.size and array.dtype.kind not in "iub":
        raise UsageError(f"the input holds {array.dtype}, no whole numbers; {ACCEPTED}")
    return array


def _checked(row: np.ndarray, number: int, settings: GenerationConfig, vocab_size: int) -> np.ndarray:
    if len(row) == 0:
        if settings.bos_token_id is None:
            raise UsageError(f"prompt {number} is empty, and there is no bos_token_id that a text could begin with")
        row = np.array([settings.bos_token_id])
    if row.min() < 0 or row.max() >= vocab_size:
        wrong = row[(row < 0) | (row >= vocab_size)][0]
        raise UsageError(f"prompt {number} holds the id {wrong}; the model has the ids 0 to {vocab_size - 1}")
    return row.astype(np.int32)


def room_for(prompts: Sequence[np.ndarray], settings: GenerationConfig, arch: StackArch) -> List[int]:
    """Return the most new tokens of each row; `prompts` of an encoder-decoder are its targets so far.

    `max_length` is cut to what the model can read. Raises UsageError for a prompt that leaves no room, and for
    `max_new_tokens` that the model cannot write.
    """
    most = longest_text(arch)
    rooms = []
    for number, prompt in enumerate(prompts):
        used = f"prompt {number} has {len(prompt)} tokens"
        if most is not None and len(prompt) >= most:
            raise UsageError(f"{used}, and the model reads and writes {most} in all; shorten the prompt")
        if settings.max_new_tokens:
            if most is not None and len(prompt) + settings.max_new_tokens > most:
                raise UsageError(
                    f"{used}, and max_new_tokens is {settings.max_new_tokens}; the model reads and writes {most} in "
                    f"all: shorten the prompt, or set max_new_tokens to at most {most - len(prompt)}"
                )
            rooms.append(settings.max_new_tokens)
            continue
        length = settings.max_length if most is None else min(settings.max_length, most)
        if len(prompt) >= length:
            kind = "target" if is_encoder_decoder(arch) else "text"
            raise UsageError(
                f"{used}, and max_length, which counts the whole {kind}, is {length}; raise max_length, or set "
                "max_new_tokens, which counts new tokens alone"
            )
        rooms.append(length - len(prompt))
    return rooms

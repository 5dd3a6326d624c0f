"""Where special tokens stand around one text or a pair, and how much of each text stays when room is short."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from tokenizers import Tokenizer, processors

from mindformers.errors import DataError, UsageError

FIRST, SECOND = "A", "B"
Slot = Tuple[Union[int, str], int]
"""A token id, or FIRST or SECOND for the tokens of a text; and the type id (0: first text, 1: second)."""


@dataclass(frozen=True)
class Layout:
    """The order of texts and special tokens."""

    single: Tuple[Slot, ...]
    pair: Tuple[Slot, ...]

    def special_count(self, pair: bool) -> int:
        """Return how many special tokens one text or a pair gets."""
        return sum(isinstance(item, int) for item, _ in (self.pair if pair else self.single))

    def arrange(self, first: Sequence[int], second: Optional[Sequence[int]]) -> Tuple[List[int], List[int]]:
        """Return the ids and type ids of one text or a pair with its special tokens."""
        ids: List[int] = []
        types: List[int] = []
        texts = {FIRST: first, SECOND: second or ()}
        for item, type_id in self.single if second is None else self.pair:
            part = [item] if isinstance(item, int) else texts[item]
            ids.extend(part)
            types.extend([type_id] * len(part))
        return ids, types

    def processor(self, backend: Tokenizer, trim_offsets: bool) -> processors.PostProcessor:
        """Return the same order for the tokenizers library; `trim_offsets` leaves white space out of offsets."""
        names = {item: backend.id_to_token(item) for item, _ in (*self.single, *self.pair) if not isinstance(item, str)}
        single, pair = (
            [f"${item}:{kind}" if isinstance(item, str) else f"{names[item]}:{kind}" for item, kind in slots]
            for slots in (self.single, self.pair)
        )
        template = processors.TemplateProcessing(
            single=single, pair=pair, special_tokens=[(name, item) for item, name in names.items()]
        )
        if not trim_offsets:
            return template
        # A space that the tokenizer itself puts in front has no character that could be left out.
        added = getattr(backend.pre_tokenizer, "add_prefix_space", False)
        return processors.Sequence([processors.ByteLevel(trim_offsets=True, add_prefix_space=added), template])


def layout_of_names(single: Sequence[str], pair: Sequence[str], ids: Mapping[str, int]) -> Layout:
    """Return the layout of special token names (`cls_token` ...), FIRST and SECOND; names without id are left out.

    The type id is 1 from the second text on.
    """

    def slots(names: Sequence[str]) -> Tuple[Slot, ...]:
        made: List[Slot] = []
        for name in names:
            type_id = 1 if name == SECOND or any(item == SECOND for item, _ in made) else 0
            if name in (FIRST, SECOND):
                made.append((name, type_id))
            elif name in ids:
                made.append((ids[name], type_id))
        return tuple(made)

    return Layout(slots(single), slots(pair))


def layout_of_backend(backend: Tokenizer, where: object) -> Layout:
    """Return the layout that a stored post-processor describes; `where` names its file. Raises DataError."""
    bare = Layout(((FIRST, 0),), ((FIRST, 0), (SECOND, 1)))
    if backend.post_processor is None:
        return bare
    state = json.loads(backend.post_processor.__getstate__())
    return _layout_of_state(state, where) or bare


def _layout_of_state(state: Mapping[str, Any], where: object) -> Optional[Layout]:
    """Return the layout of one post-processor, None when it adds no tokens."""
    kind = state["type"]
    if kind == "Sequence":
        found = [_layout_of_state(item, where) for item in state["processors"]]
        return next((item for item in reversed(found) if item is not None), None)
    if kind == "ByteLevel":
        return None
    if kind in ("BertProcessing", "RobertaProcessing"):
        ids = {"cls": state["cls"][1], "sep": state["sep"][1]}
        between = ("sep",) if kind == "BertProcessing" else ("sep", "sep")
        return layout_of_names(("cls", FIRST, "sep"), ("cls", FIRST, *between, SECOND, "sep"), ids)
    if kind == "TemplateProcessing":
        return Layout(*(_template_slots(state[part], state["special_tokens"]) for part in ("single", "pair")))
    raise DataError(
        f"{where}: the post-processor {kind} is not supported; supported are TemplateProcessing, BertProcessing, "
        "RobertaProcessing, ByteLevel and a Sequence of them"
    )


def _template_slots(pieces: Sequence[Dict[str, Dict]], special: Mapping[str, Mapping]) -> Tuple[Slot, ...]:
    slots: List[Slot] = []
    for piece in pieces:
        ((kind, item),) = piece.items()
        if kind == "Sequence":
            slots.append((item["id"], item["type_id"]))
        else:
            slots.extend((token_id, item["type_id"]) for token_id in special[item["id"]]["ids"])
    return tuple(slots)


def kept_lengths(first: int, second: Optional[int], room: int, strategy: Union[bool, str]) -> Tuple[int, int]:
    """Return how many tokens of each text fit into `room`; "longest_first" keeps both as even as possible.

    Raises UsageError when the strategy leaves a text less than nothing.
    """
    lengths = [first, second or 0]
    excess = sum(lengths) - room
    if excess <= 0:
        return first, second or 0
    if strategy in (True, "longest_first"):
        half = max(room, 0) // 2
        shorter = min(lengths)
        # A text that fits into half of the room stays whole; the odd token goes to the longer one.
        kept = shorter if shorter <= half else half
        lengths = [kept, room - kept] if lengths[0] <= lengths[1] else [room - kept, kept]
    else:
        lengths[0 if strategy == "only_first" else 1] -= excess
    if min(lengths) < 0:
        raise UsageError(
            f"truncation={strategy!r} leaves no token: {room} tokens are to hold {first} + {second or 0}; "
            "raise max_length"
        )
    return lengths[0], lengths[1]

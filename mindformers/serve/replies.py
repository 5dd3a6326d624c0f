"""Answers in the forms of the OpenAI API: whole, and in pieces."""

from __future__ import annotations

import time
import uuid
from typing import Any, Dict, Optional

REASONS = {"eos": "stop", "stop": "stop", "length": "length"}
"""Why a text ended -> `finish_reason`."""
Object = Dict[str, Any]


class Reply:
    """What all objects of one answer share; a subclass says how a choice is written."""

    prefix: str
    whole_name: str
    piece_name: str

    def __init__(self, model: str):
        self.id, self.model, self.created = f"{self.prefix}-{uuid.uuid4().hex}", model, int(time.time())

    def _object(self, name: str, choices: list, **more: Any) -> Object:
        head = {"id": self.id, "object": name, "created": self.created, "model": self.model}
        return {**head, "choices": choices, **more}

    def whole(self, choices: list, usage: Object) -> Object:
        """Return the whole answer."""
        return self._object(self.whole_name, choices, usage=usage)

    def piece(self, choice: Object) -> Object:
        """Return a part of a stream."""
        return self._object(self.piece_name, [choice])

    def last(self, usage: Object) -> Object:
        """Return the end of a stream that holds the numbers of tokens."""
        return self._object(self.piece_name, [], usage=usage)

    def choice(self, index: int, text: str, reason: Optional[str]) -> Object:
        """Return one text of a whole answer."""
        raise NotImplementedError

    def opening(self, index: int) -> Optional[Object]:
        """Return what a stream says before a text begins."""
        return None

    def part(self, index: int, text: str, reason: Optional[str]) -> Object:
        """Return a piece of a text, and the reason why it ended, in a stream."""
        return self.choice(index, text, reason)


class CompletionReply(Reply):
    """An answer of /v1/completions."""

    prefix, whole_name, piece_name = "cmpl", "text_completion", "text_completion"

    def choice(self, index: int, text: str, reason: Optional[str]) -> Object:
        """As `Reply.choice`."""
        return {"index": index, "text": text, "logprobs": None, "finish_reason": reason and REASONS[reason]}


class ChatReply(Reply):
    """An answer of /v1/chat/completions."""

    prefix, whole_name, piece_name = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def choice(self, index: int, text: str, reason: Optional[str]) -> Object:
        """As `Reply.choice`."""
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"index": index, "message": message, "logprobs": None, "finish_reason": reason and REASONS[reason]}

    def opening(self, index: int) -> Optional[Object]:
        """As `Reply.opening`."""
        return self._delta(index, {"role": "assistant", "content": ""}, None)

    def part(self, index: int, text: str, reason: Optional[str]) -> Object:
        """As `Reply.part`."""
        return self._delta(index, {"content": text} if text else {}, reason)

    def _delta(self, index: int, delta: Object, reason: Optional[str]) -> Object:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason and REASONS[reason]}

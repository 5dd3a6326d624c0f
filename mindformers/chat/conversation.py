"""What was said so far, cut to what a model can read."""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from mindformers.errors import UsageError

Message = Dict[str, str]


class Conversation:
    """Turns of a user and a model; the oldest are left out when they no longer fit, the system prompt never."""

    def __init__(self, prompt: Callable[[Sequence[Message]], np.ndarray], room: int, system: Optional[str] = None):
        """Begin a conversation; `prompt` writes messages as ids, of which there may be `room`."""
        self._prompt, self._room = prompt, room
        self._system: List[Message] = [] if system is None else [{"role": "system", "content": system}]
        self.turns: List[Message] = []

    def ask(self, text: str) -> Tuple[np.ndarray, int]:
        """Add a question; return the ids to answer and how many earlier questions were left out with their answers.

        Raises UsageError when the question alone does not fit; the conversation is then as before.
        """
        question = {"role": "user", "content": text}
        for start in range(0, len(self.turns) + 1, 2):
            turns = [*self.turns[start:], question]
            ids = self._prompt([*self._system, *turns])
            if len(ids) <= self._room:
                self.turns = turns
                return ids, start // 2
        said = "with the system prompt " if self._system else ""
        raise UsageError(
            f"the message has {len(ids)} tokens {said}and there is room for {self._room}: shorten it, "
            "or leave more room with a smaller --max-new-tokens"
        )

    def answer(self, text: str) -> None:
        """Add the answer to the last question."""
        self.turns.append({"role": "assistant", "content": text})

    def withdraw(self) -> None:
        """Take back the last question, which got no answer."""
        self.turns.pop()

    def clear(self) -> None:
        """Forget all turns."""
        self.turns = []

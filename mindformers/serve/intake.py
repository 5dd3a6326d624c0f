"""From a checked request to the texts that the model is to write."""

from __future__ import annotations

from typing import List, Optional, Union

import numpy as np

from mindformers.chat.speaker import Speaker
from mindformers.generation.prompts import read_prompts
from mindformers.generation.rows import Row
from mindformers.generation.settings import GenerationConfig
from mindformers.serve.refusals import RefusedError
from mindformers.serve.requests import COMPLETION_TOKENS, ChatRequest, CompletionRequest


class Intake:
    """The rules of one server: the name of its model and how long texts may be."""

    def __init__(self, speaker: Speaker, name: str, max_tokens: int):
        """Serve a model under a name; `max_tokens` counts prompt and answer of a text together."""
        self.speaker, self.name, self.max_tokens = speaker, name, max_tokens

    def check_name(self, name: str) -> None:
        """Raise RefusedError for the name of another model."""
        if name != self.name:
            raise RefusedError(404, f"there is no model '{name}' here; it is '{self.name}'", "model_not_found", "model")

    def rows(self, request: Union[CompletionRequest, ChatRequest]) -> List[Row]:
        """Return the texts of a request: its prompts in their order, each as often as answers are wanted.

        Raises RefusedError for what this server does not allow, UsageError for what the model cannot read.
        """
        self.check_name(request.model)
        if isinstance(request, ChatRequest):
            settings = request.settings(self.speaker.chat_settings)
            prompts = [self.speaker.prompt([message.plain() for message in request.messages])]
            wanted = request.max_completion_tokens or request.max_tokens
        else:
            settings = request.settings(self.speaker.settings)
            prompts = self._prompts(request.prompt, settings)
            wanted = request.max_tokens or COMPLETION_TOKENS
        count = request.sequences
        limits = [self._limit(len(prompt), wanted) for prompt in prompts]
        return [
            self.speaker.row(prompt, settings, limit, place * count + number)
            for place, (prompt, limit) in enumerate(zip(prompts, limits))
            for number in range(count)
        ]

    def _prompts(self, given: Union[str, list], settings: GenerationConfig) -> List[np.ndarray]:
        if not isinstance(given, str) and len({type(item) for item in given}) > 1:
            raise RefusedError(400, "prompt: texts, ids and lists of ids cannot be mixed", "invalid_value", "prompt")
        model, tokenizer = self.speaker.model, self.speaker.tokenizer
        return read_prompts(given, None, tokenizer, settings, model.arch.vocab_size).ids

    def _limit(self, used: int, wanted: Optional[int]) -> int:
        """Return the most new tokens after `used` ones; by default all that there is room for."""
        room = self.max_tokens - used
        if room < 1 or (wanted or 1) > room:
            asked = "" if wanted is None else f" and asks for {wanted} new ones"
            raise RefusedError(
                400,
                f"the prompt has {used} tokens{asked}; prompt and answer together may have {self.max_tokens}",
                "context_length_exceeded",
            )
        return wanted or room

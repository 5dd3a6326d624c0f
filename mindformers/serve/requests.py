"""Requests of the OpenAI API that this server understands, and what they ask a model to write."""

from __future__ import annotations

import json
from typing import Annotated, Any, Dict, List, Literal, Optional, Union

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mindformers.chat.speaker import SAMPLING, sampled
from mindformers.generation.settings import GenerationConfig

MOST_SEQUENCES = 128
COMPLETION_TOKENS = 16
"""Most new tokens of a completion that does not say, as in the OpenAI API."""
WHOLE_DISTRIBUTION = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
"""How a request that does not say is written by a model whose files do not say either, as in the OpenAI API."""


def _is_neutral(value: Any) -> Any:
    if value:
        raise ValueError("this server cannot do it; leave it out")
    return value


Unsupported = Annotated[Any, AfterValidator(_is_neutral)]
"""A parameter that may only be sent with a value that asks for nothing: null, false, 0 or empty."""
Positive = Annotated[int, Field(ge=1)]


class Strict(BaseModel):
    """No unknown keys, no texts for numbers."""

    model_config = ConfigDict(extra="forbid", strict=True)


class StreamOptions(Strict):
    """What a stream holds beside the text."""

    include_usage: Optional[bool] = None
    include_obfuscation: Unsupported = None


class WritingRequest(Strict):
    """What both forms of request share."""

    model: str
    max_tokens: Optional[Positive] = None
    temperature: Annotated[Optional[float], Field(ge=0, le=2)] = None
    top_p: Annotated[Optional[float], Field(gt=0, le=1)] = None
    n: Annotated[Optional[int], Field(ge=1, le=MOST_SEQUENCES)] = None
    stop: Union[None, str, Annotated[List[str], Field(max_length=4)]] = None
    seed: Optional[int] = None
    stream: Optional[bool] = None
    stream_options: Optional[StreamOptions] = None
    user: Optional[str] = None
    frequency_penalty: Unsupported = None
    presence_penalty: Unsupported = None
    logit_bias: Unsupported = None

    @model_validator(mode="before")
    @classmethod
    def _is_whole(cls, values: Any) -> Any:
        """Refuse what JSON can escape and no tokenizer can read."""
        try:
            if isinstance(values, dict):
                json.dumps(values, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a text holds half of a character (a lone surrogate)") from None
        return values

    @property
    def sequences(self) -> int:
        """How many answers are wanted for each prompt."""
        return self.n or 1

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the numbers of tokens."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def settings(self, base: GenerationConfig) -> GenerationConfig:
        """Return how the answers are to be written; `base` is what the model itself says.

        Raises UsageError for values that cannot be used.
        """
        given = {name: getattr(self, name, None) for name in SAMPLING}
        if not base.do_sample:
            given = {name: usual if given[name] is None else given[name] for name, usual in WHOLE_DISTRIBUTION.items()}
        seed = None if self.seed is None else self.seed % 2**64
        stops = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return sampled(base, given).changed({"seed": seed, "stop": (*base.stop, *stops)})


class CompletionRequest(WritingRequest):
    """A request for the continuation of prompts."""

    prompt: Union[str, Annotated[List[Union[str, int, List[int]]], Field(min_length=1)]]
    best_of: Unsupported = None
    echo: Unsupported = None
    logprobs: None = None
    suffix: Unsupported = None


class TextPart(Strict):
    """A part of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(Strict):
    """A turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Union[str, List[TextPart]]
    name: Unsupported = None
    refusal: Unsupported = None
    tool_calls: Unsupported = None

    def plain(self) -> Dict[str, str]:
        """Return the message as chat templates read it."""
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": content}


class ChatRequest(WritingRequest):
    """A request for the next turn of a conversation."""

    messages: Annotated[List[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Optional[Positive] = None
    logprobs: Unsupported = None
    top_logprobs: Unsupported = None
    response_format: Unsupported = None
    tools: Unsupported = None
    tool_choice: Unsupported = None

"""A model that answers: weights, tokenizer, the format of its conversations, and how it writes by default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Optional, Sequence

import numpy as np
from mindspore import nn

from mindformers.errors import UsageError
from mindformers.generation.generate import default_settings, default_tokenizer, open_session
from mindformers.generation.rows import Row, write
from mindformers.generation.settings import GenerationConfig
from mindformers.models.auto import AutoModelForCausalLM
from mindformers.models.hf_config import INT8
from mindformers.tokenizers.chat import ENDS, choose

Messages = Sequence[Mapping[str, str]]
SAMPLING = ("temperature", "top_p", "top_k")


@dataclass(frozen=True)
class Speaker:
    """A decoder with what it needs to hold conversations."""

    model: nn.Cell
    tokenizer: Any
    template: Optional[str]
    """Name of a chat template, or a template; None for the tokenizer's own."""
    settings: GenerationConfig
    """How it continues a text: what lies beside its weights, and the end token of its tokenizer."""

    @classmethod
    def load(
        cls, folder: str, adapter: Optional[str] = None, template: Optional[str] = None, dtype: str = "float32"
    ) -> Speaker:
        """Return the model of a folder with config.json, weights and tokenizer, and the LoRA of an adapter's folder.

        `dtype` is the type of the weights, which the model computes in; with int8 it computes in bfloat16. Raises
        UsageError for a folder without a tokenizer or adapter, CheckpointError for an adapter of another model,
        UnknownNameError for a template that does not exist.
        """
        compute_dtype = "bfloat16" if dtype == INT8 else dtype
        model = AutoModelForCausalLM.from_pretrained(folder, adapter=adapter, dtype=dtype, compute_dtype=compute_dtype)
        tokenizer = default_tokenizer(model)
        if tokenizer is None:
            raise UsageError(f"--model {folder}: no tokenizer lies beside the weights; copy its files into the folder")
        if template is not None:
            choose(tokenizer.chat_template, template)
        settings = default_settings(model)
        if tokenizer.eos_token_id is not None:
            settings = _ended_by(settings, tokenizer.eos_token_id)
        return cls(model, tokenizer, template, settings)

    @property
    def most_tokens(self) -> int:
        """How many tokens of prompt and answer the model was made for."""
        return self.model.arch.max_positions

    @property
    def chat_settings(self) -> GenerationConfig:
        """`settings`, which also end an answer where a built-in template begins the next turn."""
        end = ENDS.get(self.template or "")
        if end is None:
            return self.settings
        if self.tokenizer.tokenize(end) == [end]:
            return _ended_by(self.settings, self.tokenizer.convert_tokens_to_ids(end))
        return self.settings.changed({"stop": (*self.settings.stop, f"\n{end}")})

    def prompt(self, messages: Messages) -> np.ndarray:
        """Return the ids of a conversation, int32 [tokens], up to where the answer begins.

        Raises UsageError when there is no template, or it refuses the messages.
        """
        return self.tokenizer.apply_chat_template(messages, chat_template=self.template, add_generation_prompt=True)

    def row(self, prompt: np.ndarray, settings: GenerationConfig, limit: int, number: int = 0) -> Row:
        """Return a text to be written after a prompt, by at most `limit` tokens; `number` as of `Row`."""
        return Row(prompt, settings, limit, number, prompt.tolist(), self.tokenizer)

    def write(self, rows: Sequence[Row]) -> Iterator[None]:
        """Add a token to every unfinished row, and yield, until all are finished.

        Raises UsageError for logits that are not finite.
        """
        room = max(row.limit for row in rows)
        return write(open_session(self.model, [row.prompt for row in rows], None, room, recompute=False), rows)


def sampled(settings: GenerationConfig, wanted: Mapping[str, Optional[float]]) -> GenerationConfig:
    """Return settings with those of `SAMPLING` that are wanted; None keeps what is.

    One of them is enough to draw at random; a temperature of 0 stands for the likeliest token.
    """
    given = {name: wanted[name] for name in SAMPLING if wanted.get(name) is not None}
    if given.get("temperature") == 0:
        return settings.changed({"do_sample": False})
    return settings.changed({**given, "do_sample": True}) if given else settings


def _ended_by(settings: GenerationConfig, token: int) -> GenerationConfig:
    """Return settings with one more token that ends a text."""
    return settings.changed({"eos_token_id": tuple(dict.fromkeys((*settings.eos, token)))})

"""How a text is to be written: every choice of `generate` in one checked value. MindSpore is not imported."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, replace
from numbers import Integral
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple, Union

from mindformers.errors import CheckpointError, UnknownNameError, UsageError, counted, listing

GENERATION_CONFIG = "generation_config.json"


@dataclass(frozen=True)
class GenerationConfig:
    """Choices of one call; raises UsageError with everything that does not fit."""

    do_sample: bool = False
    """Whether tokens are drawn at random; otherwise the likeliest is taken."""
    temperature: float = 1.0
    """What logits are divided by before drawing."""
    top_k: int = 50
    """How many of the likeliest tokens may be drawn; 0 for all."""
    top_p: float = 1.0
    """Share of the probability that the drawn tokens come from (Holtzman et al. 2020, arXiv:1904.09751)."""
    num_beams: int = 1
    """Texts that are followed at the same time."""
    num_return_sequences: int = 1
    """Texts that are returned for each prompt."""
    length_penalty: float = 1.0
    """Exponent of the length that the score of a finished beam is divided by."""
    early_stopping: Union[bool, str] = False
    """Whether a beam search ends as soon as `num_beams` texts are finished; "never" goes on until no longer text can
    be better, where False compares at today's length."""
    repetition_penalty: float = 1.0
    """What logits of tokens that occurred are made less likely by (Keskar et al. 2019, arXiv:1909.05858)."""
    no_repeat_ngram_size: int = 0
    """Length of the sequences of tokens that may occur only once; 0 for no such rule."""
    max_length: int = 128
    """Tokens of prompt and answer together, of an encoder-decoder those of the target with its start token."""
    max_new_tokens: int = 0
    """Tokens of the answer; in place of `max_length` when above 0."""
    min_length: int = 0
    """Tokens, counted as for `max_length`, before which no end token is written."""
    min_new_tokens: int = 0
    """Tokens of the answer before which no end token is written."""
    eos_token_id: Union[int, Tuple[int, ...], None] = None
    """The token or tokens that end a text."""
    bos_token_id: Optional[int] = None
    """The token that an empty prompt stands for."""
    pad_token_id: Optional[int] = None
    """The token that fills up returned ids of unequal length; the end token when absent."""
    stop: Tuple[str, ...] = ()
    """Texts that end the answer; they are no part of it."""
    seed: Optional[int] = None
    """What draws follow from, for each row of a call apart; None for other draws at each call."""
    recompute: bool = False
    """Whether every token is computed from the whole text, without a cache; for checking."""
    detokenize: bool = True
    """Whether texts are returned, or ids."""
    include_input: bool = False
    """Whether the prompt is part of what is returned."""
    stream: bool = False
    """Whether an iterator of pieces is returned."""
    return_output_log_probs: bool = False
    """Whether the log-probability of every new token is returned, too."""

    def __post_init__(self) -> None:
        if isinstance(self.eos_token_id, list):
            object.__setattr__(self, "eos_token_id", tuple(self.eos_token_id))
        if isinstance(self.stop, (str, list)):
            object.__setattr__(self, "stop", (self.stop,) if isinstance(self.stop, str) else tuple(self.stop))
        problems = list(_problems(self))
        if problems:
            raise UsageError(listing(f"generation: {counted(len(problems), 'setting')} cannot be used:", problems))

    @property
    def eos(self) -> Tuple[int, ...]:
        """The tokens that end a text."""
        if self.eos_token_id is None:
            return ()
        return self.eos_token_id if isinstance(self.eos_token_id, tuple) else (self.eos_token_id,)

    def changed(self, options: Mapping[str, Any]) -> GenerationConfig:
        """Return these settings with others for some names; an unknown name raises UnknownNameError."""
        for name in options:
            if name not in NAMES:
                raise UnknownNameError("generation setting", name, NAMES)
        return replace(self, **options)

    @classmethod
    def of_model(cls, config: Any, folder: Optional[Path] = None) -> GenerationConfig:
        """Return the defaults of a model: special tokens of its configuration, then what its folder's file says.

        Keys of generation_config.json that are no settings here are left out. Raises CheckpointError.
        """
        tokens = {name: getattr(config, name, None) for name in ("eos_token_id", "bos_token_id", "pad_token_id")}
        return cls(**{**tokens, **(_from_file(folder / GENERATION_CONFIG) if folder is not None else {})})


NAMES = tuple(field.name for field in fields(GenerationConfig))


def _from_file(file: Path) -> Dict[str, Any]:
    """Return the settings in a generation_config.json, nothing where there is none; null stands for the default."""
    if not file.is_file():
        return {}
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(str(file), [f"not readable: {error}"]) from error
    if not isinstance(values, dict):
        raise CheckpointError(str(file), ["does not hold an object"])
    return {name: values[name] for name in NAMES if values.get(name) is not None}


COUNTS = {
    "top_k": 0,
    "num_beams": 1,
    "num_return_sequences": 1,
    "no_repeat_ngram_size": 0,
    "max_length": 1,
    "max_new_tokens": 0,
    "min_length": 0,
    "min_new_tokens": 0,
}
"""Whole numbers and the least that each may be."""
POSITIVE = ("temperature", "repetition_penalty")
FLAGS = tuple(field.name for field in fields(GenerationConfig) if field.type == "bool")
TEXT_ALONE = {"detokenize": True, "stream": False, "return_output_log_probs": False}
"""What makes `generate` return texts and nothing else."""


def check_text_alone(settings: GenerationConfig) -> None:
    """Raise UsageError when `generate` would not return texts alone, as the answers of a task are."""
    problems = [
        f"{name}={getattr(settings, name)}: it must be {value}"
        for name, value in TEXT_ALONE.items()
        if getattr(settings, name) != value
    ]
    if problems:
        advice = "for pieces call Pipeline.stream, for ids and log-probabilities model.generate"
        raise UsageError(f"{listing('generation: the answers are texts, written whole:', problems)}\n{advice}")


def _problems(settings: GenerationConfig) -> List[str]:
    """Return what is wrong with single settings, or if nothing is, what does not fit together."""
    found = [*_wrong_numbers(settings), *_wrong_kinds(settings)]
    return found or list(_contradictions(settings))


def _is_token(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _wrong_kinds(settings: GenerationConfig) -> Iterator[str]:
    for name in FLAGS:
        if not isinstance(getattr(settings, name), bool):
            yield f"{name}={getattr(settings, name)!r}: it must be True or False"
    if not isinstance(settings.early_stopping, bool) and settings.early_stopping != "never":
        yield f"early_stopping={settings.early_stopping!r}: it must be True, False or 'never'"
    for name in ("bos_token_id", "pad_token_id"):
        value = getattr(settings, name)
        if value is not None and not _is_token(value):
            yield f"{name}={value!r}: it must be the id of a token, or None"
    if not all(map(_is_token, settings.eos)):
        yield f"eos_token_id={settings.eos_token_id!r}: it must be the id of a token, several of them, or None"
    stop = settings.stop
    if not isinstance(stop, tuple) or any(not text or not isinstance(text, str) for text in stop):
        yield f"stop={stop!r}: it must be a text or several that are not empty"


def _wrong_numbers(settings: GenerationConfig) -> List[str]:
    found = []
    for name, least in COUNTS.items():
        value = getattr(settings, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            found.append(f"{name}={value!r}: it must be a whole number of at least {least}")
    for name in (*POSITIVE, "top_p", "length_penalty"):
        value = getattr(settings, name)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            found.append(f"{name}={value!r}: it must be a number")
        elif name in POSITIVE and value <= 0:
            advice = "; for the likeliest token set do_sample to false" if name == "temperature" else ""
            found.append(f"{name}={value!r}: it must be above 0{advice}")
    seed = settings.seed
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or seed < 0):
        found.append(f"seed={seed!r}: it must be a whole number of at least 0, or None")
    return found


def _contradictions(settings: GenerationConfig) -> Iterator[str]:
    if not 0.0 < settings.top_p <= 1.0:
        yield f"top_p={settings.top_p!r}: it must be above 0 and at most 1 (1 keeps every token)"
    if settings.num_beams > 1 and settings.num_return_sequences > settings.num_beams:
        yield (
            f"num_return_sequences={settings.num_return_sequences} of num_beams={settings.num_beams}: a beam search "
            "returns at most as many texts as it has beams"
        )
    if settings.num_return_sequences > 1 and settings.num_beams == 1 and not settings.do_sample:
        yield (
            f"num_return_sequences={settings.num_return_sequences} without do_sample or num_beams: every text would "
            "be the same; set do_sample=True, or num_beams to at least as many"
        )
    if settings.stream and settings.num_beams > 1:
        yield f"stream=True with num_beams={settings.num_beams}: a beam search knows its text only at the end"
    if settings.stream and settings.return_output_log_probs:
        yield "stream=True with return_output_log_probs=True: pieces come without log-probabilities; leave one out"

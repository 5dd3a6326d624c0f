"""Options of the callbacks that freeze weights and write samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Dict, List, Optional


@dataclass(frozen=True)
class Freeze:
    """Weights that stay as they are for a part of training."""

    RIVALS: ClassVar[Dict[str, str]] = {"from_step": "from_epoch", "until_step": "until_epoch"}

    paths: List[str]
    """Patterns of parameter paths, e.g. "layers.0.*"."""
    from_step: Optional[int] = None
    """Steps of the run after which they are frozen; from the start when absent."""
    until_step: Optional[int] = None
    """Steps of the run after which they are trained again; never when absent."""
    from_epoch: Optional[int] = None
    """Epochs after which they are frozen."""
    until_epoch: Optional[int] = None
    """Epochs after which they are trained again."""


@dataclass(frozen=True)
class SampleText:
    """What the model writes while it is trained."""

    prompts: List[str]
    """Texts to continue; of an encoder-decoder, to answer."""
    every_steps: int = 100
    """Optimizer steps between two samples."""
    max_new_tokens: int = 32
    """Tokens of a sample."""
    do_sample: bool = False
    """Draw tokens, always the same draws, instead of taking the likeliest."""

"""Options of the loader and the metric of translation."""

from __future__ import annotations

from dataclasses import dataclass

from mindformers.config.options import Loader


@dataclass(frozen=True)
class TranslationLoader(Loader):
    """Texts in two languages."""

    source_lang: str = "source"
    """Column, or ending of the file, of the texts that are translated."""
    target_lang: str = "target"
    """Column, or ending of the file, of their translations."""


@dataclass(frozen=True)
class BLEUMetric:
    """sacreBLEU of what the model writes, and how it writes."""

    num_beams: int = 1
    """Translations that are followed at the same time."""
    length_penalty: float = 1.0
    """Exponent of the length that the score of a finished translation is divided by; with beams."""

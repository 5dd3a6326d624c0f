"""BLEU and chrF of translations, worked out by sacreBLEU (Post 2018, arXiv:1804.08771)."""

from __future__ import annotations

from typing import Dict, Sequence

from mindspore.train import Metric

from mindformers.data.loader import FILLER_ROW
from mindformers.errors import DataError, MissingExtraError
from mindformers.log import logger


class BLEU(Metric):
    """sacreBLEU's corpus BLEU (cased, tokenised as "13a") and chrF over all translations since `clear`.

    `references` are the right translations, one for each row of the data. Raises MissingExtraError without sacrebleu.
    """

    def __init__(self, references: Sequence[str]):
        super().__init__()
        try:
            import sacrebleu.metrics as sacrebleu
        except ImportError:
            raise MissingExtraError("sacrebleu", "translation", "scoring translations") from None
        self._references = references
        self._measures = {"bleu": sacrebleu.BLEU(), "chrf": sacrebleu.CHRF()}
        self.clear()

    def clear(self) -> None:
        """Forget all translations."""
        self._written: Dict[int, str] = {}

    def update(self, *inputs) -> None:
        """Take rows [B] and their translations, B texts; rows of -1 fill up a batch and count not.

        Raises DataError for anything but two inputs of one length.
        """
        if len(inputs) != 2 or len(inputs[0]) != len(inputs[1]):
            raise DataError(f"translations are scored by rows and texts, one each, but {len(inputs)} inputs came")
        self._written.update({int(row): text for row, text in zip(*inputs) if row != FILLER_ROW})

    def eval(self) -> Dict[str, float]:
        """Return bleu and chrf (0 to 100), scored and total. Raises DataError when nothing was translated."""
        if not self._written:
            raise DataError("no translation to score; the evaluation data has no row")
        rows = sorted(self._written)
        texts, references = [self._written[row] for row in rows], [self._references[row] for row in rows]
        scores = {name: measure.corpus_score(texts, [references]).score for name, measure in self._measures.items()}
        logger.info("sacreBLEU signature: %s", self._measures["bleu"].get_signature())
        return {**scores, "scored": len(rows), "total": len(self._references)}

"""Translation: a text into a text of another language (T5, Raffel et al. 2020, arXiv:1910.10683).

Data: pairs of texts. Head: the next token of the target. Metric: sacreBLEU of what the model writes. Predict: texts to
translations.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple, Union

import numpy as np
from mindspore import nn

from mindformers.config.schema import RunConfig
from mindformers.config.tokenizer_options import PretrainedTokenizer as TokenizerOptions
from mindformers.config.translation_options import BLEUMetric, TranslationLoader
from mindformers.data.loader import FeatureSet
from mindformers.data.parallel_text import ParallelTexts, TranslationDataLoader, examples_from
from mindformers.data.records import RecordFiles
from mindformers.data.text_features import build_text_features
from mindformers.errors import DataError, UsageError
from mindformers.evaluate.translation import BLEU
from mindformers.generation.generate import default_settings, generate
from mindformers.generation.settings import GenerationConfig, check_text_alone
from mindformers.models.heads import IGNORED
from mindformers.tasks.task import Task

Source = Union[str, Path, TranslationDataLoader, RecordFiles, Iterable[object]]
ACCEPTED = "accepted are a text, and an object {'text': ...} or {'source': ...}"
WIDTHS = 8
"""Rows are as wide as the longest text needs, rounded up to a multiple of this, and no wider than the limit."""


@dataclass(frozen=True)
class EvalData:
    """A dataset for scoring."""

    features: FeatureSet
    """What the encoder sees, one row a text."""
    texts: ParallelTexts


@dataclass(frozen=True)
class Lengths:
    """Limits in tokens, the end token included; longer texts are cut."""

    source: int = 512
    target: int = 128

    def __post_init__(self):
        if min(self.source, self.target) < 2:
            raise UsageError(
                f"src_max_length={self.source}, tgt_max_length={self.target}: each must hold a token and the end token"
            )


class TranslationTask(Task):
    """Data, metric and predictions of translation.

    `prefix` stands before every source text ("translate English to German: "); `beams` and `length_penalty` are those
    of the search in evaluation and prediction; `languages` name the columns of source and target in a user's data;
    `settings` of `generate`, by name, beat all of these.
    """

    name = "translation"
    head = "seq2seq_lm"
    metric_name = "Translation Metric"
    main_metric = "bleu"

    def __init__(
        self,
        tokenizer: Any,
        lengths: Optional[Lengths] = None,
        prefix: str = "",
        search: Optional[BLEUMetric] = None,
        languages: Tuple[str, str] = ("source", "target"),
        settings: Optional[Mapping[str, Any]] = None,
    ):
        self.tokenizer, self.prefix, self.languages = tokenizer, prefix, languages
        self.lengths = Lengths() if lengths is None else lengths
        self.search = BLEUMetric() if search is None else search
        self.settings = dict(settings or {})

    @classmethod
    def from_config(cls, config: RunConfig, tokenizer: Any) -> TranslationTask:
        """Return the task as a configuration describes it.

        Raises DataError when there is no tokenizer, UsageError where sections do not fit together.
        """
        if tokenizer is None:
            raise DataError(
                "translation needs a tokenizer: keep its files beside the weights, or set train_dataset.tokenizer"
            )
        sections = [section for section in (config.train_dataset, config.eval_dataset) if section is not None]
        named = [section.tokenizer.options for section in sections if section.tokenizer is not None]
        loaders = [section.data_loader.options for section in sections if section.data_loader is not None]
        sizes = config.model.model_config.options if config.model.model_config is not None else None

        def chosen(option: str) -> Any:
            found = [getattr(item, option) for item in named if isinstance(item, TokenizerOptions)]
            return next((value for value in found if value is not None), None)

        lengths = Lengths(
            chosen("src_max_length") or getattr(sizes, "seq_length", None) or Lengths.source,
            chosen("tgt_max_length") or getattr(sizes, "max_decode_length", None) or Lengths.target,
        )
        metric = config.metric.options if config.metric is not None else BLEUMetric()
        if not isinstance(metric, BLEUMetric):
            raise UsageError(f"metric.type is {config.metric.type}; translation is scored by BLEU")
        loader = next((item for item in loaders if isinstance(item, TranslationLoader)), TranslationLoader())
        return cls(tokenizer, lengths, chosen("prefix") or "", metric, (loader.source_lang, loader.target_lang))

    def train_features(self, source: Source) -> FeatureSet:
        """Return a training set: tokens of the sources, and of the targets as labels, -100 where they have ended.

        `source` is a path, a `TranslationDataLoader`, pairs of the user's own (see `parallel_text.examples_from`), or
        rows that were written once (see `recorded`). Raises DataError when the data cannot be used.
        """
        if isinstance(source, RecordFiles):
            return self.recorded(source)
        texts = self._load(source, "train")
        targets = self._rows(texts.targets, self.lengths.target)
        labels = np.where(targets["attention_mask"] > 0, targets["input_ids"], IGNORED).astype(np.int32)
        return FeatureSet({**self._sources(texts.sources), "labels": labels}, self.label_fillers)

    def eval_features(self, source: Source) -> EvalData:
        """Return an evaluation set; `source` as in `train_features`, but not rows without their texts."""
        if isinstance(source, RecordFiles):
            raise DataError(f"{source.dataset_dir}: translations are scored as texts; evaluation reads the texts")
        texts = self._load(source, "dev")
        return EvalData(FeatureSet(self._sources(texts.sources)), texts)

    def metric(self, data: EvalData) -> BLEU:
        """Return a fresh metric for a dataset; it takes rows and translations."""
        return BLEU(data.texts.targets)

    def eval_cell(self, model: nn.Cell, columns: Tuple[str, ...]) -> nn.Cell:
        """Return what translates a batch of evaluation."""
        return Translator(self, model, columns)

    def learned(self, row: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return no token of the source: the loss looks at the target."""
        return np.zeros(len(row["input_ids"]), bool)

    def notes(self, row: Mapping[str, np.ndarray]) -> Dict[str, str]:
        """Return the tokens of the target, when the row is for training."""
        if "labels" not in row:
            return {}
        ids = row["labels"][row["labels"] != IGNORED]
        return {"target": " ".join(self.tokenizer.convert_ids_to_tokens(ids))}

    def _load(self, source: Source, split: str) -> ParallelTexts:
        if isinstance(source, (str, Path)):
            source = TranslationDataLoader(source, split, None, *self.languages)
        return source.read() if isinstance(source, TranslationDataLoader) else examples_from(source, *self.languages)

    def _sources(self, texts: List[str]) -> Dict[str, np.ndarray]:
        return self._rows([self.prefix + text for text in texts], self.lengths.source)

    def _rows(self, texts: List[str], limit: int) -> Dict[str, np.ndarray]:
        """Return input_ids and attention_mask [n, width] of texts, cut after `limit` tokens."""
        rows = build_text_features(texts, None, self.tokenizer, limit)
        longest = int(rows["attention_mask"].sum(axis=1).max())
        width = min(limit, -(-longest // WIDTHS) * WIDTHS)
        return {name: np.ascontiguousarray(array[:, :width]) for name, array in rows.items()}

    def forward(self, model: nn.Cell) -> Translator:
        """Return what translates a batch of prediction."""
        return Translator(self, model, ())

    def parse(self, item: Any) -> str:
        """Return the text of one item to predict. Raises DataError that says the accepted forms."""
        text = item
        if isinstance(item, dict) and len(item) == 1 and set(item) <= {"text", "source", self.languages[0]}:
            (text,) = item.values()
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"input {item!r} cannot be read; {ACCEPTED}")
        return text

    def predict(
        self, forward: Translator, items: Union[Any, List[Any]], top_k: int = 1, batch_size: int = 1
    ) -> List[Dict[str, List[str]]]:
        """Return {"translation_text": [text]} for every item.

        Raises DataError for items that cannot be read, UsageError for a `top_k` other than 1.
        """
        if batch_size < 1 or top_k != 1:
            raise UsageError(f"top_k={top_k}, batch_size={batch_size}: a text has one translation, so top_k must be 1")
        texts = [self.parse(item) for item in (items if isinstance(items, list) else [items])]
        batches = [texts[start : start + batch_size] for start in range(0, len(texts), batch_size)]
        written = [text for batch in batches for text in forward.texts(batch)]
        return [{"translation_text": text if isinstance(text, list) else [text]} for text in written]


class Translator(nn.Cell):
    """A model that writes translations. It runs on the host between the compiled steps of generation."""

    def __init__(self, task: TranslationTask, model: nn.Cell, columns: Tuple[str, ...]):
        super().__init__(auto_prefix=False)
        self.model = model
        self._task, self._columns = task, columns
        options = {
            "num_beams": task.search.num_beams,
            "length_penalty": task.search.length_penalty,
            "max_new_tokens": task.lengths.target,
            "do_sample": False,
        }
        if "max_length" in task.settings:
            del options["max_new_tokens"]
        self._settings: GenerationConfig = default_settings(model).changed({**options, **task.settings})
        check_text_alone(self._settings)

    def __call__(self, *batch: Any) -> Tuple[np.ndarray, List[str]]:
        """Return the row numbers of a batch, its last column, and the translations."""
        columns = {name: item.asnumpy() for name, item in zip((*self._columns, "row"), batch)}
        sources = [ids[mask > 0] for ids, mask in zip(columns["input_ids"], columns["attention_mask"])]
        return columns["row"], self._write(sources)

    def texts(self, sources: List[str]) -> List[str]:
        """Return the translations of texts."""
        rows = self._task._sources(sources)
        return self._write([ids[mask > 0] for ids, mask in zip(rows["input_ids"], rows["attention_mask"])])

    def _write(self, sources: List[np.ndarray]) -> List[str]:
        return generate(self.model, sources, tokenizer=self._task.tokenizer, settings=self._settings)

"""Token classification: find the named entities of a text and say of what type they are (CLUENER2020, CoNLL-2003).

Data: CLUENER's files, or columns of tokens and tags. Head: one logit a tag for every token. Metric: precision, recall
and F1 of whole entities. Predict: texts to entities with their places in the text.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from mindformers.config import options
from mindformers.config.schema import RunConfig
from mindformers.data.cache import cache_key, default_cache, load_or_build
from mindformers.data.entities import CLUENER_TYPES, CLUENERDataLoader, CoNLLDataLoader, OwnRows, Record
from mindformers.data.loader import BatchPlan, FeatureSet, gather
from mindformers.data.qa_features import most_context_bounds, window_places
from mindformers.data.records import RecordFiles
from mindformers.data.tags import OUTSIDE, LabelSet
from mindformers.data.token_features import (
    FORMAT_VERSION,
    RowMaker,
    TokenFeatures,
    TokenSettings,
    build_features,
    text_slots,
)
from mindformers.errors import DataError, UsageError
from mindformers.evaluate.entities import EntityMetric, slot_entities
from mindformers.evaluate.span_metric import to_numpy
from mindformers.log import logger
from mindformers.models.heads import IGNORED
from mindformers.tasks.task import Task
from mindformers.tokenizers.backend import TokenizedText
from mindformers.weights.labels import read_labels, write_labels

Forward = Callable[[Dict[str, np.ndarray]], np.ndarray]
"""A batch of int32 arrays [B, S] by name to logits [B, S, L]."""
Item = Union[str, Dict[str, str]]
Source = Union[str, Path, CLUENERDataLoader, CoNLLDataLoader, RecordFiles, Iterable[object]]
ACCEPTED = "accepted are a text, and an object {'text': ...}"
SCORE_PLACES = 4
DEFAULT_LENGTH = 128
READY_ROWS = ("MindDataset", "TFRecordDataset")
"""Loaders of rows that are tokens and labels already."""


@dataclass(frozen=True)
class EvalData:
    """A dataset for scoring."""

    features: FeatureSet
    """What the model sees, one row a text."""
    records: List[Record]
    rows: TokenFeatures
    labels: LabelSet


class TokenClassificationTask(Task):
    """Data, metric and predictions of named-entity recognition; lengths are in tokens.

    Args:
        tokenizer: gives tokens with offsets and has a pad token.
        labels: the tags in the order of the model's outputs; None: those of the weights or of the training data.
        num_labels: outputs of the model, to be compared with the tags; None where that is not known.
        max_seq_len: width of a row, special tokens included.
        label_pieces: as in `TokenSettings`.
        mode: as in `EntityMetric`.
        new_head: whether the head of the weights may be replaced, so that labels of the data come before theirs.
        cache_dir: keeps features between runs.
    """

    name = "token_classification"
    head = "token_classification"
    names_outputs = True
    metric_name = "Entity Metric"
    main_metric = "f1"
    """The score that says which of two models is better; larger is better."""

    def __init__(
        self,
        tokenizer: Any,
        labels: Optional[LabelSet] = None,
        num_labels: Optional[int] = None,
        max_seq_len: int = DEFAULT_LENGTH,
        label_pieces: str = "all",
        mode: str = "default",
        new_head: bool = False,
        cache_dir: Union[str, Path, None] = None,
    ):
        self.tokenizer, self.labels, self.num_labels = tokenizer, labels, num_labels
        self.settings = TokenSettings(max_seq_len, label_pieces)
        self.mode, self.new_head = mode, new_head
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self._of_weights: Optional[LabelSet] = None

    @classmethod
    def from_config(cls, config: RunConfig, tokenizer: Any) -> TokenClassificationTask:
        """Return the task as a configuration describes it.

        Raises DataError when there is no tokenizer, UsageError where sections do not fit together.
        """
        if tokenizer is None:
            raise DataError(
                "token classification needs a tokenizer: keep its files beside the weights, or set "
                "train_dataset.tokenizer"
            )
        loader = configured_loader(config)
        model = config.model.model_config.options if config.model.model_config is not None else None
        score = config.metric.options if config.metric is not None else options.EntityScore()
        if not isinstance(score, options.EntityScore):
            raise UsageError(f"metric.type is {config.metric.type}; token classification is scored by EntityScore")
        shape = loader or options.EntityLoader()
        return cls(
            tokenizer,
            configured_labels(loader),
            getattr(model, "num_labels", None),
            shape.max_seq_len or getattr(model, "seq_length", None) or DEFAULT_LENGTH,
            shape.label_pieces,
            score.mode,
            config.run_mode == "finetune",
            shape.cache_dir or default_cache(),
        )

    def adopt_labels(self, labels: Sequence[str]) -> None:
        """Take the names that stand beside the weights: they say which output is which.

        Where the head may be replaced, labels that the configuration or the data gives come first.
        """
        try:
            named = LabelSet.of_labels(labels, "the labels beside the weights")
        except DataError as error:
            if not self.new_head:
                raise
            logger.info("%s; the head is trained anew", error)
            return
        self._of_weights = named
        if not self.new_head or self.labels is None or set(self.labels.labels) == set(labels):
            self.labels = named

    def save_labels(self, folder: Path) -> None:
        """Write the tags, in the order of the outputs, into a checkpoint's folder."""
        if self.labels is not None:
            write_labels(folder, self.labels.labels)

    def train_features(self, source: Source) -> FeatureSet:
        """Return a training set as rows of tokens and labels.

        `source` is a path in CLUENER's format, a reader of `data.entities`, rows of the user's own (see
        `entities.OWN_FORMATS`), or rows of tokens that were written once (see `recorded`). Tags that nobody gave are
        made of the types in the data. Raises DataError when the data cannot be used, UsageError when the model has
        another number of outputs.
        """
        if isinstance(source, RecordFiles):
            if self.labels is None and Path(source.dataset_dir).exists():
                named = read_labels(Path(source.dataset_dir))
                self.labels = LabelSet.of_labels(named, str(source.dataset_dir)) if named else None
            self._check_count(self._known())
            return self.recorded(source)
        rows = self._load(source, "train", finds_labels=True)[1]
        return FeatureSet({**rows.inputs(), "labels": rows.labels}, self.label_fillers)

    def eval_features(self, source: Source) -> EvalData:
        """Return an evaluation set and what scoring needs; `source` as in `train_features`."""
        if isinstance(source, RecordFiles):
            raise DataError(
                f"{source.dataset_dir}: entities are scored by their characters; evaluation reads the texts"
            )
        records, rows = self._load(source, "dev", finds_labels=False)
        return EvalData(FeatureSet(rows.inputs()), records, rows, self._known())

    def learned(self, row: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the tokens of entities, when the row is for training; the loss looks at all of the text."""
        labels = row.get("labels", np.full(len(row["input_ids"]), IGNORED))
        outside = self._known().labels.index(OUTSIDE) if OUTSIDE in self._known().labels else IGNORED
        return (labels != IGNORED) & (labels != outside)

    def notes(self, row: Mapping[str, np.ndarray]) -> Dict[str, str]:
        """Return the tags of the entities' tokens, when the row is for training."""
        marked = np.flatnonzero(self.learned(row))
        tokens = self.tokenizer.convert_ids_to_tokens(row["input_ids"][marked])
        tags = [self._known().labels[label] for label in row["labels"][marked]] if len(marked) else []
        return {"tags": " ".join(f"{token}/{tag}" for token, tag in zip(tokens, tags))} if tags else {}

    def metric(self, data: EvalData) -> EntityMetric:
        """Return a fresh metric for a dataset; it takes rows and logits."""
        return EntityMetric(data.records, data.rows, data.labels, self.mode)

    def _load(self, source: Source, split: str, finds_labels: bool) -> Tuple[List[Record], TokenFeatures]:
        """Return the records of a set and their rows, made or taken from the cache."""
        if isinstance(source, (str, Path)):
            source = CLUENERDataLoader(source, split, labels=self.labels.labels if self.labels is not None else None)
        own = not isinstance(source, (CLUENERDataLoader, CoNLLDataLoader))
        reader = OwnRows(list(source)) if own else source
        given = reader.label_set()
        if given is not None and (self.labels is None or self._is_replaced and set(given.labels) != self._names):
            self.labels = given
        elif given is not None and set(given.labels) != self._names:
            raise DataError(
                f"the model's outputs are the labels {', '.join(self._known().labels)}, but the data has "
                f"{', '.join(given.labels)}; take weights that were trained on this data, finetune them, or correct "
                "data_loader.labels"
            )
        finds = finds_labels and given is None and (self.labels is None or self._is_replaced)
        read = reader.read(None if finds else self._known().types)
        if finds:
            self._take_found(read.found_labels())
        labels = self._known()
        self._check_count(labels)

        def build() -> Dict[str, np.ndarray]:
            return build_features(read.records, self.tokenizer, labels, self.settings).arrays()

        if own or self.cache_dir is None:
            arrays = build()
        else:
            key = cache_key(
                version=FORMAT_VERSION,
                tokenizer=[self.tokenizer.digest(), self.tokenizer.padding_side],
                labels=labels.labels,
                **reader.identity(),
                **asdict(self.settings),
            )
            arrays = load_or_build(self.cache_dir, f"entities-{split}", key, build)
        rows = TokenFeatures(**arrays)
        rows.log_losses(f"{split} set", sum(len(record.entities) for record in read.records))
        return read.records, rows

    @property
    def _names(self) -> set:
        return set() if self.labels is None else set(self.labels.labels)

    @property
    def _is_replaced(self) -> bool:
        """Whether the labels are those of a head that is trained anew where the data has others."""
        return self.new_head and self.labels is not None and self.labels is self._of_weights

    def _take_found(self, found: LabelSet) -> None:
        """Take the tags that the data shows, in the order of the weights' outputs where these are the same."""
        known = self._of_weights
        if known is not None and set(known.labels) == set(found.labels):
            self.labels = known
            return
        if known is not None:
            logger.info("labels of the weights, %s, are replaced by %s", list(known.labels), list(found.labels))
        self.labels = found

    def _known(self) -> LabelSet:
        if self.labels is None:
            raise DataError(
                "which output stands for which tag is not known: there is no labels.json beside the weights, and no "
                "config.json with id2label; set data_loader.labels to the tags in the order of the outputs"
            )
        return self.labels

    def _check_count(self, labels: LabelSet) -> None:
        if self.num_labels is not None and self.num_labels != len(labels.labels):
            raise UsageError(
                f"model.model_config.num_labels is {self.num_labels}, but there are {len(labels.labels)} labels: "
                f"{', '.join(labels.labels)}; set num_labels to {len(labels.labels)}, or data_loader.labels to "
                "those of the model"
            )

    def parse(self, item: Item) -> str:
        """Return the text of one item to predict. Raises DataError that says the accepted forms."""
        text = item["text"] if isinstance(item, dict) and set(item) == {"text"} else item
        if not isinstance(text, str):
            raise DataError(f"input {item!r} cannot be read; {ACCEPTED}")
        if not text.strip():
            raise DataError(f"input {item!r}: the text is empty; {ACCEPTED}")
        return text

    def predict(
        self, forward: Forward, items: Union[Item, List[Item]], top_k: int = 1, batch_size: int = 1
    ) -> List[List[Dict[str, object]]]:
        """Return for every item the list of {"entity_group", "start", "end", "score", "word"}, in order of the text.

        `start` and `end` count characters of the text as given; the score is the mean probability of the entity's
        tags. A text that is longer than a row is read in overlapping parts. `forward` always sees `batch_size` rows.
        Raises DataError for items that cannot be read, UsageError for a `top_k` other than 1.
        """
        if batch_size < 1 or top_k != 1:
            raise UsageError(
                f"top_k={top_k}, batch_size={batch_size}: a text has one list of entities, so top_k must be 1; "
                "batch_size must be at least 1"
            )
        labels = self._known()
        self._check_count(labels)
        texts = [self.parse(item) for item in (items if isinstance(items, list) else [items])]
        if not texts:
            return []
        encoded = self.tokenizer.encode_batch(texts)
        found = []
        for text, item, chances in zip(texts, encoded, self._probabilities(forward, encoded, batch_size)):
            slots = text_slots(text, item.offsets, self.settings.label_pieces)
            chances = chances[slots.tokens]
            best = chances.argmax(axis=-1) if len(chances) else []
            found.append(
                [
                    {
                        "entity_group": span.type,
                        "start": span.start,
                        "end": span.end,
                        "score": round(float(chances[inside.start : inside.end].max(axis=-1).mean()), SCORE_PLACES),
                        "word": text[span.start : span.end],
                    }
                    for inside, span in slot_entities(best, slots.spans, labels)
                ]
            )
        return found

    def _probabilities(self, forward: Forward, encoded: Sequence[TokenizedText], batch_size: int) -> List[np.ndarray]:
        """Return the probability of each label for every token of each text, float [tokens, L].

        A token is read in the part of the text where it has most context.
        """
        maker = RowMaker(self.tokenizer, self.settings.max_seq_len)
        parts, pieces = [], []
        for index, item in enumerate(encoded):
            starts, lengths = window_places(len(item.ids), maker.room, -(-maker.room // 2))
            for start, length, (begin, end) in zip(starts, lengths, most_context_bounds(starts, lengths)):
                parts.append((index, start, length, begin, end))
                pieces.append(item.ids[start : start + length])
        inputs = FeatureSet(maker.rows(pieces))
        chances = [np.zeros((len(item.ids), len(self._known().labels))) for item in encoded]
        for rows in BatchPlan(len(inputs), batch_size, shuffle=False, seed=0).batches(epoch=0):
            logits = to_numpy(forward(dict(zip(inputs.columns, gather(inputs, rows)))))
            for row, own in zip(rows.tolist(), logits):
                if row >= 0:
                    index, start, length, begin, end = parts[row]
                    first = maker.begin(length)
                    chances[index][start + begin : start + end] = softmax(own[first + begin : first + end])
        return chances


def configured_loader(config: RunConfig) -> Optional[options.EntityLoader]:
    """Return what the two dataset sections say together of labels and rows, None when neither has a data loader.

    Raises UsageError when they contradict each other, or name a loader of another task.
    """
    found: List[options.EntityLoader] = []
    for name in ("train_dataset", "eval_dataset"):
        section = getattr(config, name)
        loader = section.data_loader if section is not None else None
        if loader is not None and isinstance(loader.options, options.EntityLoader):
            found.append(loader.options)
        elif loader is not None and isinstance(loader.options, options.Loader) and loader.type not in READY_ROWS:
            raise UsageError(
                f"{name}.data_loader.type is {loader.type}; token classification reads CLUENERDataLoader, "
                f"CoNLLDataLoader, rows of tokens ({' and '.join(READY_ROWS)}), or a loader of your own"
            )
    if not found:
        return None
    shared: Dict[str, Any] = {}
    for key in ("labels", "max_seq_len", "label_pieces", "cache_dir"):
        said = [value for value in (getattr(item, key) for item in found) if value is not None]
        if said and said[0] != said[-1] and key != "cache_dir":
            raise UsageError(
                f"data_loader.{key} is {said[0]!r} in train_dataset and {said[-1]!r} in eval_dataset; give one"
            )
        shared[key] = said[0] if said else None
    return replace(found[0], **shared)


def configured_labels(loader: Optional[options.EntityLoader]) -> Optional[LabelSet]:
    """Return the tags that a data loader's options give: `labels`, else those of CLUENER's format, else None."""
    if loader is None:
        return None
    if loader.labels is not None:
        return LabelSet.of_labels(loader.labels, "data_loader.labels")
    return None if isinstance(loader, options.ColumnLoader) else LabelSet.of_types(CLUENER_TYPES, "BIOS")


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities over the last axis, float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)

"""Text classification: a label for a text or a pair of texts, or a number (GLUE, Wang et al. 2019, arXiv:1804.07461).

Data: GLUE's files, or a table with text and label columns. Head: one logit a label. Metric: GLUE's. Predict: texts to
labels with probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from mindformers.config.schema import RunConfig
from mindformers.data.cache import default_cache
from mindformers.data.glue import GlueTask, glue_task, pair_task
from mindformers.data.labelled_texts import (
    Columns,
    LabelledTexts,
    LabelRule,
    TextClassificationDataLoader,
    examples_from,
    named,
)
from mindformers.data.loader import BatchPlan, FeatureSet, gather
from mindformers.data.records import RecordFiles
from mindformers.data.text_features import build_text_features, text_features
from mindformers.errors import DataError, UsageError
from mindformers.evaluate.glue import COMBINED, LabelMetric, check_scores
from mindformers.log import logger
from mindformers.models.heads import IGNORED
from mindformers.tasks.task import Task
from mindformers.tasks.text_sections import TRAINING, check_padding, loader_options, metric_scores
from mindformers.weights.labels import read_labels, write_labels

Forward = Callable[[Dict[str, np.ndarray]], np.ndarray]
"""A batch of int32 arrays [B, S] by name to logits [B, labels]."""
Item = Union[str, Dict[str, str], Sequence[str]]
Source = Union[str, Path, TextClassificationDataLoader, RecordFiles, Iterable[object]]
SEPARATOR, SHORT_SEPARATOR = " - ", "-"
SCORE_PLACES = 4
NUMBER = "score"
"""What predictions call a number that is no class."""
DEFAULT_LENGTH = 128
ACCEPTED = (
    "accepted are a text, a pair (text, text_pair), an object {'text': ...} or {'text': ..., 'text_pair': ...}, and "
    "for tasks on pairs the text 'text - text_pair'"
)


@dataclass(frozen=True)
class EvalData:
    """A dataset for scoring."""

    features: FeatureSet
    """What the model sees."""
    labels: np.ndarray
    """[n]: the right labels."""


class TextClassificationTask(Task):
    """Data, metric and predictions of text classification.

    `max_seq_len` counts tokens, special ones included; `num_labels` are the model's outputs, 1 for a number, None
    where the model says; `glue` the GLUE task of the data; `labels` the names of the classes in the order of the
    outputs; `scores` names in `evaluate.glue.SCORES`; `trains` says that labels of the weights may be replaced.

    Raises UsageError where these do not fit together.
    """

    name = "text_classification"
    head = "sequence_classification"
    names_outputs = True
    metric_name = "Classification Metric"

    def __init__(
        self,
        tokenizer: Any,
        max_seq_len: int = DEFAULT_LENGTH,
        num_labels: Optional[int] = None,
        glue: Optional[GlueTask] = None,
        labels: Optional[Sequence[str]] = None,
        scores: Optional[Sequence[str]] = None,
        trains: bool = True,
        cache_dir: Union[str, Path, None] = None,
    ):
        if tokenizer.pad_token_id is None:
            raise UsageError(
                "text classification needs a padding token, and this tokenizer has none; set tokenizer.pad_token, "
                "e.g. to its eos_token, and model.model_config.pad_token_id to the same token's id"
            )
        self.tokenizer, self.max_seq_len, self.num_labels = tokenizer, max_seq_len, num_labels
        self.glue, self.trains = glue, trains
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self.labels: Optional[Tuple[str, ...]] = tuple(labels or (glue.labels if glue is not None else ())) or None
        """Names of the classes; None while they are not known."""
        self._configured = self.labels
        # Digits in GLUE's files number the task's labels, in whatever order the outputs are.
        of_task = glue is not None and set(glue.labels) == set(self.labels or ())
        self._numbered = glue.labels if glue is not None and of_task else self.labels
        twice = next((name for name in labels or () if list(labels or ()).count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"data_loader.labels: {twice!r} is named twice; every label has one name")
        self.is_number = num_labels == 1 if num_labels is not None else bool(glue and not glue.labels)
        self.columns: Optional[Columns] = None
        self._check_kind("the configuration" if labels else "the task")
        numbers = ("pearson", "spearmanr") if self.is_number else ("accuracy",)
        self.scores = tuple(scores or (glue.scores if glue else numbers))
        check_scores(self.scores, self.is_number)

    @classmethod
    def from_config(cls, config: RunConfig, tokenizer: Any) -> TextClassificationTask:
        """Return the task as a configuration describes it.

        Raises DataError when there is no tokenizer, UsageError where sections do not fit together.
        """
        if tokenizer is None:
            raise DataError(
                "text classification needs a tokenizer: keep its files beside the weights, or set "
                "train_dataset.tokenizer"
            )
        trains = config.run_mode in TRAINING
        loaders = loader_options(config)
        if not trains:
            loaders.reverse()

        def chosen(option: str) -> Any:
            given = [getattr(item, option) for _, item in loaders if getattr(item, option) is not None]
            return given[0] if given else None

        model = config.model.model_config.options if config.model.model_config is not None else None
        check_padding(tokenizer, model, config.model.arch.type if config.model.arch is not None else "")
        return cls(
            tokenizer,
            chosen("max_seq_len") or getattr(model, "seq_length", None) or DEFAULT_LENGTH,
            getattr(model, "num_labels", None),
            glue_task(chosen("task_name")) if chosen("task_name") else None,
            chosen("labels"),
            metric_scores(config),
            trains,
            chosen("cache_dir") or default_cache(),
        )

    @property
    def main_metric(self) -> str:
        """The score that says which of two models is better; larger is better."""
        return COMBINED if len(self.scores) > 1 else self.scores[0]

    def adopt_labels(self, labels: Sequence[str]) -> None:
        """Take the names that stand beside the weights: they say which output is which.

        Raises DataError when the data has other labels and the weights are not trained any further.
        """
        if self.is_number:
            return
        if self._configured is None or set(self.labels or ()) == set(labels):
            self.labels = tuple(labels)
        elif self.trains:
            logger.info("labels of the weights, %s, are replaced by %s", named(labels), named(self.labels or ()))
        else:
            raise DataError(
                f"the weights tell apart the labels {named(labels)}, but the data has {named(self.labels or ())}; "
                "take weights that were trained on this data, or correct data_loader.task_name or labels"
            )

    def save_labels(self, folder: Path) -> None:
        """Write the names of the classes beside the weights in `folder`."""
        if self.labels is not None:
            write_labels(folder, self.labels)

    def train_features(self, source: Source) -> FeatureSet:
        """Return a training set as token rows and labels.

        `source` is a path, a `TextClassificationDataLoader`, mappings with texts and a label, or rows of tokens that
        were written once (see `recorded`). Labels that nobody
        named are taken from the data. Raises DataError when the data cannot be used or has other labels.
        """
        if isinstance(source, RecordFiles):
            return self._recorded(source)
        texts = self._load(source, "train", self.labels if self._configured is not None else None)
        if not self.is_number:
            if set(texts.names) == set(self.labels or ()):
                texts = texts.renumbered(self.labels or ())  # the weights' outputs keep their meaning
            self.labels = texts.names
        return FeatureSet({**self._tokens(texts), "labels": texts.labels}, self.label_fillers)

    @property
    def label_fillers(self) -> Dict[str, float]:
        """The label that the loss ignores."""
        return {"labels": np.nan if self.is_number else IGNORED}

    def _recorded(self, source: RecordFiles) -> FeatureSet:
        """Return rows that were written once, under the names that lie beside them. Raises DataError."""
        if self.labels is None and not self.is_number and Path(source.dataset_dir).exists():
            self.labels = read_labels(Path(source.dataset_dir))
        features = self.recorded(source)
        labels = features.columns["labels"]
        if self.is_number:
            features.columns["labels"] = labels.astype(np.float32)
            return features
        outputs = self.num_labels or len(self.labels or ()) or int(labels.max()) + 1
        if labels.min() < 0 or labels.max() >= outputs:
            raise DataError(
                f"{source.dataset_dir}: labels run from {labels.min()} to {labels.max()}, but there are {outputs} "
                "outputs; set model.model_config.num_labels"
            )
        self.labels = self.labels or tuple(map(str, range(outputs)))
        _check_count(str(source.dataset_dir), self.labels, outputs, False)
        return features

    def eval_features(self, source: Source) -> EvalData:
        """Return an evaluation set; `source` as in `train_features`."""
        if isinstance(source, RecordFiles):
            features = self._recorded(source)
            tokens = {name: column for name, column in features.columns.items() if name != "labels"}
            return EvalData(FeatureSet(tokens), features.columns["labels"])
        texts = self._load(source, "dev", self.labels)
        if not self.is_number:
            if self.labels is None and not self.trains and not all(name.isdigit() for name in texts.names):
                raise DataError(
                    f"the data has the labels {named(texts.names)}, but the weights do not say which of their outputs "
                    "is which; name them in the order of the outputs with data_loader.labels"
                )
            self.labels = texts.names
        return EvalData(FeatureSet(self._tokens(texts)), texts.labels)

    def notes(self, row: Mapping[str, np.ndarray]) -> Dict[str, str]:
        """Return the label, when the row is for training."""
        if "labels" not in row:
            return {}
        label = row["labels"]
        return {"label": f"{label:g}" if self.is_number else f"{label} ({self.labels[label]})"}

    def metric(self, data: EvalData) -> LabelMetric:
        """Return a fresh metric for a dataset; it takes rows and logits."""
        return LabelMetric(data.labels, self.scores)

    def _load(self, source: Source, split: str, names: Optional[Tuple[str, ...]]) -> LabelledTexts:
        """Read a set under the given names; None lets the data name its labels."""
        rule = LabelRule(names, self.is_number, self.glue.span if self.glue is not None else None, self._numbered)
        if isinstance(source, (str, Path)):
            source = TextClassificationDataLoader(source, split)
        if isinstance(source, TextClassificationDataLoader):
            where, texts = str(source.file), source.read(rule, self.columns)
        else:
            where, texts = "the dataset", examples_from(source, rule, self.columns)
        self.columns = texts.columns
        if not self.is_number and self.num_labels is not None:
            _check_count(where, texts.names, self.num_labels, names is None)
        return texts

    def _tokens(self, texts: LabelledTexts) -> Dict[str, np.ndarray]:
        return text_features(texts.texts, texts.pairs, self.tokenizer, self.max_seq_len, self.cache_dir)

    def _check_kind(self, where: str) -> None:
        """Raise UsageError when the number of outputs does not fit the labels that are known beforehand."""
        numbers = self.glue is not None and not self.glue.labels
        if numbers and not self.is_number:
            raise UsageError(
                f"model.model_config.num_labels is {self.num_labels}, but the labels of this task are numbers; "
                "set it to 1, which trains a regression"
            )
        if self.labels is not None and self.is_number:
            raise UsageError(
                f"{where} names the labels {named(self.labels)}, but "
                + ("the task's labels are numbers" if numbers else "model.model_config.num_labels is 1, a regression")
                + (f"; set it to {len(self.labels)}" if not numbers else "; leave labels out")
            )
        if self.labels is not None and self.num_labels is not None:
            _check_count(where, self.labels, self.num_labels, False)

    def parse(self, item: Item) -> Tuple[str, Optional[str]]:
        """Return (text, second text or None) of one item to predict. Raises DataError that says the accepted forms.

        Where the task is known to be on pairs, the last " - " of a text parts them, or else its only hyphen.
        """
        texts = self._known_texts()
        pair: Optional[str] = None
        if isinstance(item, str):
            text = item
            if texts == 2:
                mark = SEPARATOR if SEPARATOR in item else SHORT_SEPARATOR
                text, found, pair = item.rpartition(mark)
                if not found or mark == SHORT_SEPARATOR and mark in text:
                    raise DataError(f"input {item!r} has no '{SEPARATOR}' between the two texts; {ACCEPTED}")
        elif isinstance(item, dict) and "text" in item and not set(item) - {"text", "text_pair"}:
            text, pair = item["text"], item.get("text_pair")
        elif isinstance(item, (tuple, list)) and len(item) == 2:
            text, pair = item
        else:
            raise DataError(f"input {item!r} cannot be read; {ACCEPTED}")
        for name, value in (("text", text), ("text_pair", pair)):
            if not (value is None and name == "text_pair") and (not isinstance(value, str) or not value.strip()):
                raise DataError(f"input {item!r}: {name} is {value!r}, it must be text; {ACCEPTED}")
        if texts is not None and texts != 1 + (pair is not None):
            raise DataError(f"input {item!r}: this task is on {'pairs of texts' if texts == 2 else 'single texts'}")
        return text, pair

    def _known_texts(self) -> Optional[int]:
        """Return how many texts a row of this task has, None where nobody said and the labels do not tell."""
        glue = self.glue or pair_task(self.labels or ())
        known = self.columns.texts if self.columns is not None else glue.texts if glue is not None else None
        return None if known is None else len(known)

    def predict(
        self, forward: Forward, items: Union[Item, List[Item]], top_k: int = 1, batch_size: int = 1
    ) -> List[List[Dict[str, object]]]:
        """Return for every item the `top_k` likeliest {"label", "score"}, or one {"label": "score"} with a number.

        A score is a probability, rounded to 4 places. `forward` always sees `batch_size` rows, so that one compiled
        graph serves. Raises DataError for items that cannot be read.
        """
        if top_k < 1 or batch_size < 1:
            raise UsageError(f"top_k={top_k}, batch_size={batch_size}: both must be at least 1")
        parsed = [self.parse(item) for item in (items if isinstance(items, list) else [items])]
        results: List[List[Dict[str, object]]] = [[] for _ in parsed]
        for is_pair in (False, True):
            chosen = [index for index, (_, pair) in enumerate(parsed) if (pair is not None) == is_pair]
            if not chosen:
                continue
            texts = [parsed[index][0] for index in chosen]
            pairs = [parsed[index][1] or "" for index in chosen] if is_pair else None
            inputs = FeatureSet(build_text_features(texts, pairs, self.tokenizer, self.max_seq_len))
            for rows in BatchPlan(len(inputs), batch_size, shuffle=False, seed=0).batches(epoch=0):
                logits = forward(dict(zip(inputs.columns, gather(inputs, rows))))
                for row, values in zip(rows, logits):
                    if row >= 0:
                        results[chosen[row]] = self._outputs(np.asarray(values, np.float64), top_k)
        return results

    def _outputs(self, logits: np.ndarray, top_k: int) -> List[Dict[str, object]]:
        """Return the outputs for one row of logits as users read them."""
        if len(logits) == 1:
            return [{"label": NUMBER, "score": round(float(logits[0]), SCORE_PLACES)}]
        names = self.labels or tuple(f"LABEL_{index}" for index in range(len(logits)))
        if len(names) != len(logits):
            raise DataError(f"the labels are {named(names)} ({len(names)}), but the model has {len(logits)} outputs")
        powers = np.exp(logits - logits.max())
        shares = powers / powers.sum()
        order = np.argsort(-shares, kind="stable")[:top_k]
        return [{"label": names[index], "score": round(float(shares[index]), SCORE_PLACES)} for index in order]


def _check_count(where: str, labels: Sequence[str], num_labels: int, found: bool) -> None:
    """Raise DataError when a model has more or fewer outputs than there are labels."""
    if len(labels) != num_labels:
        many = len(labels) if len(labels) > 1 else 2
        raise DataError(
            f"{where}: the labels are {named(labels)} ({len(labels)}), but model.model_config.num_labels is "
            f"{num_labels}; set it to {many}"
            + (", or name all labels in data_loader.labels" if found and len(labels) < num_labels else "")
        )

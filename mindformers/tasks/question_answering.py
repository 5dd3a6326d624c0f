"""Extractive question answering: the answer is a piece of the given text (SQuAD v1.1), or there is none (v2.0).

Data: a folder with train-v1.1.json and dev-v1.1.json, or -v2.0. Head: start and end logits of a span. Metric:
exact match and F1. Predict: contexts with questions to answers with their place in the context.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from mindformers.config.options import SQuADLoader, SQuADMetric
from mindformers.config.schema import RunConfig
from mindformers.data.cache import cache_key, default_cache, load_or_build
from mindformers.data.loader import BatchPlan, FeatureSet, gather
from mindformers.data.qa_features import FORMAT_VERSION, Features, WindowSettings, build_features
from mindformers.data.records import RecordFiles
from mindformers.data.squad import Example, SQuADDataLoader, examples_from
from mindformers.errors import ConfigError, DataError, Problem, UsageError
from mindformers.evaluate.span_metric import SpanMetric, to_numpy
from mindformers.evaluate.spans import Answer, SpanSettings, merged, question_answers, window_candidates
from mindformers.tasks.task import Task
from mindformers.tokenizers.pretrained import PretrainedTokenizer

Forward = Callable[[Dict[str, np.ndarray]], Tuple[np.ndarray, np.ndarray]]
"""A batch of int32 arrays [B, S] by name to start and end logits [B, S]."""
Item = Union[str, Dict[str, str], Sequence[str]]
Source = Union[str, Path, SQuADDataLoader, RecordFiles, Iterable[object]]
SEPARATOR = " - "
ACCEPTED = (
    "accepted are the text 'context - question', a pair (context, question), and an object "
    "{'context': ..., 'question': ...}"
)

SCORE_PLACES = 4


@dataclass(frozen=True)
class EvalData:
    """A dataset for scoring."""

    features: FeatureSet
    """What the model sees, one row a window."""
    examples: List[Example]
    windows: Features


class QuestionAnsweringTask(Task):
    """Data, metric and predictions of extractive question answering; lengths are in tokens.

    `n_best_size` spans are weighed against each other for a question; `cache_dir` keeps features between runs. With a
    `null_threshold`, a question may have no answer: see `SpanSettings`.
    """

    name = "question_answering"
    head = "question_answering"
    metric_name = "QA Metric"
    main_metric = "f1"

    def __init__(
        self,
        tokenizer: PretrainedTokenizer,
        max_seq_len: int = 384,
        max_question_len: int = 64,
        doc_stride: int = 128,
        n_best_size: int = 20,
        max_answer_len: int = 30,
        whole_words: bool = False,
        cache_dir: Union[str, Path, None] = None,
        null_threshold: Optional[float] = None,
    ):
        self.tokenizer = tokenizer
        self.windows = WindowSettings(
            max_seq_len,
            max_question_len,
            doc_stride,
            tokenizer.layout.special_count(pair=True),
            null_threshold is not None,
        )
        continues = tokenizer.continuations() if whole_words else None
        self.spans = SpanSettings(n_best_size, max_answer_len, continues, null_threshold)
        self.cache_dir = None if cache_dir is None else Path(cache_dir)

    @classmethod
    def from_config(cls, config: RunConfig, tokenizer: Optional[PretrainedTokenizer]) -> QuestionAnsweringTask:
        """Return the task as a configuration describes it.

        Raises DataError when there is no tokenizer, ConfigError for keys that do not go together.
        """
        if tokenizer is None:
            raise DataError(
                "question answering needs a tokenizer: keep its files beside the weights, or set "
                "train_dataset.tokenizer"
            )
        sections = [section for section in (config.train_dataset, config.eval_dataset) if section is not None]
        loaders = [section.data_loader.options for section in sections if section.data_loader is not None]
        windows = next((item for item in loaders if isinstance(item, SQuADLoader)), SQuADLoader())
        model = config.model.model_config.options if config.model.model_config is not None else None
        spans = (
            config.metric.options if config.metric and isinstance(config.metric.options, SQuADMetric) else SQuADMetric()
        )
        return cls(
            tokenizer,
            windows.max_seq_len or getattr(model, "seq_length", None) or 384,
            windows.max_question_len,
            windows.doc_stride,
            spans.n_best_size,
            spans.max_answer_len,
            spans.whole_words,
            windows.cache_dir or default_cache(),
            null_threshold(loaders, spans),
        )

    def train_features(self, source: Source) -> FeatureSet:
        """Return the windows of a training set with start and end positions.

        `source` is a path in SQuAD's format, a `SQuADDataLoader`, rows of the user's own (see `examples_from`), or
        windows that were written once (see `recorded`).
        Raises DataError when the data cannot be used.
        """
        if isinstance(source, RecordFiles):
            return self.recorded(source)
        _, windows = self._load(source, "train")
        labels = {name: getattr(windows, name) for name in self.label_fillers}
        return FeatureSet({**model_inputs(windows), **labels}, self.label_fillers)

    @property
    def label_fillers(self) -> Dict[str, float]:
        """Positions, ignored where they are outside of the window."""
        return {"start_positions": self.windows.max_seq_len, "end_positions": self.windows.max_seq_len}

    def eval_features(self, source: Source) -> EvalData:
        """Return the windows of an evaluation set and what scoring needs; `source` as in `train_features`."""
        if isinstance(source, RecordFiles):
            raise DataError(f"{source.dataset_dir}: answers are scored as texts; evaluation reads SQuAD files")
        examples, windows = self._load(source, "dev")
        return EvalData(FeatureSet(model_inputs(windows)), examples, windows)

    def learned(self, row: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the tokens of the answer."""
        places = np.arange(len(row["input_ids"]))
        start, end = row.get("start_positions", 0), row.get("end_positions", 0)
        return (places >= start) & (places <= end) & (start > 0)

    def notes(self, row: Mapping[str, np.ndarray]) -> Dict[str, str]:
        """Return the answer, when the row is for training."""
        if "start_positions" not in row:
            return {}
        answer = self.tokenizer.decode(row["input_ids"][self.learned(row)])
        return {"answer": answer or "none in this window"}

    def metric(self, data: EvalData) -> SpanMetric:
        """Return a fresh metric for a dataset; it takes rows, start logits and end logits of its windows."""
        return SpanMetric(data.examples, data.windows, self.spans)

    def _load(self, source: Source, split: str) -> Tuple[List[Example], Features]:
        """Read a set and build its windows, or take them from the cache."""
        if isinstance(source, (str, Path)):
            source = SQuADDataLoader(source, split, version_2_with_negative=self.windows.unanswerable)
        labelled = split == "train"
        if not isinstance(source, SQuADDataLoader):
            examples = examples_from(source, split, self.windows.unanswerable)
            return examples, build_features(examples, self.tokenizer, self.windows, labelled)
        examples = source.examples()
        key = (
            cache_key(
                version=FORMAT_VERSION,
                tokenizer=self.tokenizer.digest(),
                labelled=labelled,
                **source.identity(),
                **asdict(self.windows),
            )
            if self.cache_dir
            else ""
        )
        arrays = load_or_build(
            self.cache_dir,
            f"squad-{split}",
            key,
            lambda: build_features(examples, self.tokenizer, self.windows, labelled).arrays(),
        )
        return examples, Features(**arrays)

    def parse(self, item: Item) -> Tuple[str, str]:
        """Return (context, question) of one item to predict. Raises DataError that says the accepted forms.

        In a text the last " - " parts context from question, so hyphens and earlier dashes stay in the context.
        """
        if isinstance(item, str):
            context, separator, question = item.rpartition(SEPARATOR)
            if not separator:
                raise DataError(f"input {item!r} has no '{SEPARATOR}' between context and question; {ACCEPTED}")
        elif isinstance(item, dict):
            unknown = sorted(set(item) ^ {"context", "question"})
            if unknown:
                raise DataError(f"input with the keys {sorted(item)} does not fit; {ACCEPTED}")
            context, question = item["context"], item["question"]
        elif isinstance(item, (tuple, list)) and len(item) == 2:
            context, question = item
        else:
            raise DataError(f"input {item!r} cannot be read; {ACCEPTED}")
        for part, value in (("context", context), ("question", question)):
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"input {item!r}: the {part} is {value!r}, it must be text; {ACCEPTED}")
        return context, question

    def predict(
        self, forward: Forward, items: Union[Item, List[Item]], top_k: int = 1, batch_size: int = 1
    ) -> List[Union[Dict[str, object], List[Dict[str, object]]]]:
        """Return one {"text", "score", "start", "end"} per item; a list of at most `top_k` of them when top_k > 1.

        `start` and `end` count characters of the context as given; an item without any span has text "" and score 0.
        `forward` always sees `batch_size` windows, so that one compiled graph serves. Raises DataError for items that
        cannot be read.
        """
        if top_k < 1 or batch_size < 1:
            raise UsageError(f"top_k={top_k}, batch_size={batch_size}: both must be at least 1")
        pairs = [self.parse(item) for item in (items if isinstance(items, list) else [items])]
        if not pairs:
            return []
        examples = [Example(str(index), question, context) for index, (context, question) in enumerate(pairs)]
        windows = build_features(examples, self.tokenizer, self.windows)
        inputs = FeatureSet(model_inputs(windows))
        found = []
        for rows in BatchPlan(len(inputs), batch_size, shuffle=False, seed=0).batches(epoch=0):
            start_logits, end_logits = forward(dict(zip(inputs.columns, gather(inputs, rows))))
            real = rows >= 0
            found.append(
                window_candidates(
                    windows, rows[real], to_numpy(start_logits)[real], to_numpy(end_logits)[real], self.spans
                )
            )
        lists = question_answers([context for context, _ in pairs], windows, merged(found), self.spans)
        results = [[as_output(answer) for answer in (answers or [Answer("", 0.0, 0, 0)])[:top_k]] for answers in lists]
        return results if top_k > 1 else [answers[0] for answers in results]


def null_threshold(loaders: Sequence[object], metric: SQuADMetric) -> Optional[float]:
    """Return from where on "no answer" is chosen, None when every question has one. Raises ConfigError."""
    kinds = {item.version_2_with_negative for item in loaders if isinstance(item, SQuADLoader)}
    threshold = metric.null_score_diff_threshold
    if len(kinds) > 1:
        key = "train_dataset.data_loader.version_2_with_negative"
        raise ConfigError([Problem(key, "differs from eval_dataset's; both must be SQuAD v1.1, or both v2.0")])
    if True not in kinds:
        if threshold is not None:
            told = "has no effect while every question has an answer; set version_2_with_negative of the data loaders"
            raise ConfigError([Problem("metric.null_score_diff_threshold", told)])
        return None
    return 0.0 if threshold is None else threshold


def model_inputs(windows: Features) -> Dict[str, np.ndarray]:
    """Return the columns that a model takes, in order."""
    return {
        "input_ids": windows.input_ids,
        "attention_mask": windows.attention_mask,
        "token_type_ids": windows.token_type_ids,
    }


def as_output(answer: Answer) -> Dict[str, object]:
    """Return an answer as users read it, the score rounded."""
    return {**asdict(answer), "score": round(answer.score, SCORE_PLACES)}

"""Causal language modelling: each token is predicted from those before it (Radford et al. 2019).

Data: text, an indexed dataset of tokens, or MindRecord rows. Head: the next token. Metric: perplexity over every token.
Predict: texts to the same texts continued.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Union

import numpy as np
from mindspore import nn

from mindformers.arch.stacks import StackArch
from mindformers.config.component import Component
from mindformers.config.schema import RunConfig
from mindformers.data.loader import FeatureSet
from mindformers.data.pack import BlockSource, check_tokens, pack
from mindformers.data.records import MindDataset, causal_rows
from mindformers.data.text_documents import TextDataLoader, texts_from, tokens_of
from mindformers.errors import DataError, UsageError
from mindformers.evaluate.perplexity import PerplexityMetric, RowLosses
from mindformers.generation.generate import default_settings, generate
from mindformers.generation.settings import check_text_alone
from mindformers.tasks.language_modeling import LanguageModelingTask

USUAL_LENGTH = 1024
"""Tokens of a block when neither the dataset nor the model says another number."""
Source = Union[str, Path, BlockSource, MindDataset, Dict[str, np.ndarray], Iterable[object]]


class TextGenerationTask(LanguageModelingTask):
    """Data and metric of a decoder that continues text.

    `seq_length` counts the predictions of a block. `arch`, when known, says how long a block may be and which tokens
    there are. `seed` draws blocks at random places. `settings` are what predictions change in those of `generate`.
    """

    name = "text_generation"
    head = "causal_lm"
    metric_name = "Text Generation Metric"
    main_metric = "perplexity"
    usual_metric = PerplexityMetric

    def __init__(
        self,
        tokenizer: Any = None,
        seq_length: int = USUAL_LENGTH,
        arch: Optional[StackArch] = None,
        seed: int = 0,
        metric: Optional[Component] = None,
        settings: Optional[Mapping[str, Any]] = None,
    ):
        super().__init__(tokenizer, arch, seed, metric)
        self.seq_length = seq_length
        self._settings = {"include_input": True, **(settings or {})}

    @classmethod
    def from_config(cls, config: RunConfig, tokenizer: Any) -> TextGenerationTask:
        """Return the task as a configuration describes it; data that is tokens already needs no tokenizer."""
        sizes = config.model.model_config.options if config.model.model_config is not None else None
        arch = sizes.arch(cls.head) if hasattr(sizes, "arch") else None
        length = getattr(sizes, "seq_length", None)
        if length is None:
            length = USUAL_LENGTH if arch is None else min(USUAL_LENGTH, arch.max_positions)
        return cls(tokenizer, length, arch, config.seed, config.metric)

    def scored(self, model: nn.Cell) -> nn.Cell:
        """Return the cell whose outputs the metric takes. Raises UsageError for a model that cannot be scored."""
        return RowLosses(model)

    def forward(self, model: nn.Cell) -> Callable[..., Any]:
        """Return `generate` of a model with the settings of the task.

        Raises UnknownNameError for the name of a setting, UsageError for what it cannot be and for answers that would
        not be texts alone.
        """
        settings = default_settings(model).changed(self._settings)
        check_text_alone(settings)
        return functools.partial(generate, model, tokenizer=self.tokenizer, settings=settings)

    def predict(
        self, forward: Callable[..., Any], items: List[Any], top_k: int = 1, batch_size: int = 1
    ) -> List[Dict[str, List[str]]]:
        """Return {"text_generation_text": [texts]} for every text, prompt included unless the settings leave it out.

        Raises DataError for items that are no texts, UsageError for a `top_k` other than 1.
        """
        if batch_size < 1 or top_k != 1:
            raise UsageError(
                f"top_k={top_k}, batch_size={batch_size}: the number of texts is num_return_sequences, so top_k must "
                "be 1; batch_size must be at least 1"
            )
        for item in items:
            if not isinstance(item, str):
                raise DataError(f"input {item!r} cannot be read; give a text to continue")
        batches = [forward(items[start : start + batch_size]) for start in range(0, len(items), batch_size)]
        texts = [written if isinstance(written, list) else [written] for batch in batches for written in batch]
        return [{"text_generation_text": written} for written in texts]

    def written(self, features: FeatureSet) -> Dict[str, np.ndarray]:
        """Return rows of one token more than predictions, and labels only where these are other tokens.

        Raises UsageError for columns that rows of tokens do not have.
        """
        others = sorted(set(features.columns) - {"input_ids", "labels"})
        if others:
            raise UsageError(
                f"the rows have {', '.join(others)}, which a MindRecord file of tokens cannot hold; leave out "
                "reset_at_documents, or train from the text itself"
            )
        inputs, labels = features.columns["input_ids"][:], features.columns["labels"][:]
        ids = np.hstack([inputs, np.maximum(labels[:, inputs.shape[1] :], 0)])
        return {"input_ids": ids} if np.array_equal(ids, labels) else {"input_ids": ids, "labels": labels}

    def _features(self, source: Source, training: bool) -> FeatureSet:
        if isinstance(source, (str, Path)):
            source = TextDataLoader(source)
        if isinstance(source, MindDataset) or _holds_columns(source):
            columns = source.columns() if isinstance(source, MindDataset) else getattr(source, "columns", source)
            features = causal_rows(columns, self._length(None), "the rows")
            self._check_tokens(features)
            return features
        if hasattr(source, "stream"):
            stream, name = source.stream(self.tokenizer), str(source.dataset_dir)
        else:
            if self.tokenizer is None:
                raise DataError("text needs a tokenizer: give the Trainer one, or set train_dataset.tokenizer")
            stream, name = tokens_of(texts_from(source), self.tokenizer), "the dataset"
            source = BlockSource()
        if self.arch is not None:
            check_tokens(stream, self.arch.vocab_size, name)
        return pack(stream, source, self._length(source.seq_length), training, self.seed, name)

    def _length(self, wanted: Optional[int]) -> int:
        """Return the predictions of a block. Raises DataError when the model has fewer positions."""
        length = wanted or self.seq_length
        if self.arch is not None and self.arch.positions == "learned" and length > self.arch.max_positions:
            raise DataError(
                f"blocks of {length} tokens are longer than the model, which has {self.arch.max_positions} positions; "
                "lower seq_length of the dataset or the model, or raise the model's positions"
            )
        return length


def _holds_columns(source: Any) -> bool:
    """Return whether a user's dataset is columns by name."""
    return isinstance(getattr(source, "columns", source), dict)

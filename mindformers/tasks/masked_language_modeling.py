"""Masked language modelling: the tokens behind masks (Devlin et al. 2019, arXiv:1810.04805, section 3.1).

Data: text, masked anew in every epoch, or BERT's pre-training records. Head: the token behind a mask, with BERT and
ALBERT also what two texts are to each other. Metric: loss, perplexity and accuracy over masked tokens. Predict: the
likeliest tokens for each mask of a text (`fill_mask`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Union

import numpy as np
from mindspore import nn

from mindformers.arch.stacks import StackArch
from mindformers.config.component import Component
from mindformers.config.schema import RunConfig
from mindformers.data.loader import BatchPlan, FeatureSet, gather
from mindformers.data.mask_lm import Masking, is_masked, masked_features, masked_rows, unmasked_rows
from mindformers.data.masked_text import (
    MaskedTextDataLoader,
    Sentences,
    document_rows,
    full_rows,
    sentences_of,
)
from mindformers.data.pack import IGNORED
from mindformers.data.records import RecordFiles
from mindformers.data.sentence_pairs import BELONG, pair_rows
from mindformers.data.text_documents import TextDataLoader, texts_from
from mindformers.errors import DataError, UsageError
from mindformers.evaluate.masked_lm import MaskedLMMetric, MaskedScores
from mindformers.tasks.language_modeling import LanguageModelingTask

Forward = Callable[[Dict[str, np.ndarray]], Any]
"""A batch of int32 arrays by name to logits [B, P, V], or a tuple that begins with them."""
Source = Union[str, Path, MaskedTextDataLoader, RecordFiles, Dict[str, np.ndarray], Iterable[object]]
USUAL_LENGTH = 512
"""Tokens of a row when neither the dataset nor the model says another number."""
EVAL_SEED = 0
"""Evaluation sees the same masks and pairs whatever the run's seed."""
SCORE_PLACES = 4
SENTENCE_HEAD = "ForPreTraining"


class MaskedLanguageModelingTask(LanguageModelingTask):
    """Data, metric and predictions of an encoder that finds masked tokens.

    `max_seq_len` counts tokens of a row, special ones included. `arch`, when known, says how long a row may be, which
    tokens there are and whether there is a sentence head. `seed` draws masks and pairs in training;
    masks differ between epochs, but those of BERT's pre-training records stay as they were written.
    """

    name = "masked_language_modeling"
    head = "masked_lm"
    metric_name = "Masked Language Modeling Metric"
    main_metric = "val_loss"
    usual_metric = MaskedLMMetric

    def __init__(
        self,
        tokenizer: Any = None,
        max_seq_len: int = USUAL_LENGTH,
        arch: Optional[StackArch] = None,
        seed: int = 0,
        metric: Optional[Component] = None,
    ):
        super().__init__(tokenizer, arch, seed, metric)
        self.max_seq_len = max_seq_len
        self.sentence_task = arch.sentence_task if arch is not None and arch.head == "pre_training" else None

    @classmethod
    def from_config(cls, config: RunConfig, tokenizer: Any) -> MaskedLanguageModelingTask:
        """Return the task as a configuration describes it; records need no tokenizer."""
        sizes: Any = config.model.model_config.options if config.model.model_config is not None else None
        named = config.model.arch.type if config.model.arch is not None else ""
        head = "pre_training" if named.endswith(SENTENCE_HEAD) else cls.head
        arch = sizes.arch(head) if hasattr(sizes, "arch") else None
        length = getattr(sizes, "seq_length", None)
        if length is None:
            length = USUAL_LENGTH if arch is None else min(USUAL_LENGTH, _positions(arch))
        return cls(tokenizer, length, arch, config.seed, config.metric)

    def scored(self, model: nn.Cell) -> nn.Cell:
        """Return the cell whose outputs the metric takes."""
        return MaskedScores(model)

    def learned(self, row: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return which tokens of a row are to be found, bool [S]."""
        chosen = np.zeros(len(row["input_ids"]), bool)
        chosen[row["masked_positions"][row["labels"] != IGNORED]] = True
        return chosen

    def notes(self, row: Mapping[str, np.ndarray]) -> Dict[str, str]:
        """Return the tokens that are to be found and, of a pair, whether the texts belong together."""
        made = {"find": " ".join(self.tokenizer.convert_ids_to_tokens(row["labels"][row["labels"] != IGNORED]))}
        if "sentence_labels" in row:
            made["pair"] = "belongs together" if row["sentence_labels"] == BELONG else "does not belong together"
        return made

    def predict(
        self, forward: Forward, items: Union[str, List[Any]], top_k: int = 1, batch_size: int = 1
    ) -> List[List[Any]]:
        """Return for every text the `top_k` likeliest {"score", "token", "token_str", "sequence"} for its mask.

        A text with several masks gets a list for each of them. A score is a probability, rounded to 4 places. `forward`
        always sees `batch_size` rows. Raises DataError for a text without mask, or whose mask is cut off.
        """
        if top_k < 1 or batch_size < 1:
            raise UsageError(f"top_k={top_k}, batch_size={batch_size}: both must be at least 1")
        tokenizer = self._needed_tokenizer()
        texts = texts_from(items if isinstance(items, list) else [items])
        encoded = tokenizer(texts, max_length=self.max_seq_len, padding="max_length", truncation=True)
        places = [np.flatnonzero(row == tokenizer.mask_token_id) for row in encoded["input_ids"]]
        for text, found in zip(texts, places):
            if not len(found):
                raise DataError(
                    f"input {text!r} has no {tokenizer.mask_token} among its first {self.max_seq_len} tokens; write "
                    f"{tokenizer.mask_token} where a token is to be found"
                )
        positions = np.zeros((len(texts), max(map(len, places))), np.int32)
        for row, found in zip(positions, places):
            row[: len(found)] = found
        inputs = FeatureSet({**encoded, "masked_positions": positions})
        results: List[List[Any]] = []
        for rows in BatchPlan(len(inputs), batch_size, shuffle=False, seed=0).batches(epoch=0):
            logits = forward(dict(zip(inputs.columns, gather(inputs, rows))))
            logits = logits[0] if isinstance(logits, tuple) else logits
            for row, values in zip(rows[rows >= 0], logits):
                fillings = [
                    self._fillings(encoded["input_ids"][row], place, np.asarray(scores, np.float64), top_k)
                    for place, scores in zip(places[row], values)
                ]
                results.append(fillings if len(fillings) > 1 else fillings[0])
        return results

    def _fillings(self, ids: np.ndarray, place: int, logits: np.ndarray, top_k: int) -> List[Dict[str, object]]:
        """Return the likeliest tokens for one mask, and the text with each of them in it."""
        tokenizer = self.tokenizer
        logits = logits[: tokenizer.vocab_size]  # a table may have more rows than there are tokens
        powers = np.exp(logits - logits.max())
        shares = powers / powers.sum()
        around = {index for name, index in tokenizer.special_ids.items() if name not in ("mask_token", "unk_token")}
        found = []
        for token in np.argsort(-shares, kind="stable")[:top_k]:
            filled = np.where(np.arange(len(ids)) == place, token, ids)
            found.append(
                {
                    "score": round(float(shares[token]), SCORE_PLACES),
                    "token": int(token),
                    "token_str": tokenizer.decode([token], skip_special_tokens=False),
                    "sequence": tokenizer.decode(
                        [item for item in filled if item not in around], skip_special_tokens=False
                    ),
                }
            )
        return found

    def _features(self, source: Source, training: bool) -> FeatureSet:
        if isinstance(source, (str, Path)):
            source = MaskedTextDataLoader(source, "train" if training else "dev")
        columns = source.columns() if isinstance(source, RecordFiles) else getattr(source, "columns", source)
        seed = self.seed if training else EVAL_SEED
        if isinstance(columns, dict):
            return self._records(columns, seed)
        tokenizer = self._needed_tokenizer()
        if isinstance(source, TextDataLoader) and not isinstance(source, MaskedTextDataLoader):
            source = MaskedTextDataLoader(**vars(source))
        loader = source if isinstance(source, MaskedTextDataLoader) else MaskedTextDataLoader()
        kind = loader.rows or ("full" if self.sentence_task is None else "pairs")
        sentences = self._sentences(source, by_line=kind == "pairs")
        length = self._length(loader.seq_length or self.max_seq_len)
        rows = self._rows(kind, sentences, loader, length, training, seed)
        rows = {name: column[: loader.num_samples] for name, column in rows.items()}
        masking = Masking.of(
            tokenizer, length, loader.mask_probability, loader.whole_words, loader.max_predictions_per_seq, seed
        )
        return masked_features(rows, masking)

    def _sentences(self, source: Any, by_line: bool) -> Sentences:
        if isinstance(source, MaskedTextDataLoader):
            return source.sentences(self.tokenizer, by_line)
        if hasattr(source, "dataset_dir"):
            raise UsageError(
                f"masked language modelling cannot read what {type(source).__name__} reads; accepted are "
                "MaskedTextDataLoader, TextDataLoader, and MindDataset and TFRecordDataset for rows of tokens"
            )
        return sentences_of(texts_from(source), self.tokenizer, by_line)

    def _rows(
        self, kind: str, sentences: Sentences, loader: MaskedTextDataLoader, length: int, training: bool, seed: int
    ) -> Dict[str, np.ndarray]:
        if kind == "documents":
            return document_rows(sentences, loader, self.tokenizer, length)
        if kind == "full":
            pads = loader.remainder == "pad" or (loader.remainder is None and not training)
            return full_rows(sentences, loader, self.tokenizer, length, pads)
        if self.sentence_task is None:
            raise UsageError(
                "data_loader.rows is pairs, but the model says nothing of two texts; set rows to full, or train a "
                f"class whose name ends in {SENTENCE_HEAD}"
            )
        name = str(loader.dataset_dir) or "the dataset"
        return pair_rows(sentences.part(*loader.part), self.tokenizer, length, self.sentence_task, seed, name)

    def _records(self, columns: Dict[str, np.ndarray], seed: int) -> FeatureSet:
        if is_masked(columns):
            features = masked_rows(columns, "the rows")
        else:
            rows = unmasked_rows(columns, "the rows")
            width = columns["labels"].shape[1] if "labels" in columns else None
            length, chosen = rows["input_ids"].shape[1], MaskedTextDataLoader()
            features = masked_features(
                rows, Masking.of(self._needed_tokenizer(), length, chosen.mask_probability, False, width, seed)
            )
        self._length(features.columns["input_ids"].shape[1])
        self._check_tokens(features)
        if self.sentence_task is None and "sentence_labels" in features.columns:
            kept = {name: column for name, column in features.columns.items() if name != "sentence_labels"}
            features = FeatureSet(kept, {"labels": features.fillers["labels"]}, features.draw)
        return features

    def _length(self, length: int) -> int:
        """Return the tokens of a row. Raises DataError when the model has fewer positions, or no text fits in."""
        if self.arch is not None and length > _positions(self.arch):
            raise DataError(
                f"rows of {length} tokens are longer than the model, which has {_positions(self.arch)} positions; "
                "lower seq_length of the dataset or the model, or raise the model's positions"
            )
        if self.tokenizer is not None and length < self.tokenizer.layout.special_count(True) + 2:
            raise DataError(f"seq_length is {length}: special tokens leave no room for text; raise it")
        return length

    def _needed_tokenizer(self) -> Any:
        tokenizer = self.tokenizer
        if tokenizer is None:
            raise DataError(
                "text needs a tokenizer: keep its files beside the weights, or set train_dataset.tokenizer; BERT's "
                "pre-training records need none"
            )
        for name in ("mask_token", "pad_token"):
            if getattr(tokenizer, name) is None:
                raise UsageError(
                    f"masked language modelling needs a {name}, and this tokenizer has none; set tokenizer.{name} to a "
                    "token of its vocabulary that no text holds"
                )
        return tokenizer


def _positions(arch: StackArch) -> int:
    """Return how many tokens a row may have; positions of some families begin behind the padding token's number."""
    return arch.max_positions - ((arch.pad_token_id or 0) + 1 if arch.padding_offsets_positions else 0)

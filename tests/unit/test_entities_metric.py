"""The entity metric as MindSpore drives it."""

import logging

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from mindformers.data.entities import Record
from mindformers.data.loader import FeatureSet, create_dataset
from mindformers.data.tags import LabelSet, Span
from mindformers.data.token_features import TokenFeatures
from mindformers.errors import DataError
from mindformers.evaluate.entities import EntityMetric

LABELS = LabelSet.of_types(["a", "b"], "BIOS")  # O B-a B-b I-a I-b S-a S-b
WIDTH = 6


def data(*texts):
    """Texts of letters, one token each behind a special one; entities as spans."""
    records = [Record(text, tuple(entities), str(index)) for index, (text, entities) in enumerate(texts)]
    spans = np.zeros((len(records), WIDTH, 2), np.int32)
    for row, record in enumerate(records):
        for index in range(len(record.text)):
            spans[row, index + 1] = (index, index + 1)
    blank = np.zeros((len(records), WIDTH), np.int32)
    return records, TokenFeatures(blank, blank, blank, spans, np.zeros(4, np.int32))


def logits(*rows):
    """Logits that choose these tags at the tokens of each text, and anything at all elsewhere."""
    chosen = np.full((len(rows), WIDTH), LABELS.labels.index("S-b"))
    for row, tags in enumerate(rows):
        chosen[row, 1 : len(tags) + 1] = [LABELS.labels.index(tag) for tag in tags]
    return np.eye(len(LABELS.labels), dtype=np.float32)[chosen]


TEXTS = (("abc", [Span("a", 0, 2)]), ("abcd", [Span("a", 0, 1), Span("b", 2, 4)]), ("ab", []))
GUESSES = (["B-a", "I-a", "O"], ["S-a", "O", "B-b", "O"], ["O", "S-b"])


def test_scores_are_those_of_whole_entities_overall_and_by_type(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("mindformers"), "propagate", True)
    metric = EntityMetric(*data(*TEXTS), LABELS)
    metric.update(np.array([0, 1]), logits(*GUESSES[:2]))
    metric.update(np.array([2, -1]), logits(GUESSES[2], ["S-a"]))
    result = metric.result()
    assert result == {
        "precision": 2 / 4,
        "recall": 2 / 3,
        "f1": pytest.approx(4 / 7),
        **{f"a_{share}": 1.0 for share in ("precision", "recall", "f1")},
        **{f"b_{share}": 0.0 for share in ("precision", "recall", "f1")},
        "scored": 3,
        "total": 3,
    }
    assert metric.eval() == result
    with caplog.at_level("INFO", "mindformers"):
        metric.result()
    assert "all     0.5000  0.6667  0.5714         3" in caplog.text
    metric.clear()
    assert metric.result()["scored"] == 0


def test_strict_mode_counts_complete_entities_only():
    metric = EntityMetric(*data(*TEXTS), LABELS, "strict")
    metric.update(np.arange(3), logits(*GUESSES))
    result = metric.result()
    assert result["precision"] == 2 / 3  # the lone B-b is none


def test_a_row_that_was_not_shown_counts_as_missed():
    metric = EntityMetric(*data(*TEXTS), LABELS)
    metric.update(np.array([0]), logits(GUESSES[0]))
    result = metric.result()
    assert (result["precision"], result["recall"]) == (1.0, 1 / 3)
    assert (result["scored"], result["total"]) == (1, 3)


def test_what_max_seq_len_cut_off_counts_as_missed():
    text = "abcdefgh"
    _, features = data((text[: WIDTH - 1], [Span("a", 0, 1)]))
    long = [Record(text, (Span("a", 0, 1), Span("b", 6, 7)), "0")]
    metric = EntityMetric(long, features, LABELS)
    metric.update(np.array([0]), logits(["S-a", "O", "O", "O", "O"]))
    assert metric.result()["recall"] == 0.5


@pytest.mark.parametrize(
    "inputs, message",
    [
        ((np.arange(1),), "takes rows and logits, but got 1 inputs"),
        (
            (np.arange(1), np.zeros((1, WIDTH, 3))),
            r"\(1, 6, 3\) do not fit 1 rows and 7 labels; expected is \(1, 6, 7\)",
        ),
        ((np.arange(1), np.zeros((2, WIDTH, 7))), r"do not fit 1 rows"),
    ],
)
def test_what_does_not_fit_the_dataset_is_refused(inputs, message):
    with pytest.raises(DataError, match=message):
        EntityMetric(*data(*TEXTS), LABELS).update(*inputs)


def test_every_row_is_scored_though_the_last_batch_is_partial():
    class Echo(nn.Cell):
        """A model whose logits the dataset brings along."""

        def construct(self, logits, row):
            return row, logits

    texts = TEXTS * 7
    metric = EntityMetric(*data(*texts), LABELS)
    features = FeatureSet({"logits": logits(*GUESSES * 7)})
    dataset = create_dataset(features, 4, shuffle=False, seed=0, with_rows=True)
    network = Echo()
    model = ms.train.Model(network, eval_network=network, metrics={"Entity Metric": metric})
    scores = model.eval(dataset, dataset_sink_mode=False)["Entity Metric"]
    assert (scores["scored"], scores["total"]) == (21, 21)
    assert scores["recall"] == pytest.approx(2 / 3)

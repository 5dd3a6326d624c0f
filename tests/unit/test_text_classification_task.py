"""The text-classification task: features, labels of data and weights, scoring, input forms, predictions."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindformers.config.check import check_file, check_layers
from mindformers.config.source import from_dict
from mindformers.data.glue import glue_task
from mindformers.data.labelled_texts import Columns, TextClassificationDataLoader
from mindformers.data.rows import read_rows
from mindformers.errors import DataError, UsageError
from mindformers.models.heads import IGNORED
from mindformers.tasks.text_classification import TextClassificationTask
from mindformers.tokenizers.wordpiece import BertTokenizer

FOLDER = Path(__file__).parent / "r03_files"
ROWS = [{"text": f"it was {word}", "label": label} for label, word in (("good", "lovely"), ("bad", "dull"))] * 3


@pytest.fixture(scope="module")
def tokenizer(data_dir):
    return BertTokenizer(data_dir / "tokenizers" / "bert-base-uncased" / "vocab.txt")


def fixed(*logits):
    """A stand-in for a model: the same logits for every row."""
    return lambda batch: np.tile(np.array(logits, np.float32), (len(batch["input_ids"]), 1))


def glue(tokenizer, name, **options):
    return TextClassificationTask(tokenizer, 16, glue=glue_task(name), **options)


# ---- features


def test_features_are_rows_of_one_width_with_labels_and_their_ignored_value(tokenizer):
    task = TextClassificationTask(tokenizer, max_seq_len=8)
    features = task.train_features(ROWS)
    assert list(features.columns) == ["input_ids", "attention_mask", "token_type_ids", "labels"]
    assert features.columns["input_ids"].shape == (6, 8) and features.columns["labels"].tolist() == [1, 0] * 3
    assert features.fillers == {"labels": IGNORED}
    assert tokenizer.decode(features.columns["input_ids"][0]) == "it was lovely"


def test_pairs_equal_what_hugging_face_makes_of_them(tokenizer, data_dir, tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs: pip install 'mindformers[oracle]'")
    tokenizer.save_pretrained(tmp_path)
    oracle = transformers.BertTokenizer.from_pretrained(tmp_path)
    loader = TextClassificationDataLoader(data_dir / "glue" / "MRPC", "dev", 50, task_name="mrpc")
    data = glue(tokenizer, "mrpc", num_labels=2).eval_features(loader)
    rows = [row.values for row in read_rows(loader.file)][:50]
    firsts, seconds = ([row[name] for row in rows] for name in ("#1 String", "#2 String"))
    expected = oracle(firsts, seconds, max_length=16, padding="max_length", truncation=True, return_tensors="np")
    for name, column in data.features.columns.items():
        np.testing.assert_array_equal(column, expected[name], err_msg=name)


def test_features_are_kept_and_found_again(tokenizer, tmp_path, monkeypatch):
    def features():
        return TextClassificationTask(tokenizer, 8, cache_dir=tmp_path).train_features(ROWS)

    first = features()
    monkeypatch.setattr(BertTokenizer, "__call__", None)
    again = features()
    assert all(np.array_equal(first.columns[name], again.columns[name]) for name in first.columns)


def test_a_width_without_room_for_text_is_refused(tokenizer):
    with pytest.raises(UsageError, match="max_seq_len=2: special tokens leave no room"):
        TextClassificationTask(tokenizer, 2).train_features(ROWS)


# ---- labels


def test_labels_are_found_in_the_training_set_and_kept_for_evaluation(tokenizer, tmp_path):
    task = TextClassificationTask(tokenizer, 8, num_labels=2)
    task.train_features(ROWS)
    assert task.labels == ("bad", "good")
    assert task.eval_features(ROWS[:1]).labels.tolist() == [1]
    task.save_labels(tmp_path)
    assert json.loads((tmp_path / "labels.json").read_text()) == {"id2label": {"0": "bad", "1": "good"}}


def test_the_order_of_the_weights_wins_where_the_labels_are_the_same(tokenizer):
    named = TextClassificationTask(tokenizer, 8, labels=("bad", "good"), trains=False)
    named.adopt_labels(("good", "bad"))
    assert named.eval_features(ROWS[:2]).labels.tolist() == [0, 1]
    finetuned = TextClassificationTask(tokenizer, 8)
    finetuned.adopt_labels(("good", "bad"))
    assert finetuned.train_features(ROWS).columns["labels"].tolist() == [0, 1] * 3
    assert finetuned.labels == ("good", "bad")


def test_digits_of_a_glue_file_keep_their_meaning_under_the_weights_order(tokenizer):
    rows = [{"sentence": "a", "label": "0"}, {"sentence": "b", "label": "1"}]  # negative, positive
    for trains in (True, False):
        task = glue(tokenizer, "sst2", trains=trains)
        task.columns = Columns(("sentence",), "label")
        task.adopt_labels(("positive", "negative"))
        assert task.eval_features(rows).labels.tolist() == [1, 0]


def test_labels_of_other_weights_are_replaced_in_training_and_refused_in_evaluation(tokenizer, caplog):
    for options in ({"labels": ("bad", "good")}, {}):
        task = TextClassificationTask(tokenizer, 8, **options)
        task.adopt_labels(("no", "yes"))
        task.train_features(ROWS)
        assert task.labels == ("bad", "good")
    with pytest.raises(DataError, match="the weights tell apart the labels no, yes, but the data has bad, good"):
        TextClassificationTask(tokenizer, 8, labels=("bad", "good"), trains=False).adopt_labels(("no", "yes"))


def test_weights_without_names_are_only_scored_on_numbered_labels(tokenizer):
    task = TextClassificationTask(tokenizer, 8, trains=False)
    with pytest.raises(DataError, match="do not say which of their outputs is which; name them .* data_loader.labels"):
        task.eval_features(ROWS)
    assert task.eval_features([{"text": "a", "label": index} for index in (1, 0)]).labels.tolist() == [1, 0]


COUNTS = {
    "a GLUE task": (
        {"num_labels": 2, "glue": glue_task("mnli")},
        "entailment, neutral, contradiction (3), but model.mo",
    ),
    "named labels": (
        {"num_labels": 2, "labels": ["a", "b", "c"]},
        "a, b, c (3), but model.model_config.num_labels is 2",
    ),
    "numbers": (
        {"num_labels": 2, "glue": glue_task("stsb")},
        "num_labels is 2, but the labels of this task are numbers",
    ),
    "a regression of classes": (
        {"num_labels": 1, "glue": glue_task("sst2")},
        "negative, positive, but model.model_con",
    ),
    "labels of a regression": (
        {"glue": glue_task("stsb"), "labels": ["a", "b"]},
        "the task's labels are numbers; leave",
    ),
    "a label named twice": ({"labels": ["a", "b", "a"]}, "data_loader.labels: 'a' is named twice"),
}


@pytest.mark.parametrize("case", COUNTS)
def test_a_model_that_does_not_fit_the_labels_is_refused_before_data_is_read(tokenizer, case):
    options, message = COUNTS[case]
    with pytest.raises((DataError, UsageError)) as error:
        TextClassificationTask(tokenizer, 8, **options)
    assert message in str(error.value)


def test_a_model_that_does_not_fit_the_labels_of_the_data_is_refused_with_both_numbers(tokenizer):
    task = TextClassificationTask(tokenizer, 8, num_labels=3)
    with pytest.raises(DataError, match=r"the labels are bad, good \(2\), but model.model_config.num_labels is 3; set"):
        task.train_features(ROWS)


# ---- configuration


def configured(tokenizer, changes: Any = None, name="txtcls_bert_base_uncased"):
    from mindformers.config.places import find_config

    layers = [from_dict(changes, "test")] if changes else []
    return TextClassificationTask.from_config(check_file(find_config(name), layers).run, tokenizer)


def test_the_published_run_names_labels_in_the_order_of_its_weights(tokenizer):
    assert configured(tokenizer).labels == ("entailment", "neutral", "contradiction")
    task = configured(tokenizer, name="txtcls_bert_base_uncased_mnli")
    assert task.labels == ("contradiction", "entailment", "neutral")
    assert (task.max_seq_len, task.scores, task.main_metric) == (128, ("accuracy",), "accuracy")


@pytest.mark.parametrize(
    "name, scores, main",
    [
        ("sst2", ("accuracy",), "accuracy"),
        ("mrpc", ("accuracy", "f1"), "combined_score"),
        ("stsb", ("pearson", "spearmanr"), "combined_score"),
    ],
)
def test_a_glue_run_scores_as_its_task_does(tokenizer, name, scores, main):
    task = configured(tokenizer, name=f"txtcls_minilm_{name}")
    assert (task.scores, task.main_metric, task.is_number) == (scores, main, name == "stsb")


WRONG = {
    "a metric of other tasks": ({"metric": {"type": "SQuADMetric"}}, "metric: SQuADMetric does not score texts"),
    "several labels a text": (
        {"metric": {"eval_type": "multilabel"}},
        "Accuracy{eval_type: multilabel} does not score",
    ),
    "another padding": (
        {"model": {"model_config": {"pad_token_id": 7}}},
        "pad_token_id is 7, but the tokenizer pads with 0",
    ),
    "too few outputs": (
        {"model": {"model_config": {"num_labels": 2}}},
        "(3), but model.model_config.num_labels is 2; set it to 3",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_sections_that_do_not_fit_together_are_refused(tokenizer, case):
    changes, message = WRONG[case]
    with pytest.raises((UsageError, DataError)) as error:
        configured(tokenizer, changes)
    assert message in str(error.value)


def test_training_and_evaluation_with_different_options_are_refused(tokenizer):
    both = {
        "train_dataset": {"data_loader": {"labels": ["a", "b"]}},
        "eval_dataset": {"data_loader": {"labels": ["b"]}},
    }
    changes = {**both, "model": {"model_config": {"num_labels": 2}}}
    with pytest.raises(UsageError, match=r"data_loader.labels is \['a', 'b'\], but eval_dataset.data_loader.labels is"):
        configured(tokenizer, {**changes, "run_mode": "train", "do_eval": True}, "txtcls_bert_tiny")
    changes["model"]["model_config"] = {"num_labels": 1}
    for section in ("train_dataset", "eval_dataset"):
        changes[section]["data_loader"] = {"max_seq_len": {"train_dataset": 9, "eval_dataset": 7}[section]}
    for mode, width in (("train", 9), ("eval", 7), ("predict", 7)):
        assert configured(tokenizer, {**changes, "run_mode": mode}, "txtcls_bert_tiny").max_seq_len == width


def test_without_a_tokenizer_the_error_says_where_one_comes_from():
    with pytest.raises(DataError, match="needs a tokenizer: keep its files beside the weights"):
        configured(None)


def test_the_section_of_r03_makes_the_task(tokenizer):
    task = TextClassificationTask.from_config(check_file(FOLDER / "txtcls.yaml").run, tokenizer)
    assert (task.num_labels, task.max_seq_len, task.scores) == (3, 128, ("accuracy",))


def test_the_records_of_r03_are_read_as_tf_records():
    from mindformers.build import data_loader
    from mindformers.data.tf_records import TFRecordDataset

    loader = data_loader(check_file(FOLDER / "txtcls.yaml").run.train_dataset, "train_dataset", "train")
    assert isinstance(loader, TFRecordDataset)


def test_a_dataset_section_hands_its_columns_to_the_reader(tmp_path):
    from mindformers.build import data_loader

    options = {
        "dataset_dir": str(tmp_path),
        "text_column": "a",
        "label_column": "b",
        "num_samples": 3,
        "max_seq_len": 9,
    }
    section = {"data_loader": {"type": "TextClassificationDataLoader", **options}}
    run = check_layers([from_dict({"train_dataset": section}, "test")]).run
    loader = data_loader(run.train_dataset, "train_dataset", "train")
    assert loader == TextClassificationDataLoader(str(tmp_path), "train", 3, text_column="a", label_column="b")


# ---- prediction


def test_a_text_gets_its_likeliest_labels_with_probabilities(tokenizer):
    task = TextClassificationTask(tokenizer, 8, labels=("bad", "fair", "good"))
    logits = np.log([0.2, 0.1, 0.7])
    assert task.predict(fixed(*logits), "lovely") == [[{"label": "good", "score": 0.7}]]
    assert (
        task.predict(fixed(*logits), ["a - b", {"text": "c"}], top_k=2)
        == [[{"label": "good", "score": 0.7}, {"label": "bad", "score": 0.2}]] * 2
    )
    assert len(task.predict(fixed(*logits), "lovely", top_k=9)[0]) == 3
    assert task.predict(fixed(*logits), []) == []


def test_a_number_is_given_as_the_score(tokenizer):
    task = glue(tokenizer, "stsb", num_labels=1)
    assert task.predict(fixed(3.14159), ("a", "b")) == [[{"label": "score", "score": 3.1416}]]


def test_labels_that_nobody_named_are_numbered(tokenizer):
    assert TextClassificationTask(tokenizer, 8).predict(fixed(0.0, 9.0), "a")[0][0]["label"] == "LABEL_1"


def test_pairs_come_in_every_form_and_batches_keep_their_size(tokenizer):
    shapes, seen = [], []

    def forward(batch):
        shapes.append(batch["input_ids"].shape)
        seen.extend(
            tokenizer.decode(row, skip_special_tokens=False).replace(" [PAD]", "") for row in batch["input_ids"]
        )
        return np.zeros((len(batch["input_ids"]), 3), np.float32)

    items = ["well-known - one - two", "one-two", ("one", "two"), {"text": "one", "text_pair": "two"}]
    assert len(glue(tokenizer, "mnli").predict(forward, items, batch_size=3)) == 4
    assert set(shapes) == {(3, 16)}
    assert seen[0] == "[CLS] well - known - one [SEP] two [SEP]"
    assert set(seen[1:4]) == {"[CLS] one [SEP] two [SEP]"}


def test_singles_and_pairs_may_stand_in_one_list_where_nobody_said_which(tokenizer):
    def forward(batch):
        second = batch["token_type_ids"].max(axis=1)
        return np.stack([-9.0 * second, 9.0 * second], axis=1)

    task = TextClassificationTask(tokenizer, 8, labels=("single", "pair"))
    answers = task.predict(forward, ["a", ("a", "b"), "c - d"], batch_size=2)
    assert [answer[0]["label"] for answer in answers] == ["single", "pair", "single"]


INPUTS = {
    "no separator": ("mnli", "one two", "has no ' - ' between the two texts"),
    "several hyphens": ("mnli", "one-two-three", "has no ' - ' between the two texts"),
    "a pair for a single": ("sst2", ("a", "b"), "this task is on single texts"),
    "a single for a pair": ("mnli", {"text": "a"}, "this task is on pairs of texts"),
    "an unknown key": ("sst2", {"txt": "a"}, "cannot be read; accepted are a text"),
    "an empty text": ("sst2", " ", "text is ' ', it must be text"),
    "an empty second text": ("mnli", ("a", ""), "text_pair is '', it must be text"),
    "a number": ("sst2", 3, "cannot be read"),
}


@pytest.mark.parametrize("case", INPUTS)
def test_an_input_that_cannot_be_read_says_what_is_accepted(tokenizer, case):
    name, item, message = INPUTS[case]
    with pytest.raises(DataError) as error:
        glue(tokenizer, name).predict(fixed(0.0, 1.0), [item])
    assert message in str(error.value)


def test_counts_below_one_are_refused(tokenizer):
    with pytest.raises(UsageError, match="top_k=0, batch_size=1: both must be at least 1"):
        TextClassificationTask(tokenizer, 8).predict(fixed(0.0, 1.0), "a", top_k=0)


def test_a_model_with_other_outputs_than_labels_is_refused_at_prediction(tokenizer):
    with pytest.raises(DataError, match=r"the labels are a, b \(2\), but the model has 3 outputs"):
        TextClassificationTask(tokenizer, 8, labels=("a", "b")).predict(fixed(0.0, 1.0, 2.0), "x")


@pytest.fixture(autouse=True)
def infos(caplog):
    caplog.set_level(logging.INFO, logger="mindformers")


@pytest.mark.parametrize("labels", [("contradiction", "entailment", "neutral"), ("ENTAILMENT", "NOT_ENTAILMENT")])
def test_the_labels_of_a_task_on_pairs_tell_that_a_text_holds_two(tokenizer, labels):
    task = TextClassificationTask(tokenizer, 16, num_labels=len(labels))
    task.adopt_labels(labels)
    assert task.parse("the meal - was good") == ("the meal", "was good")
    with pytest.raises(DataError, match="has no ' - ' between the two texts"):
        task.parse("the meal")


def test_labels_of_single_texts_leave_hyphens_alone(tokenizer):
    task = TextClassificationTask(tokenizer, 16, num_labels=2)
    task.adopt_labels(("negative", "positive"))
    assert task.parse("the meal - was good") == ("the meal - was good", None)

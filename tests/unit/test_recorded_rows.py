"""Rows that were written once and are read again: MindRecord of every task, TFRecord of Google's scripts."""

import struct

import numpy as np
import pytest

from mindformers.cli import main
from mindformers.data.records import MindDataset, write_records
from mindformers.data.text_documents import TextDataLoader
from mindformers.data.tf_records import TFRecordDataset
from mindformers.errors import DataError, UsageError
from mindformers.tasks.question_answering import QuestionAnsweringTask
from mindformers.tasks.text_classification import TextClassificationTask
from mindformers.tasks.text_generation import TextGenerationTask
from mindformers.tasks.token_classification import TokenClassificationTask
from mindformers.tokenizers.characters import CharacterTokenizer
from mindformers.tokenizers.wordpiece import BertTokenizer
from tests.conftest import CONFIGS

CONTEXT = "My name is Wolfgang and I live in Berlin."
ROWS = {
    "question_answering": [
        {"question": "Where do I live?", "context": CONTEXT, "answers": [("Berlin", 34)]},
        {"question": "Who am I?", "context": CONTEXT, "answers": [("Wolfgang", 11)]},
    ],
    "text_classification": [{"text": "it was lovely", "label": "good"}, {"text": "it was dull", "label": "bad"}],
    "regression": [{"text": "it was lovely", "label": 4.5}, {"text": "it was dull", "label": 0.25}],
    "token_classification": [
        {"text": "Ann lives in Rome", "label": {"name": {"Ann": [[0, 2]]}, "address": {"Rome": [[13, 16]]}}}
    ],
}


@pytest.fixture(scope="module")
def tokenizer(data_dir):
    return BertTokenizer(data_dir / "tokenizers" / "bert-base-uncased" / "vocab.txt")


def made(name, tokenizer):
    return {
        "question_answering": lambda: QuestionAnsweringTask(tokenizer, 32, 8, 8),
        "text_classification": lambda: TextClassificationTask(tokenizer, 16),
        "regression": lambda: TextClassificationTask(tokenizer, 16, num_labels=1),
        "token_classification": lambda: TokenClassificationTask(tokenizer, max_seq_len=16),
    }[name]()


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_every_task_come_back_as_they_were_written(name, tokenizer, tmp_path):
    task = made(name, tokenizer)
    features = task.train_features(ROWS[name])
    write_records(tmp_path / "train.mindrecord", features.columns)
    if task.names_outputs:
        task.save_labels(tmp_path)
    other = made(name, tokenizer)
    again = other.train_features(MindDataset(tmp_path))
    assert list(again.columns) == list(features.columns)
    for column, array in features.columns.items():
        assert again.columns[column].dtype == array.dtype, column
        np.testing.assert_array_equal(again.columns[column], array)
    np.testing.assert_equal(again.fillers, features.fillers)
    assert getattr(other, "labels", None) == getattr(task, "labels", None)


@pytest.mark.parametrize("remainder", ["drop", "pad"])
def test_blocks_of_text_come_back_as_they_were_written(remainder, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("a rose is a rose is a rose and no other flower", encoding="utf-8")
    options = [f"--train_dataset.data_loader.remainder={remainder}", "--train_dataset.data_loader.part=[0.0,1.0]"]
    run_file = str(CONFIGS / "gpt2" / "run_gpt2_tiny.yaml")
    command = ["preprocess", run_file, "--to", "mindrecord", "--output", str(tmp_path / "rows"), "--dataset_dir"]
    assert main([*command, str(text), *options]) == 0
    tokenizer = CharacterTokenizer(text)
    loader = TextDataLoader(text, remainder=remainder, cache_dir=str(tmp_path / "cache"))
    features = TextGenerationTask(tokenizer, 32).train_features(loader)
    again = TextGenerationTask(tokenizer, 32).train_features(MindDataset(tmp_path / "rows"))
    assert list(again.columns) == list(features.columns) and again.fillers == features.fillers
    for name, column in features.columns.items():
        np.testing.assert_array_equal(again.columns[name], column[:])


def test_documents_that_are_kept_apart_are_not_written(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("a rose is a rose is a rose", encoding="utf-8")
    task = TextGenerationTask(CharacterTokenizer(text), 8)
    loader = TextDataLoader(text, reset_at_documents=True, cache_dir=str(tmp_path))
    with pytest.raises(UsageError, match="document_ids, which a MindRecord file of tokens cannot hold"):
        task.written(task.train_features(loader))


def test_labels_of_records_can_be_scored(tokenizer, tmp_path):
    task = made("text_classification", tokenizer)
    write_records(tmp_path / "dev.mindrecord", task.train_features(ROWS["text_classification"]).columns)
    data = made("text_classification", tokenizer).eval_features(MindDataset(tmp_path, stage="dev"))
    assert "labels" not in data.features.columns
    assert data.labels.tolist() == [1, 0]


@pytest.mark.parametrize("name", ["question_answering", "token_classification"])
def test_scores_that_need_the_text_are_not_taken_from_records(name, tokenizer, tmp_path):
    with pytest.raises(DataError, match="evaluation reads"):
        made(name, tokenizer).eval_features(MindDataset(tmp_path))


def test_records_without_labels_are_refused_with_their_columns(tokenizer, tmp_path):
    write_records(tmp_path / "train.mindrecord", {"input_ids": np.ones((2, 8), np.int32)})
    with pytest.raises(DataError, match=r"has no column start_positions, end_positions; its columns are input_ids"):
        made("question_answering", tokenizer).train_features(MindDataset(tmp_path))


def test_a_label_that_the_model_has_no_output_for_is_refused(tokenizer, tmp_path):
    rows = {"input_ids": np.ones((2, 8), np.int32), "labels": np.array([0, 2])}
    write_records(tmp_path / "train.mindrecord", rows)
    with pytest.raises(DataError, match="labels run from 0 to 2, but there are 2 outputs"):
        TextClassificationTask(tokenizer, 8, num_labels=2).train_features(MindDataset(tmp_path))


# ---- TFRecord: tf.train.Example, written field by field


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def example(columns):
    features = b""
    for name, values in columns.items():
        if isinstance(values[0], float):
            feature = field(2, field(1, struct.pack(f"<{len(values)}f", *values)))
        else:
            feature = field(3, field(1, b"".join(varint(value) for value in values)))
        features += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, features)


def write_tf_records(file, rows):
    from tensorboard.summary.writer.record_writer import RecordWriter

    with file.open("wb") as stream:
        writer = RecordWriter(stream)
        for row in rows:
            writer.write(example(row))
        writer.flush()
    return file


MNLI = [
    {"input_ids": [101, 7, 300, 102], "input_mask": [1, 1, 1, 1], "segment_ids": [0, 0, 1, 1], "label_ids": [label]}
    for label in (2, 0, 1)
]


def test_records_of_googles_scripts_train_under_our_names(tokenizer, tmp_path):
    write_tf_records(tmp_path / "train.tf_record", MNLI)
    features = TextClassificationTask(tokenizer, 4, num_labels=3).train_features(TFRecordDataset(tmp_path))
    assert list(features.columns) == ["input_ids", "attention_mask", "token_type_ids", "labels"]
    assert features.columns["labels"].tolist() == [2, 0, 1]
    assert features.columns["token_type_ids"][0].tolist() == [0, 0, 1, 1]
    assert {array.dtype for array in features.columns.values()} == {np.dtype(np.int32)}


def test_tf_records_keep_their_order_and_kinds(tmp_path):
    for number, name in enumerate(("a", "b")):
        rows = [{"x": [10 * number + row], "y": [row / 4]} for row in range(3)]
        write_tf_records(tmp_path / f"{name}.tfrecord", rows)
    columns = TFRecordDataset(tmp_path, num_samples=5).columns()
    assert columns["x"].ravel().tolist() == [0, 1, 2, 10, 11]
    assert columns["y"].dtype == np.float32 and columns["y"].ravel().tolist() == [0, 0.25, 0.5, 0, 0.25]


@pytest.mark.parametrize(
    "content, message", [(b"", "holds no record"), (b"no record at all, but some text", "TFRecord")]
)
def test_a_file_that_is_no_tf_record_is_named(tmp_path, content, message):
    (tmp_path / "train.tfrecord").write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        TFRecordDataset(tmp_path).columns()
    assert str(tmp_path) in str(error.value)


# ---- the commands


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    from mindformers.data.corpus import write_corpus

    corpus = tmp_path_factory.mktemp("corpus")
    write_corpus(corpus, seed=1, train_questions=30, dev_questions=10)
    vocabulary = [f"--{part}_dataset.tokenizer.vocab_file={corpus / 'vocab.txt'}" for part in ("train", "eval")]
    return [str(CONFIGS / "qa" / "run_qa_bert_tiny.yaml"), "--dataset_dir", str(corpus), *vocabulary]


def test_preprocess_writes_what_training_reads(flags, tmp_path, capsys):
    command = ["preprocess", *flags, "--to", "mindrecord", "--output", str(tmp_path / "rows")]
    assert main(command) == 0
    assert (
        "rows of input_ids, attention_mask, token_type_ids, start_positions, end_positions" in capsys.readouterr().out
    )
    assert MindDataset(tmp_path / "rows").columns()["input_ids"].shape[1] == 40
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


def test_preview_shows_text_tokens_and_the_marked_answer(flags, capsys):
    assert main(["preview", *flags, "--rows", "2"]) == 0
    shown = capsys.readouterr().out
    assert "train_dataset, row 1" in shown and "train_dataset, row 2" not in shown
    assert shown.count("[CLS]") == 2 and "of padding" in shown
    answer = shown.split("answer")[1].splitlines()[0].strip()
    tokens = next(line for line in shown.splitlines() if line.startswith("tokens"))
    marked = tokens.split("[SEP]")[1].split(" [")[1].split("]")[0]
    assert marked.replace(" ##", "") == answer


def test_preview_of_no_row_is_refused(flags, capsys):
    assert main(["preview", *flags, "--rows", "0"]) == 2
    assert "rows=0" in capsys.readouterr().err

"""MindRecord files written and read, and their rows as a causal model trains on them."""

import shutil

import numpy as np
import pytest

from mindformers.data.records import MindDataset, causal_rows, read_records, write_records
from mindformers.errors import DataError, OutputError, UsageError

ROWS = np.arange(2500 * 9, dtype=np.int32).reshape(2500, 9)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_records(tmp_path_factory.mktemp("records") / "train.mindrecord", {"input_ids": ROWS})


def test_rows_come_back_in_their_order(file):
    columns = MindDataset(file).columns()
    assert list(columns) == ["input_ids"]
    assert np.array_equal(columns["input_ids"], ROWS) and columns["input_ids"].dtype == np.int32


def test_a_folder_gives_the_rows_of_all_its_files_and_num_samples_the_first(tmp_path):
    for name, rows in (("a.mindrecord", ROWS[:3]), ("b.mindrecord", ROWS[3:5])):
        write_records(tmp_path / name, {"input_ids": rows, "labels": rows})
    columns = MindDataset(tmp_path, columns_list=["input_ids"], num_samples=4).columns()
    assert list(columns) == ["input_ids"] and np.array_equal(columns["input_ids"], ROWS[:4])
    chosen = MindDataset(tmp_path, dataset_files=["b.mindrecord"]).columns()
    assert np.array_equal(chosen["labels"], ROWS[3:5])


def test_rows_of_one_token_more_than_the_model_sees_train_as_many_predictions_as_it_sees():
    features = causal_rows({"input_ids": ROWS[:2]}, 8, "rows")
    assert np.array_equal(features.columns["input_ids"], ROWS[:2, :8])
    assert np.array_equal(features.columns["labels"], ROWS[:2])
    assert features.fillers == {"labels": -100}


def test_shorter_rows_stay_whole():
    features = causal_rows({"input_ids": ROWS[:2]}, 20, "rows")
    assert np.array_equal(features.columns["input_ids"], ROWS[:2])


def test_labels_of_the_file_are_kept_and_a_mask_without_labels_makes_them():
    mask = np.ones((2, 9), np.int32)
    mask[:, 6:] = 0
    given = {"input_ids": ROWS[:2], "attention_mask": mask, "labels": ROWS[2:4]}
    features = causal_rows(given, 8, "rows")
    assert np.array_equal(features.columns["labels"], ROWS[2:4])
    assert features.columns["attention_mask"].shape == (2, 8)
    made = causal_rows({"input_ids": ROWS[:2], "attention_mask": mask}, 8, "rows").columns["labels"]
    assert np.array_equal(made, np.where(mask > 0, ROWS[:2], -100))


@pytest.mark.parametrize(
    ("columns", "length", "reason"),
    [
        ({"input_ids": ROWS}, 7, "rows have 9 tokens, but the model takes 2 to 8"),
        ({"tokens": ROWS}, 8, "the columns are tokens; .* takes input_ids"),
        ({"input_ids": ROWS, "labels": ROWS[:, :1]}, 8, "must have the same shape"),
    ],
)
def test_rows_that_do_not_fit_are_told_why(columns, length, reason):
    with pytest.raises(DataError, match=reason):
        causal_rows(columns, length, "rows")


def test_a_damaged_file_is_one_message(file, tmp_path):
    broken = tmp_path / "broken.mindrecord"
    broken.write_bytes(file.read_bytes()[:300])
    with pytest.raises(DataError, match=r"index broken\.mindrecord\.db is missing"):
        MindDataset(broken).columns()
    shutil.copy(f"{file}.db", f"{broken}.db")
    with pytest.raises(DataError, match="not readable as MindRecord.*it may be damaged"):
        MindDataset(broken).columns()


def test_a_column_that_is_not_there_is_named_with_those_that_are(file):
    with pytest.raises(DataError, match="has no column labels; its columns are input_ids"):
        read_records([file], ["labels"])


@pytest.mark.parametrize("place", ["", "/no/where"])
def test_a_path_without_records_says_what_is_needed(place):
    with pytest.raises(DataError, match=f"no MindRecord files at '{place}'"):
        MindDataset(place).columns()


def test_rows_of_unequal_length_are_refused(tmp_path):
    write_records(tmp_path / "a.mindrecord", {"input_ids": ROWS[:2]})
    write_records(tmp_path / "b.mindrecord", {"input_ids": ROWS[:2, :5]})
    with pytest.raises(DataError, match="'input_ids' have 5 to 9 numbers"):
        MindDataset(tmp_path).columns()


def test_writing_replaces_nothing_unasked_and_refuses_columns_that_do_not_fit(file):
    with pytest.raises(OutputError, match="exists already"):
        write_records(file, {"input_ids": ROWS})
    with pytest.raises(DataError, match="equally many"):
        write_records(file, {"input_ids": ROWS, "labels": ROWS[:1]})
    with pytest.raises(UsageError, match="num_samples=0"):
        MindDataset(file, num_samples=0)


def test_of_a_folder_with_splits_the_stage_chooses(tmp_path):
    write_records(tmp_path / "train.mindrecord", {"input_ids": ROWS[:3]})
    write_records(tmp_path / "valid" / "part0.mindrecord", {"input_ids": ROWS[3:4]})
    assert len(MindDataset(tmp_path).columns()["input_ids"]) == 3
    assert len(MindDataset(tmp_path, stage="dev").columns()["input_ids"]) == 1
    with pytest.raises(DataError, match=r"holds train\.mindrecord, valid, but nothing of the split 'test'"):
        MindDataset(tmp_path, stage="test").columns()

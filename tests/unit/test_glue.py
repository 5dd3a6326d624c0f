"""Labelled texts: GLUE's layouts, tables with columns of one's own, labels, and rows that are no use."""

import json

import numpy as np
import pytest

from mindformers.data.glue import GLUE, glue_task
from mindformers.data.labelled_texts import (
    Columns,
    LabelRule,
    TextClassificationDataLoader,
    examples_from,
    found_names,
)
from mindformers.errors import DataError, UnknownNameError, UsageError

LAYOUTS = {
    # task: (file, header line, row, texts, label as the file has it, index)
    "cola": ("train.tsv", None, "gj04\t0\t*\tHe do it.", ("He do it.",), 0),
    "sst2": ("train.tsv", "sentence\tlabel", "so good \t1", ("so good ",), 1),
    "mrpc": ("train.tsv", "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String", '0\t7\t8\ta "b\tc', ('a "b', "c"), 0),
    "qqp": ("train.tsv", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "1\t2\t3\ta?\tb?\t1", ("a?", "b?"), 1),
    "stsb": (
        "train.tsv",
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
        "0\tg\tf\t2012\t1\tn\tn\ta plane\ta train\t3.800",
        ("a plane", "a train"),
        3.8,
    ),
    "mnli": (
        "dev_matched.tsv",
        "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
        "sentence2_parse\tsentence1\tsentence2\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label",
        "0\t1\t1n\tfiction\t( a )\t( b )\t(a)\t(b)\tone\ttwo\te\tn\tn\tn\tn\tneutral",
        ("one", "two"),
        1,
    ),
    "qnli": ("train.tsv", "index\tquestion\tsentence\tlabel", "0\twho?\tme\tnot_entailment", ("who?", "me"), 1),
    "rte": ("train.tsv", "index\tsentence1\tsentence2\tlabel", "0\ta\tb\tentailment", ("a", "b"), 0),
    "wnli": ("train.tsv", "index\tsentence1\tsentence2\tlabel", "0\ta\tb\t1", ("a", "b"), 1),
}
HUB = {
    "cola": {"sentence": "a", "label": 1, "idx": 0},
    "sst2": {"sentence": "a", "label": 1, "idx": 0},
    "mrpc": {"sentence1": "a", "sentence2": "b", "label": 1, "idx": 0},
    "qqp": {"question1": "a", "question2": "b", "label": 1, "idx": 0},
    "stsb": {"sentence1": "a", "sentence2": "b", "label": 1.5, "idx": 0},
    "mnli": {"premise": "a", "hypothesis": "b", "label": 1, "idx": 0},
    "qnli": {"question": "a", "sentence": "b", "label": 1, "idx": 0},
    "rte": {"sentence1": "a", "sentence2": "b", "label": 1, "idx": 0},
    "wnli": {"sentence1": "a", "sentence2": "b", "label": 1, "idx": 0},
}


def rule_of(task):
    return LabelRule(task.labels or None, not task.labels, task.span)


def table(folder, lines, name="train.tsv"):
    file = folder / name
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def read(file, names=None, is_number=False, **options):
    return TextClassificationDataLoader(file, **options).read(LabelRule(names, is_number))


@pytest.mark.parametrize("name", GLUE)
def test_the_published_layout_of_a_task_is_read(tmp_path, name):
    file, header, row, texts, label = LAYOUTS[name]
    table(tmp_path, [*([header] if header else []), row], file)
    task = glue_task(name)
    stage = "dev" if file.startswith("dev") else "train"
    found = TextClassificationDataLoader(tmp_path, stage, task_name=name).read(rule_of(task))
    assert (found.texts, found.pairs) == ([texts[0]], [texts[1]] if len(texts) > 1 else None)
    assert found.labels.tolist() == pytest.approx([label])
    assert found.labels.dtype == (np.int32 if task.labels else np.float32)


@pytest.mark.parametrize("name", GLUE)
def test_a_copy_with_the_column_names_of_the_hub_is_read(tmp_path, name):
    file = tmp_path / "train.jsonl"
    file.write_text(json.dumps(HUB[name]) + "\n", encoding="utf-8")
    found = TextClassificationDataLoader(file, task_name=name).read(rule_of(glue_task(name)))
    assert found.texts == ["a"] and found.labels.tolist() == [HUB[name]["label"]]


@pytest.mark.parametrize(
    "name, folder, counts",
    [("sst2", "SST-2", (67349, 872)), ("mrpc", "MRPC", (3668, 408)), ("stsb", "STS-B", (5749, 1500))],
)
def test_every_row_of_the_real_files_is_used(data_dir, name, folder, counts):
    for stage, count in zip(("train", "dev"), counts):
        loader = TextClassificationDataLoader(data_dir / "glue" / folder, stage, task_name=name)
        assert len(loader.read(rule_of(glue_task(name)))) == count


def test_the_mismatched_split_of_mnli_is_a_stage(tmp_path):
    _, header, row, _, _ = LAYOUTS["mnli"]
    for name, label in (("dev_matched.tsv", "neutral"), ("dev_mismatched.tsv", "contradiction")):
        table(tmp_path, [header, row.replace("neutral", label)], name)
    for stage, index in (("dev", 1), ("dev_mismatched", 2)):
        loader = TextClassificationDataLoader(tmp_path, stage, task_name="mnli")
        assert loader.read(rule_of(glue_task("mnli"))).labels.tolist() == [index]


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
def test_the_splits_of_mnli_have_the_hubs_names_in_its_copies(ending, tmp_path):
    for name, label in (("matched", 1), ("mismatched", 2)):
        row = {**HUB["mnli"], "label": label}
        lines = [json.dumps(row)] if ending == ".jsonl" else [",".join(row), ",".join(map(str, row.values()))]
        table(tmp_path, lines, f"validation_{name}{ending}")
    for stage, index in (("dev", 1), ("dev_matched", 1), ("dev_mismatched", 2)):
        loader = TextClassificationDataLoader(tmp_path, stage, task_name="mnli")
        assert loader.read(rule_of(glue_task("mnli"))).labels.tolist() == [index]


def test_labels_stand_in_the_order_of_the_hub():
    """The class names of the data set nyu-mll/glue, which its label numbers stand for."""
    entailment = ("entailment", "not_entailment")
    assert {name: task.labels for name, task in GLUE.items()} == {
        "cola": ("unacceptable", "acceptable"),
        "sst2": ("negative", "positive"),
        "mrpc": ("not_equivalent", "equivalent"),
        "qqp": ("not_duplicate", "duplicate"),
        "stsb": (),
        "mnli": ("entailment", "neutral", "contradiction"),
        "qnli": entailment,
        "rte": entailment,
        "wnli": ("not_entailment", "entailment"),
    }


def test_every_task_is_scored_as_glue_defines_it():
    scores = {name: task.scores for name, task in GLUE.items()}
    assert scores.pop("cola") == ("matthews_correlation",)
    assert scores.pop("stsb") == ("pearson", "spearmanr")
    assert scores.pop("mrpc") == scores.pop("qqp") == ("accuracy", "f1")
    assert set(scores.values()) == {("accuracy",)}


def test_task_names_are_taken_as_people_write_them():
    assert glue_task("SST-2") is glue_task("sst2") and glue_task("STS_B") is GLUE["stsb"]
    with pytest.raises(UnknownNameError, match="unknown GLUE task 'sts3'"):
        glue_task("sts3")


def test_a_file_that_is_not_the_tasks_names_the_missing_columns(tmp_path):
    file = table(tmp_path, ["sentence\tlabel", "a\t1"])
    message = (
        "column '#1 String' and '#2 String' and 'Quality' is missing; the file has 'sentence', 'label'; for another"
    )
    with pytest.raises(DataError, match=message):
        TextClassificationDataLoader(file, task_name="mrpc").read(rule_of(glue_task("mrpc")))


def test_without_names_the_first_text_columns_and_the_labels_of_the_data_are_taken(tmp_path):
    file = table(tmp_path, ["id,premise,claim,label,note", "1,a cat,a pet,yes,x", "2,a dog,a cat,no,x"], "train.csv")
    found = read(file)
    assert found.columns == Columns(("premise", "claim"), "label")
    assert (found.texts, found.pairs) == (["a cat", "a dog"], ["a pet", "a cat"])
    assert (found.names, found.labels.tolist()) == (("no", "yes"), [1, 0])


def test_columns_can_be_named(tmp_path):
    file = table(tmp_path, ["review,summary,stars", "long text,short,5"], "train.csv")
    found = read(file, text_column="summary", label_column="stars")
    assert (found.texts, found.pairs, found.names) == (["short"], None, ("5",))
    with pytest.raises(DataError, match="column 'grade' is missing; the file has 'review', 'summary', 'stars'"):
        read(file, text_column="summary", label_column="grade")


def test_a_table_without_a_label_column_says_what_it_has(tmp_path):
    file = table(tmp_path, ["review,stars", "long text,5"], "train.csv")
    with pytest.raises(DataError, match=r"the columns are 'review', 'stars'; needed are that of the label \('label'\)"):
        read(file)


def test_later_splits_keep_the_columns_of_the_first(tmp_path):
    file = table(tmp_path, ["claim\tlabel\tnote", "a\tyes\tb"])
    loader = TextClassificationDataLoader(file)
    assert loader.read(LabelRule(), Columns(("claim",), "label")).pairs is None
    assert loader.read(LabelRule()).pairs == ["b"]


def test_labels_that_are_numbers_are_sorted_by_size():
    assert found_names(["10", "9", "10", "-1"]) == ("-1", "9", "10")
    assert found_names(["b", "10", "a"]) == ("10", "a", "b")


@pytest.mark.parametrize(
    "value, index",
    [("bad", 0), ("good", 1), ("1", 1), (1, 1), (1.0, 1), (" good ", 1), ("2", None), ("Good", None), (True, None)],
)
def test_a_label_is_a_name_or_the_number_of_one(value, index):
    rule = LabelRule(("bad", "good"))
    assert bool(rule.problem(value)) == (index is None)
    if index is not None:
        assert examples_from([{"text": "a", "label": value}], rule).labels.tolist() == [index]


def test_digits_that_are_names_themselves_count_nothing():
    found = examples_from([{"text": "a", "label": "2"}], LabelRule(("1", "2")))
    assert found.labels.tolist() == [1]
    assert "'0' is not one of 1, 2" in LabelRule(("1", "2")).problem("0")


def test_digits_number_the_labels_of_the_data_whatever_the_order_of_the_outputs():
    rule = LabelRule(("good", "bad"), numbered=("bad", "good"))
    rows = [{"text": "a", "label": value} for value in ("0", "1", "bad", "good")]
    assert examples_from(rows, rule).labels.tolist() == [1, 0, 1, 0]
    renamed = LabelRule(("no", "yes"), numbered=("bad", "good"))
    assert examples_from(rows[:2], renamed).labels.tolist() == [0, 1]


@pytest.mark.parametrize("value", [None, "", "  ", float("nan")])
def test_a_blank_is_no_label(value):
    assert LabelRule().problem(value) == "it has no label"


BAD = {
    "a label outside the set": ("a\tmaybe", "the label 'maybe' is not one of no, yes"),
    "an empty text": (" \tyes", "'text' is empty"),
    "a label that is missing": ("a\t", "it has no label"),
    "a field that is missing": ("a", "1 field where the header has 2"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_logged_with_its_line_and_the_reason(tmp_path, case, caplog):
    line, reason = BAD[case]
    file = table(tmp_path, ["text\tlabel", *["good\tyes"] * 150, line])
    assert len(read(file, ("no", "yes"))) == 150
    assert f"{file}: 1 of 151 rows rejected" in caplog.text and f"{file}:152: {reason}" in caplog.text


@pytest.mark.parametrize("case", BAD)
def test_too_many_bad_rows_stop_the_run_with_rows_and_reasons(tmp_path, case):
    line, reason = BAD[case]
    file = table(tmp_path, ["text\tlabel", *["good\tyes"] * 20, line])
    with pytest.raises(DataError) as error:
        read(file, ("no", "yes"))
    assert f"{file}:22: {reason}" in str(error.value) and "Labels here are no, yes." in str(error.value)


def test_a_split_without_rows_is_an_error(tmp_path):
    file = table(tmp_path, ["text\tlabel"])
    with pytest.raises(DataError, match=f"{file}: no usable row"):
        read(file)
    with pytest.raises(DataError, match="the dataset: no usable row"):
        examples_from([], LabelRule())


def test_a_score_must_be_a_number_within_the_tasks_span(tmp_path):
    stsb = glue_task("stsb")
    for value, reason in (("high", "'high' is no number"), ("6.0", "'6.0' is not between 0 and 5"), ("nan", "no numb")):
        with pytest.raises(DataError, match=reason):
            examples_from([{"text": "a", "label": value}], rule_of(stsb))


def test_a_label_is_neither_a_list_nor_an_object():
    for value in (["good"], {"good": 1}):
        with pytest.raises(DataError, match="row 0: the label .*good.* is neither text nor a number"):
            examples_from([{"text": "a", "label": value}], LabelRule())


@pytest.mark.parametrize("first", ["1984\tyes", " \tyes"])
def test_of_two_columns_the_other_one_holds_the_text_whatever_stands_in_the_first_row(tmp_path, first):
    found = read(table(tmp_path, ["text\tlabel", first, *["good\tyes"] * 150]))
    assert found.columns.texts == ("text",) and found.texts[-1] == "good"


def test_the_hubs_secret_labels_are_no_labels():
    with pytest.raises(DataError, match="kept secret"):
        examples_from([{"text": "a", "label": -1}], LabelRule(("no", "yes")))


def test_a_dataset_that_gives_no_mappings_says_what_it_should_give():
    with pytest.raises(DataError, match="it must give mappings such as"):
        examples_from(["just text"], LabelRule())
    with pytest.raises(DataError, match="row 0: half a character .* of 'text' is not UTF-8"):
        examples_from([{"text": "a\ud83d", "label": 1}], LabelRule())
    with pytest.raises(DataError, match="row 0: 'text' is 3, it must be text"):
        examples_from([{"text": 3, "label": "x"}], LabelRule(), Columns(("text",), "label"))


def test_options_that_do_not_fit_together_are_refused():
    with pytest.raises(UsageError, match="task_name: sst2 says which columns are used; leave out text_column"):
        TextClassificationDataLoader("x", task_name="sst2", text_column="text")
    with pytest.raises(UsageError, match="text_pair_column is given without text_column"):
        TextClassificationDataLoader("x", text_pair_column="b")
    with pytest.raises(UsageError, match="num_samples=0"):
        TextClassificationDataLoader("x", num_samples=0)


def test_the_first_rows_can_be_taken(tmp_path):
    file = table(tmp_path, ["text\tlabel", "a\tno", "b\tyes", "c\tno"])
    found = read(file, num_samples=2)
    assert (found.texts, found.labels.tolist(), found.names) == (["a", "b"], [0, 1], ("no", "yes"))

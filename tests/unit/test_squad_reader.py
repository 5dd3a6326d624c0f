"""Reading SQuAD v1.1: what is accepted, what is rejected and how it is said."""

from __future__ import annotations

import json
import logging

import pytest

from mindformers.data.squad import Example, examples_from, read_squad, squad_file
from mindformers.errors import DataError

CONTEXT = "My name is Wolfgang and I live in Berlin."


def row(answers, identity="q1", question="Where do I live?"):
    return {"id": identity, "question": question, "answers": answers}


def squad(*rows, context=CONTEXT):
    return {"version": "1.1", "data": [{"title": "People", "paragraphs": [{"context": context, "qas": list(rows)}]}]}


def written(folder, content, name="train-v1.1.json"):
    file = folder / name
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


BERLIN = {"text": "Berlin", "answer_start": 34}
SHIFTED = {"text": "Berlin", "answer_start": 33}
MANY = [row([BERLIN], f"good{index}") for index in range(100)]
"""Beside which one bad row does not stop a run."""


@pytest.fixture
def warnings(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("mindformers"), "propagate", True)
    caplog.set_level(logging.WARNING, logger="mindformers")
    return caplog


def test_a_row_becomes_an_example(tmp_path):
    written(tmp_path, squad(row([BERLIN])))
    examples, rejected = read_squad(tmp_path, "train")
    assert examples == [Example("q1", "Where do I live?", CONTEXT, (("Berlin", 34),))]
    assert rejected == []


def test_one_json_file_is_read_whatever_its_name(tmp_path):
    file = written(tmp_path, squad(row([BERLIN])), "mine.json")
    assert len(read_squad(file, "dev").examples) == 1


def test_the_published_files_are_read_whole(data_dir):
    for split, count in (("train", 4370), ("dev", 1190)):
        examples, rejected = read_squad(data_dir / "squad", split)
        assert (len(examples), len(rejected)) == (count, 0)


def test_a_misplaced_answer_is_rejected_in_training_with_the_text_found_there(tmp_path, warnings):
    written(tmp_path, squad(row([SHIFTED]), *MANY))
    examples, rejected = read_squad(tmp_path, "train")
    assert [item.id for item in examples] == [item["id"] for item in MANY]
    assert rejected[0].place == "question 'q1' of 'People'"
    assert "not at character 33, where ' Berli' stands" in rejected[0].reason and "stands at 34" in rejected[0].reason
    assert "1 of 101 questions rejected" in warnings.text and "'q1' of 'People'" in warnings.text


def test_a_misplaced_answer_is_kept_for_scoring_and_logged(tmp_path, warnings):
    written(tmp_path, squad(row([SHIFTED])), "dev-v1.1.json")
    examples, rejected = read_squad(tmp_path, "dev")
    assert (len(examples), rejected) == (1, [])
    assert "1 question kept although an answer is misplaced" in warnings.text


@pytest.mark.parametrize("answers", [[], None], ids=["empty", "absent"])
@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_row_without_answers_is_rejected(tmp_path, answers, split):
    unanswered = row(answers, "bare")
    if answers is None:
        del unanswered["answers"]
    file = written(tmp_path, squad(unanswered, *MANY))
    examples, rejected = read_squad(file, split)
    assert [item.id for item in examples] == [item["id"] for item in MANY]
    assert "no answers" in rejected[0].reason


def test_a_negative_start_does_not_count_from_the_end(tmp_path):
    file = written(tmp_path, squad(row([{"text": "Berlin", "answer_start": -7}]), *MANY))
    assert [item.place for item in read_squad(file, "train").rejected] == ["question 'q1' of 'People'"]


def test_an_id_that_occurs_twice_is_scored_once(tmp_path):
    file = written(tmp_path, squad(row([BERLIN], "good0"), *MANY))
    examples, rejected = read_squad(file, "dev")
    assert len(examples) == 100 and "occurs twice" in rejected[0].reason


def test_only_the_first_rejections_are_logged_one_by_one(tmp_path, warnings):
    file = written(tmp_path, squad(*(row([SHIFTED], f"q{index}") for index in range(20)), *MANY * 20))
    assert len(read_squad(file, "train").rejected) == 20
    assert "20 of 2020 questions rejected" in warnings.text
    assert "'q4'" in warnings.text and "'q5'" not in warnings.text


def test_too_many_rejected_rows_stop_the_run(tmp_path):
    file = written(tmp_path, squad(row([SHIFTED]), row([], "bare"), *MANY))
    with pytest.raises(DataError, match="2 of 102 questions rejected, more than 1%") as error:
        read_squad(file, "train")
    assert "question 'q1' of 'People'" in str(error.value) and "need version_2_with_negative" in str(error.value)


@pytest.mark.parametrize("question, reason", [(" ", "the question is empty"), ("a\ud83d", "half a character")])
@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_question_that_is_no_text_is_rejected(tmp_path, question, reason, split):
    file = written(tmp_path, squad(row([BERLIN], question=question), *MANY))
    examples, (rejected,) = read_squad(file, split)
    assert len(examples) == 100
    assert rejected.place == "question 'q1' of 'People'" and reason in rejected.reason


def test_an_empty_context_is_rejected(tmp_path):
    with pytest.raises(DataError, match="the context is empty"):
        read_squad(written(tmp_path, squad(row([BERLIN]), context=" ")), "dev")


def test_a_file_whose_rows_are_all_rejected_is_an_error(tmp_path):
    file = written(tmp_path, squad(row([SHIFTED])))
    with pytest.raises(DataError, match="no usable question; the only one was rejected:\n  question 'q1'"):
        read_squad(file, "train")


def test_positions_count_characters_not_bytes(tmp_path):
    file = written(tmp_path, squad(row([{"text": "Zoë", "answer_start": 5}]), context="😀 é, Zoë 中"))
    assert read_squad(file, "train").rejected == []


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "the file is empty"),
        ('{"data": [\n{"title"', r"train-v1.1.json:2: not JSON .* cut off"),
        ("[]", "the top is a list, it must be an object"),
        ({"rows": []}, "key 'data' is missing at the top, which holds 'rows'"),
        ({"data": [{"title": "a"}]}, r"key 'paragraphs' is missing at data\[0\]"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, r"key 'context' is missing at data\[0\].paragraphs\[0\]"),
        (
            {"data": [{"paragraphs": [{"context": "a", "qas": [{"id": "1"}]}]}]},
            r"key 'question' is missing at data\[0\].paragraphs\[0\].qas\[0\]",
        ),
        (squad(row([{"text": "Berlin"}])), r"key 'answer_start' is missing at .*answers\[0\]"),
        (squad(row([{"text": "Berlin", "answer_start": "34"}])), "answer_start is text, it must be a whole number"),
        (squad(row([BERLIN], identity=7)), r"qas\[0\].id is a whole number, it must be text"),
        ({"data": []}, "no usable question"),
    ],
    ids=str,
)
def test_a_file_that_is_no_squad_file_is_refused_saying_where(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_squad(written(tmp_path, content), "train")


def test_a_missing_folder_and_a_missing_file_are_told_apart(tmp_path):
    with pytest.raises(DataError, match="absent: no such folder"):
        squad_file(tmp_path / "absent", "train")
    with pytest.raises(DataError, match=r"absent.json: no such file"):
        squad_file(tmp_path / "absent.json", "train")
    written(tmp_path, squad(row([BERLIN])))
    with pytest.raises(DataError, match=r"dev-v1.1.json: no such file; the folder holds train-v1.1.json"):
        squad_file(tmp_path, "dev")


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(DataError, match="'test'; accepted are 'train' and 'dev'"):
        squad_file(tmp_path, "test")


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"answers": [SHIFTED]}, "not at character 33, where ' Berli' stands"),
        ({"answers": []}, "it has no answers"),
        ({"question": ""}, "the question is empty"),
        ({"question": None}, "the question is None, it must be text"),
        ({"context": " "}, "the context is empty"),
    ],
)
def test_a_row_of_the_users_own_that_cannot_be_used_is_named_with_the_reason(change, reason):
    good = {**row([BERLIN]), "context": CONTEXT}
    assert len(examples_from([good])) == 1
    with pytest.raises(DataError, match=f"row 1 of the dataset: .*{reason}"):
        examples_from([good, {**good, **change}])


def test_a_misplaced_answer_of_the_users_own_counts_in_scoring_by_its_text():
    assert len(examples_from([{**row([SHIFTED]), "context": CONTEXT}], "dev")) == 1

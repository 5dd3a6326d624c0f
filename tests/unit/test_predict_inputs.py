"""What `predict_data` may be: a text, a list, a file of texts or of JSON."""

import pytest

from mindformers.errors import UsageError
from mindformers.runners.predict import inputs


def test_a_text_is_one_input_even_when_it_ends_like_a_file_name():
    assert inputs("The plan is in plan.txt - Where is it?") == ["The plan is in plan.txt - Where is it?"]
    assert inputs("I keep all in plan.txt") == ["I keep all in plan.txt"]


def test_a_list_and_a_mapping_are_taken_as_they_are():
    assert inputs(["a", "b"]) == ["a", "b"]
    assert inputs({"context": "a", "question": "b"}) == [{"context": "a", "question": "b"}]


def test_a_text_file_gives_one_input_a_line(tmp_path):
    (tmp_path / "asked.txt").write_text("one - a?\n\ntwo - b?\n")
    assert inputs(str(tmp_path / "asked.txt")) == ["one - a?", "two - b?"]


def test_json_files_give_their_objects(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    (tmp_path / "x.json").write_text('[{"a": 1}]')
    assert inputs(str(tmp_path / "x.jsonl")) == [{"a": 1}, {"a": 2}]
    assert inputs(str(tmp_path / "x.json")) == [{"a": 1}]


@pytest.mark.parametrize("nothing", [None, [], ""])
def test_no_input_is_an_error(nothing):
    with pytest.raises(UsageError, match="needs input"):
        inputs(nothing or None)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        inputs(str(tmp_path / "nothing.txt"))
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        inputs(str(tmp_path / "x.json"))

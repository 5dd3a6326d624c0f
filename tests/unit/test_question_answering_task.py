"""The question-answering task: features, scoring through MindSpore, input forms, predictions."""

from __future__ import annotations

import json
import logging

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from mindformers.data.loader import FeatureSet, create_dataset
from mindformers.data.squad import SQuADDataLoader
from mindformers.errors import DataError, UsageError
from mindformers.tasks.question_answering import QuestionAnsweringTask
from mindformers.tokenizers.wordpiece import BertTokenizer

WOLFGANG = "My name is Wolfgang and I live in Berlin"
WHERE = "Where do I live?"


@pytest.fixture(scope="module")
def tokenizer(data_dir):
    return BertTokenizer(data_dir / "tokenizers" / "bert-base-uncased" / "vocab.txt")


@pytest.fixture(scope="module")
def task(tokenizer):
    return QuestionAnsweringTask(tokenizer)


@pytest.fixture(scope="module")
def dev(task, data_dir):
    return task.eval_features(data_dir / "squad")


class Pointing:
    """A stand-in for a model: an answer starts at the token `first` and ends at the token `last`, wherever they are."""

    def __init__(self, tokenizer, first, last=None):
        self.first, self.last = (tokenizer.encode_batch([word])[0].ids for word in (first, last or first))
        self.shapes = []

    def __call__(self, batch):
        self.shapes.append(batch["input_ids"].shape)
        context = batch["token_type_ids"] == 1
        return tuple(20.0 * (np.isin(batch["input_ids"], ids) & context) for ids in (self.first, self.last))


def squad_folder(folder, count=5):
    for split, words in (("train", "Berlin"), ("dev", "Wolfgang")):
        rows = [
            {
                "id": f"{split}{index}",
                "question": WHERE,
                "answers": [{"text": words, "answer_start": WOLFGANG.index(words)}],
            }
            for index in range(count)
        ]
        content = {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": WOLFGANG, "qas": rows}]}]}
        (folder / f"{split}-v1.1.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_train_features_have_the_columns_of_the_loss_and_its_ignored_value(tokenizer, tmp_path):
    task = QuestionAnsweringTask(tokenizer, max_seq_len=32, max_question_len=8)
    features = task.train_features(squad_folder(tmp_path))
    assert list(features.columns) == [
        "input_ids",
        "attention_mask",
        "token_type_ids",
        "start_positions",
        "end_positions",
    ]
    assert features.fillers == {"start_positions": 32, "end_positions": 32}
    assert {array.dtype for array in features.columns.values()} == {np.dtype(np.int32)}
    position = features.columns["start_positions"][0]
    assert tokenizer.decode([features.columns["input_ids"][0, position]]) == "berlin"
    assert len(task.train_features(SQuADDataLoader(tmp_path, num_samples=2))) == 2


def test_every_question_of_the_dev_split_is_scored_though_the_last_batch_is_partial(task, dev):
    class Echo(nn.Cell):
        """A model whose logits are the gold labels, which the dataset brings along."""

        def construct(self, start, end, row):
            return row, start, end

    windows, batch_size = dev.windows, 100
    assert len(dev.features) % batch_size
    position = np.arange(windows.input_ids.shape[1])
    labelled = windows.start_positions[:, None] > 0
    gold = FeatureSet(
        {
            name: 9 * ((position == places[:, None]) & labelled).astype(np.float32)
            for name, places in (("start", windows.start_positions), ("end", windows.end_positions))
        }
    )
    dataset = create_dataset(gold, batch_size, shuffle=False, seed=0, with_rows=True)
    network = Echo()
    model = ms.train.Model(network, eval_network=network, metrics={task.metric_name: task.metric(dev)})
    result = model.eval(dataset, dataset_sink_mode=False)
    assert list(result) == ["QA Metric"]
    scores = result["QA Metric"]
    assert (scores["scored"], scores["total"]) == (1190, 1190)
    # One gold answer of 1,190 is cut inside a number, which no token can end on.
    assert scores["exact_match"] == pytest.approx(100 * 1189 / 1190)
    assert scores["f1"] > scores["exact_match"]


def test_features_are_read_from_the_cache_and_equal(tokenizer, tmp_path, monkeypatch):
    folder = squad_folder(tmp_path)
    task = QuestionAnsweringTask(tokenizer, 32, 8, cache_dir=tmp_path / "cache")
    first = task.train_features(folder)
    monkeypatch.setattr("mindformers.tasks.question_answering.build_features", None)
    again = task.train_features(folder)
    for name, column in first.columns.items():
        assert np.array_equal(column, again.columns[name]) and column.dtype == again.columns[name].dtype


@pytest.mark.parametrize("change", ["data", "length", "stride", "tokenizer", "num_samples"])
def test_a_cache_is_not_used_after_anything_changed(tokenizer, tmp_path, change):
    folder, cache = squad_folder(tmp_path), tmp_path / "cache"
    QuestionAnsweringTask(tokenizer, 32, 8, 16, cache_dir=cache).train_features(folder)
    settings, samples = [32, 8, 16], None
    if change == "data":
        squad_folder(tmp_path, count=6)
    elif change == "length":
        settings[0] = 33
    elif change == "stride":
        settings[2] = 15
    elif change == "tokenizer":
        tokenizer.save_pretrained(tmp_path / "tok")
        tokenizer = BertTokenizer(tmp_path / "tok" / "vocab.txt", do_lower_case=False)
    else:
        samples = 3
    QuestionAnsweringTask(tokenizer, *settings, cache_dir=cache).train_features(
        SQuADDataLoader(folder, num_samples=samples)
    )
    assert len(list(cache.iterdir())) == 2


def test_a_damaged_cache_is_built_again_and_said(tokenizer, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("mindformers"), "propagate", True)
    task = QuestionAnsweringTask(tokenizer, 32, 8, cache_dir=tmp_path / "cache")
    first = task.train_features(squad_folder(tmp_path))
    (file,) = (tmp_path / "cache").iterdir()
    content = file.read_bytes()
    for damaged in (content[: len(content) // 2], b"", content[:700] + b"\xff\xff\xff\xff" + content[704:]):
        caplog.clear()
        file.write_bytes(damaged)
        again = task.train_features(tmp_path)
        assert np.array_equal(first.columns["input_ids"], again.columns["input_ids"])
        assert "damaged" in caplog.text
        assert len(file.read_bytes()) == len(content)


def test_a_cache_folder_that_cannot_be_written_costs_one_log_line(tokenizer, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("mindformers"), "propagate", True)
    (tmp_path / "cache").write_text("a file stands here", encoding="utf-8")
    task = QuestionAnsweringTask(tokenizer, 32, 8, cache_dir=tmp_path / "cache")
    assert len(task.train_features(squad_folder(tmp_path))) == 5
    assert len([line for line in caplog.records if "cannot be cached" in line.getMessage()]) == 1


@pytest.mark.parametrize(
    "item",
    [
        f"{WOLFGANG} - {WHERE}",
        (WOLFGANG, WHERE),
        [WOLFGANG, WHERE],
        {"context": WOLFGANG, "question": WHERE},
    ],
    ids=["text", "tuple", "list", "object"],
)
def test_the_accepted_forms_of_an_input_mean_the_same(task, item):
    assert task.parse(item) == (WOLFGANG, WHERE)


def test_a_text_is_parted_at_its_last_separator_so_hyphens_stay(task):
    assert task.parse("A well-known fact - from 1990-1995 - Since when?") == (
        "A well-known fact - from 1990-1995",
        "Since when?",
    )


@pytest.mark.parametrize(
    "item, message",
    [
        ("My name is Wolfgang-Where?", "has no ' - ' between context and question; accepted are"),
        ({"text": WOLFGANG}, r"keys \['text'\]"),
        ((WOLFGANG,), "cannot be read"),
        ({"context": WOLFGANG, "question": " "}, "the question is ' '"),
        (f" - {WHERE}", "the context is ''"),
        ({"context": None, "question": WHERE}, "the context is None"),
        (7, "cannot be read; accepted are the text 'context - question'"),
    ],
    ids=str,
)
def test_an_input_that_cannot_be_read_is_refused_with_the_accepted_forms(task, item, message):
    with pytest.raises(DataError, match=message):
        task.parse(item)


def test_an_answer_has_text_score_and_characters_of_the_context_as_given(task, tokenizer):
    answers = task.predict(Pointing(tokenizer, "berlin"), [f"{WOLFGANG} - {WHERE}"])
    assert answers == [{"text": "Berlin", "score": 1.0, "start": 34, "end": 40}]
    shifted = task.predict(Pointing(tokenizer, "berlin"), [("  😀 " + WOLFGANG, WHERE)])
    assert (shifted[0]["start"], shifted[0]["end"]) == (38, 44)


def test_hyphens_and_case_of_the_context_stay_in_the_answer(task, tokenizer):
    context = "Zoë Müller-Lüdenscheidt - a well-known Actor - met Li"
    answer = task.predict(Pointing(tokenizer, "well", "actor"), [f"{context} - Who?"])[0]
    assert context[answer["start"] : answer["end"]] == answer["text"] == "well-known Actor"


def test_items_of_any_number_go_through_one_batch_shape(task, tokenizer):
    forward = Pointing(tokenizer, "berlin")
    items = [(WOLFGANG, WHERE)] * 3 + [("padding words " * 400 + "Berlin", WHERE)]
    answers = task.predict(forward, items, batch_size=4)
    assert len(answers) == 4
    assert set(forward.shapes) == {(4, 384)}
    assert len(forward.shapes) > 1
    assert (answers[3]["text"], answers[3]["start"]) == ("Berlin", 5600)


def test_top_k_gives_a_list_of_answers_per_item_with_scores_that_fall(task, tokenizer):
    (answers,) = task.predict(Pointing(tokenizer, "wolfgang", "berlin"), (WOLFGANG, WHERE), top_k=3)
    assert answers[0] == {"text": "Wolfgang and I live in Berlin", "score": 1.0, "start": 11, "end": 40}
    assert len(answers) == 3
    assert answers == sorted(answers, key=lambda answer: -answer["score"])
    assert all(WOLFGANG[answer["start"] : answer["end"]] == answer["text"] for answer in answers)


def test_a_context_without_a_token_gets_an_empty_answer(task, tokenizer):
    assert task.predict(Pointing(tokenizer, "berlin"), [("\u200d", WHERE)]) == [
        {"text": "", "score": 0.0, "start": 0, "end": 0}
    ]


def test_no_items_give_no_answers_and_odd_numbers_are_refused(task, tokenizer):
    forward = Pointing(tokenizer, "berlin")
    assert task.predict(forward, []) == []
    with pytest.raises(UsageError, match="top_k=0"):
        task.predict(forward, [(WOLFGANG, WHERE)], top_k=0)
    with pytest.raises(UsageError, match="num_samples=0"):
        task.train_features(SQuADDataLoader("anywhere", num_samples=0))


def test_missing_data_is_named(task, tmp_path):
    with pytest.raises(DataError, match=r"train-v1.1.json: no such file; the folder holds nothing"):
        task.train_features(tmp_path)


def test_answers_hold_whole_words_when_the_settings_say_so(tokenizer):
    items = [("Wolfgangs playgrounds", "What?")]
    pieces = tokenizer.tokenize(items[0][0])
    assert any(piece.startswith("##") for piece in pieces)  # else this test shows nothing

    def forward(batch):
        logits = np.zeros(batch["input_ids"].shape, np.float32)
        begin = list(batch["input_ids"][0]).index(tokenizer.special_ids["sep_token"]) + 1
        inside = next(index for index, piece in enumerate(pieces) if piece.startswith("##"))
        logits[0, begin + inside] = 9.0
        return logits, logits

    (loose,) = QuestionAnsweringTask(tokenizer, 32, 8).predict(forward, items)
    (whole,) = QuestionAnsweringTask(tokenizer, 32, 8, whole_words=True).predict(forward, items)
    assert loose["text"] not in items[0][0].split()
    assert all(word in items[0][0].split() for word in whole["text"].split())

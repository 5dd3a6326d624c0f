"""Questions without an answer: reading, windows, n-best lists and scores, against the rules tried one by one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mindformers.data.qa_features import WindowSettings, build_features
from mindformers.data.squad import Example, SQuADDataLoader, read_squad
from mindformers.errors import DataError
from mindformers.evaluate.span_metric import SpanMetric
from mindformers.evaluate.spans import Answer, SpanSettings, merged, question_answers, window_candidates
from mindformers.evaluate.squad import exact_match, f1
from mindformers.evaluate.squad_v2 import best_threshold, null_margin, score_with_unanswerable
from mindformers.tasks.question_answering import QuestionAnsweringTask
from mindformers.tokenizers.byte_level import GPT2Tokenizer, RobertaTokenizer
from mindformers.tokenizers.sentencepiece_models import AlbertTokenizer
from mindformers.tokenizers.wordpiece import BertTokenizer
from tests.unit.tokenizer_vocabularies import write_albert_model, write_byte_level

CONTEXT = "My name is Wolfgang and I live in Berlin."
BERLIN = {"text": "Berlin", "answer_start": 34}


def row(identity, answers, **more):
    return {"id": identity, "question": "Where do I live?", "answers": answers, **more}


def written(folder, *rows, split="train"):
    content = {"version": "v2.0", "data": [{"title": "People", "paragraphs": [{"context": CONTEXT, "qas": rows}]}]}
    (folder / f"{split}-v2.0.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def bert(data_dir):
    return BertTokenizer(data_dir / "tokenizers" / "bert-base-uncased" / "vocab.txt")


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory, bert):
    folder = tmp_path_factory.mktemp("vocabularies")
    write_byte_level(folder)
    write_albert_model(folder / "spiece.model")
    return {
        "bert": bert,
        "roberta": RobertaTokenizer(folder / "vocab.json", folder / "merges.txt"),
        "albert": AlbertTokenizer(folder / "spiece.model"),
    }


def test_questions_without_an_answer_are_read(tmp_path):
    written(tmp_path, row("a", [BERLIN], is_impossible=False), row("b", [], is_impossible=True), row("c", []))
    examples, rejected = read_squad(tmp_path, "train", unanswerable=True)
    assert [(item.id, len(item.answers)) for item in examples] == [("a", 1), ("b", 0), ("c", 0)]
    assert rejected == []


def test_a_row_that_contradicts_itself_is_rejected(tmp_path):
    right = [row(f"c{index}", [BERLIN]) for index in range(200)]
    written(tmp_path, row("a", [BERLIN], is_impossible=True), row("b", [], is_impossible=False), *right)
    examples, rejected = read_squad(tmp_path, "train", unanswerable=True)
    assert [item.id for item in examples] == [item["id"] for item in right]
    assert [item.reason for item in rejected] == [
        "is_impossible is true, but it has 1 answer",
        "is_impossible is false, but it has 0 answers",
    ]


def test_version_1_says_how_to_read_questions_without_an_answer(tmp_path):
    file = written(tmp_path, row("a", [])) / "train-v2.0.json"
    with pytest.raises(DataError, match="version_2_with_negative: true"):
        read_squad(file, "train")


def test_the_folder_must_hold_the_files_of_the_version(tmp_path):
    with pytest.raises(DataError, match=r"train-v2\.0\.json: no such file"):
        SQuADDataLoader(tmp_path, version_2_with_negative=True).examples()


@pytest.mark.parametrize("family", ["bert", "roberta", "albert"])
def test_windows_lead_back_to_the_answer_in_every_family(tokenizers, family):
    tokenizer = tokenizers[family]
    context = "some words end, some words begin: the 2,500 dogs of the lazy town slept in 1999."
    answers = ["2,500 dogs", "lazy town", "1999", "some words end"]
    examples = [Example(text, "which pieces go on?", context, ((text, context.index(text)),)) for text in answers]
    settings = WindowSettings(96, 24, 16, tokenizer.layout.special_count(True))
    made = build_features(examples, tokenizer, settings, labelled=True)
    held = np.flatnonzero(made.start_positions > 0)
    assert {answers[index] for index in made.example_index[held]} == set(answers)
    starts, ends = made.character_spans(held, made.start_positions[held], made.end_positions[held])
    for window, start, end in zip(held, starts, ends):
        answer = answers[made.example_index[window]]
        assert answer in context[start:end] and context[start:end].strip(" ,.") == answer


@pytest.mark.parametrize("family", ["bert", "roberta", "albert"])
def test_a_window_is_what_the_tokenizer_makes_of_the_pair(tokenizers, family):
    tokenizer = tokenizers[family]
    question, context = "which pieces go on?", "the quick brown fox jumps over the lazy dog"
    settings = WindowSettings(80, 24, 16, tokenizer.layout.special_count(True))
    made = build_features([Example("1", question, context)], tokenizer, settings)
    wanted = tokenizer(question, context, max_length=80, padding="max_length")
    for name, array in wanted.items():
        assert getattr(made, name)[0].tolist() == array.tolist(), name
    if "token_type_ids" not in wanted:
        assert not made.token_type_ids.any()


def test_a_tokenizer_without_a_first_special_token_is_refused(tmp_path):
    write_byte_level(tmp_path, special=("<|endoftext|>",))
    tokenizer = GPT2Tokenizer(tmp_path / "vocab.json", tmp_path / "merges.txt")
    with pytest.raises(DataError, match="GPT2Tokenizer puts no special token before a pair"):
        build_features([Example("1", "what?", "text")], tokenizer, WindowSettings(32, 8, 8, 0))


def test_an_unanswerable_question_points_at_the_first_token(bert):
    examples = [Example("1", "Who?", CONTEXT), Example("2", "Where?", CONTEXT, (("Berlin", 34),))]
    made = build_features(examples, bert, WindowSettings(unanswerable=True), labelled=True)
    assert made.example_index.tolist() == [0, 1]
    assert (made.start_positions[0], made.end_positions[0]) == (0, 0)
    assert made.start_positions[1] > 0


def lists(bert, start, end, threshold, contexts=(CONTEXT,)):
    """The n-best list of the first question from logits by word: {word: logit}, "" standing for the first token."""
    examples = [Example(str(index), "Where?", context) for index, context in enumerate(contexts)]
    made = build_features(examples, bert, WindowSettings(24, 8, 8, unanswerable=True))
    logits = []
    for values in (start, end):
        array = np.full(made.input_ids.shape, -5.0, np.float32)
        for word, value in values.items():
            places = made.input_ids == bert.encode_batch([word])[0].ids[0] if word else np.arange(24)[None] == 0
            array[np.broadcast_to(places, array.shape)] = value
        logits.append(array)
    settings = SpanSettings(n_best_size=5, null_threshold=threshold)
    found = window_candidates(made, np.arange(len(made)), *logits, settings)
    return question_answers(contexts, made, merged([found]), settings)


@pytest.mark.parametrize("threshold, first", [(0.0, ""), (0.99, ""), (1.01, "Berlin"), (-9.0, "")])
def test_no_answer_is_given_when_its_score_is_above_by_more_than_the_threshold(bert, threshold, first):
    (answers,) = lists(bert, {"": 3.0, "Berlin": 2.5}, {"": 3.0, "Berlin": 2.5}, threshold)
    assert answers[0].text == first
    assert [item.text for item in answers].count("") == 1
    assert sum(item.score for item in answers) == pytest.approx(1.0)
    assert null_margin(answers)[0] == pytest.approx(1.0) and null_margin(answers)[1] == "Berlin"
    places = {item.text: (item.start, item.end) for item in answers}
    assert (places[""], places["Berlin"]) == ((0, 0), (34, 40))


def test_the_window_that_doubts_most_that_there_is_no_answer_counts(bert):
    context = " ".join(["the"] * 30) + " Berlin"
    examples = [Example("1", "Where?", context)]
    made = build_features(examples, bert, WindowSettings(24, 8, 8, unanswerable=True))
    assert len(made) > 1
    start = np.zeros(made.input_ids.shape, np.float32)
    start[:, 0] = np.arange(len(made)) + 2.0
    settings = SpanSettings(null_threshold=0.0)
    found = window_candidates(made, np.arange(len(made)), start, np.zeros_like(start), settings)
    (answers,) = question_answers([context], made, merged([found]), settings)
    assert null_margin(answers)[0] == pytest.approx(2.0)


def answer_list(null, span, text):
    weights = np.exp([null, span]) / np.exp([null, span]).sum()
    return [Answer("", weights[0], 0, 0), Answer(text, weights[1], 1, 2)][:: 1 if null > span else -1]


def test_scores_are_those_of_the_rules_and_no_threshold_is_better_than_the_best():
    random = np.random.default_rng(0)
    words = ["red", "blue", "green", "red blue", "the", "blue green"]
    examples, answers = [], {}
    for index in range(60):
        gold = tuple((words[item], 0) for item in random.choice(4, random.integers(0, 3), replace=False))
        examples.append(Example(str(index), "?", "", gold))
        if index % 10:
            answers[str(index)] = answer_list(*random.normal(size=2).round(1), words[random.integers(6)])
    scores = score_with_unanswerable(answers, examples)

    def value(measure, text, item):
        golds = [gold for gold, _ in item.answers] or [""]
        if text in ("", "the"):
            return float(golds == [""])
        return max(measure(text, gold) for gold in golds)

    def total(measure, threshold):
        points = []
        for item in examples:
            found = answers.get(item.id)
            margin, text = null_margin(found) if found else (np.inf, "")
            points.append(value(measure, "" if margin > threshold else text, item))
        return 100.0 * np.mean(points)

    for measure, name, best in ((exact_match, "exact_match", "best_exact"), (f1, "f1", "best_f1")):
        points = {
            item.id: value(measure, answers[item.id][0].text, item) if item.id in answers else 0.0 for item in examples
        }
        assert scores[name] == pytest.approx(100.0 * np.mean(list(points.values())))
        part = "exact" if name == "exact_match" else "f1"
        for prefix, wanted in (("HasAns", True), ("NoAns", False)):
            chosen = [points[item.id] for item in examples if bool(item.answers) is wanted]
            assert scores[f"{prefix}_{part}"] == pytest.approx(100.0 * np.mean(chosen))
        thresholds = [-np.inf, *sorted(null_margin(found)[0] for found in answers.values())]
        assert scores[best] == pytest.approx(max(total(measure, threshold) for threshold in thresholds))
        assert total(measure, scores[f"{best}_thresh"]) == pytest.approx(scores[best])
    assert (scores["scored"], scores["total"]) == (54, 60)


def test_the_best_threshold_may_be_to_give_no_span_at_all():
    best, threshold = best_threshold(np.array([1.0, 2.0]), np.array([0.0, 0.0]), np.array([False, False]))
    assert best == 1.0 and threshold < 1.0


def test_the_metric_scores_files_with_and_without_answers(tmp_path, bert):
    written(tmp_path, row("a", [BERLIN]), row("b", [], is_impossible=True), split="dev")
    task = QuestionAnsweringTask(bert, null_threshold=0.0)
    data = task.eval_features(tmp_path)
    metric = task.metric(data)
    assert isinstance(metric, SpanMetric)
    berlin = bert.encode_batch(["Berlin"])[0].ids[0]
    pointing = 9.0 * (data.windows.input_ids == berlin).astype(np.float32)
    metric.update(np.arange(2), pointing, pointing)
    scores = metric.eval()
    assert (scores["exact_match"], scores["HasAns_exact"], scores["NoAns_exact"]) == (50.0, 100.0, 0.0)
    nowhere = np.zeros_like(pointing)
    nowhere[1, 0] = 30.0
    metric.clear()
    metric.update(np.arange(2), pointing + nowhere, pointing + nowhere)
    assert metric.eval()["exact_match"] == 100.0


def test_a_prediction_says_that_there_is_no_answer(bert):
    task = QuestionAnsweringTask(bert, null_threshold=0.0)

    def forward(batch):
        first = np.zeros(batch["input_ids"].shape, np.float32)
        first[:, 0] = 8.0
        return first, first

    (answer,) = task.predict(forward, [(CONTEXT, "Who is the mayor?")])
    assert (answer["text"], answer["start"], answer["end"]) == ("", 0, 0) and answer["score"] > 0.9

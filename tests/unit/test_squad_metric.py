"""Exact match, F1 and the n-best spans, against hand-computed cases and a reference written from the rules."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mindformers.data.qa_features import WindowSettings, build_features
from mindformers.data.squad import Example, read_squad
from mindformers.errors import DataError
from mindformers.evaluate.span_metric import SpanMetric
from mindformers.evaluate.spans import SpanSettings, largest, merged, question_answers, window_candidates
from mindformers.evaluate.squad import exact_match, f1, normalized, score
from mindformers.tokenizers.wordpiece import BertTokenizer

WORDS = [f"w{number}" for number in range(40)]
LONG = " ".join(WORDS)


def gold(identity, *texts):
    return Example(identity, "?", "", tuple((text, 0) for text in texts))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    file = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    file.write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "q", "cafe", "-", *WORDS]), encoding="utf-8"
    )
    return BertTokenizer(file)


def made(tokenizer, *contexts):
    examples = [Example(str(index), "q", context, (("w1", 0),)) for index, context in enumerate(contexts)]
    return examples, build_features(examples, tokenizer, WindowSettings(20, 2, 5))


def logits(features, scale=3.0, seed=0):
    random = np.random.default_rng(seed)
    return tuple((scale * random.standard_normal(features.input_ids.shape)).astype(np.float32) for _ in range(2))


def reference_spans(features, row, start_logits, end_logits, settings):
    """All valid spans of a window, best first, by trying every pair."""
    begin = features.context_begin[row]
    end = begin + features.context_length[row]
    spans = [
        (start_logits[row, first] + end_logits[row, last], first, last)
        for first in range(begin, end)
        if features.max_context[row, first]
        for last in range(first, min(end, first + settings.max_answer_len))
    ]
    return sorted(spans, key=lambda span: -span[0])[: settings.n_best_size]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("The  Eiffel\tTower!", "eiffel tower"),
        ("an Apple, a Day", "apple day"),
        ("theatre another", "theatre another"),
        ("U.S.A.", "usa"),
        ("well-known", "wellknown"),
        ("“Zoë” — €5", "“zoë” — €5"),
        ("The", ""),
    ],
)
def test_answers_are_normalised_as_published(text, expected):
    assert normalized(text) == expected


@pytest.mark.parametrize(
    "prediction, answer, match, overlap",
    [
        ("Berlin", "berlin.", 1.0, 1.0),
        ("in Berlin", "Berlin", 0.0, 2 / 3),
        ("the cat sat", "a cat sat down", 0.0, 0.8),
        ("no no no", "no", 0.0, 0.5),
        ("Rome", "Berlin", 0.0, 0.0),
        ("", "Berlin", 0.0, 0.0),
        ("the", "a", 1.0, 0.0),
    ],
)
def test_exact_match_and_f1_of_hand_computed_cases(prediction, answer, match, overlap):
    assert exact_match(prediction, answer) == match
    assert f1(prediction, answer) == pytest.approx(overlap, abs=1e-12)


def test_the_best_of_several_answers_counts_and_a_missing_prediction_gives_zero():
    examples = [gold("a", "Berlin", "the city of Berlin"), gold("b", "Rome"), gold("c", "x")]
    assert score({"a": "city of Berlin", "b": "in Rome"}, examples) == {
        "exact_match": pytest.approx(100 / 3),
        "f1": pytest.approx(100 * (1 + 2 / 3) / 3),
        "scored": 2,
        "total": 3,
    }


def test_gold_answers_of_the_squad_dev_split_score_full_marks(data_dir):
    examples = read_squad(data_dir / "squad", "dev").examples
    assert score({item.id: item.answers[0][0] for item in examples}, examples) == {
        "exact_match": 100.0,
        "f1": 100.0,
        "scored": 1190,
        "total": 1190,
    }


def test_nothing_to_score_is_an_error():
    with pytest.raises(DataError, match="no question to score"):
        score({}, [])
    with pytest.raises(DataError, match="'a' has no answer"):
        score({"a": "x"}, [gold("a")])


@pytest.mark.parametrize("longest", [1, 4, 30])
def test_the_best_spans_are_those_that_trying_every_pair_finds(tokenizer, longest):
    _, features = made(tokenizer, LONG, "w1 w2 w3", "w4 w5-w6")
    settings = SpanSettings(n_best_size=6, max_answer_len=longest)
    start, end = logits(features)
    found = window_candidates(features, np.arange(len(features)), start, end, settings)
    for row in range(len(features)):
        expected = reference_spans(features, row, start, end, settings)
        valid = np.isfinite(found.scores[row])
        assert found.scores[row][valid] == pytest.approx([span[0] for span in expected])
        begins, ends = features.character_spans(
            np.full(len(expected), row),
            np.array([span[1] for span in expected], int),
            np.array([span[2] for span in expected], int),
        )
        assert found.starts[row][valid].tolist() == begins.tolist()
        assert found.ends[row][valid].tolist() == ends.tolist()


def test_high_logits_outside_the_context_give_no_answer(tokenizer):
    _, features = made(tokenizer, "w1 w2 w3")
    start, end = logits(features)
    outside = features.token_type_ids[0] == 0
    start[0, outside] = end[0, outside] = 1000.0
    end[0, 3 + 3] = 1000.0  # the last [SEP]
    found = window_candidates(features, np.array([0]), start, end, SpanSettings())
    assert found.scores[np.isfinite(found.scores)].max() < 100


def test_a_start_counts_only_in_the_window_with_most_context(tokenizer):
    _, features = made(tokenizer, LONG)
    start, end = logits(features, scale=0.1)
    row = int(np.nonzero(features.max_context[1])[0][-1])
    neighbour = row - 5  # the same token stands five positions earlier in the next window
    assert not features.max_context[2, neighbour]
    start[2, neighbour] = end[2, neighbour] = 1000.0
    found = window_candidates(features, np.array([2]), start, end, SpanSettings())
    assert found.scores.max() < 1001


def test_text_keeps_hyphens_case_spaces_and_accents(tokenizer):
    context = "W1  -\u2003Cafe\u0301 w2"
    _, features = made(tokenizer, context)
    start, end = logits(features, scale=0.1)
    start[0, 3] = end[0, 5] = 50.0
    found = window_candidates(features, np.array([0]), start, end, SpanSettings())
    best = question_answers([context], features, found, SpanSettings())[0][0]
    assert (best.text, best.start, best.end) == ("W1  -\u2003Cafe\u0301", 0, 11)


def test_scores_are_the_softmax_over_the_list_of_different_texts(tokenizer):
    context = "w1 w2 w1"
    _, features = made(tokenizer, context)
    start, end = (np.zeros(features.input_ids.shape, np.float32) for _ in range(2))
    start[0, 3:6], end[0, 3:6] = [2.0, 1.0, 0.5], [0.3, 0.2, 0.1]
    settings = SpanSettings(n_best_size=20, max_answer_len=1)
    answers = question_answers(
        [context], features, window_candidates(features, np.array([0]), start, end, settings), settings
    )[0]
    weights = [math.exp(2.3), math.exp(1.2)]
    assert [(answer.text, answer.start) for answer in answers] == [("w1", 0), ("w2", 3)]
    assert [answer.score for answer in answers] == pytest.approx([item / sum(weights) for item in weights], rel=1e-6)


def test_windows_of_a_question_compete_whatever_batches_they_came_in(tokenizer):
    contexts = [LONG, "w1 w2", LONG]
    _, features = made(tokenizer, *contexts)
    start, end = logits(features)
    settings = SpanSettings(n_best_size=5, max_answer_len=4)
    rows = np.random.default_rng(1).permutation(len(features))
    parts = [window_candidates(features, part, start[part], end[part], settings) for part in np.split(rows, [3, 4])]
    answers = question_answers(contexts, features, merged(parts), settings)
    for question in range(3):
        spans = [
            span
            for row in np.nonzero(features.example_index == question)[0]
            for span in reference_spans(features, row, start, end, settings)
        ]
        weights = np.exp(sorted((float(span[0]) for span in spans), reverse=True)[:5])
        assert answers[question][0].score == pytest.approx(weights[0] / weights.sum(), rel=1e-5)


def test_logits_that_are_no_numbers_are_an_error(tokenizer):
    _, features = made(tokenizer, "w1 w2", "w3")
    start, end = logits(features)
    end[1, 5] = np.nan
    with pytest.raises(DataError, match="no finite numbers for window 1"):
        window_candidates(features, np.arange(2), start, end, SpanSettings())


def test_largest_gives_the_earlier_of_equals_first():
    assert largest(np.array([[1.0, 3.0, 3.0, 2.0]]), 3).tolist() == [[1, 2, 3]]


def test_filler_rows_do_not_count_and_clear_forgets(tokenizer):
    examples, features = made(tokenizer, "w1 w2", "w3 w1")
    start, end = (np.zeros(features.input_ids.shape, np.float32) for _ in range(2))
    start[0, 3] = end[0, 3] = 9.0
    start[1, 4] = end[1, 4] = 9.0
    metric = SpanMetric(examples, features, SpanSettings())
    metric.update(np.array([1, -1, -1]), start[[1, 0, 0]], end[[1, 0, 0]])
    assert metric.result() == {"exact_match": 50.0, "f1": 50.0, "scored": 1, "total": 2}
    metric.update(np.array([0]), start[:1], end[:1])
    assert metric.eval() == {"exact_match": 100.0, "f1": 100.0, "scored": 2, "total": 2}
    metric.clear()
    assert metric.result()["scored"] == 0


def test_a_context_without_tokens_gets_an_empty_prediction(tokenizer):
    examples, features = made(tokenizer, "w1", " ")
    metric = SpanMetric(examples, features, SpanSettings())
    metric.update(np.arange(2), *logits(features))
    assert metric.predictions()["1"] == ""
    assert metric.result()["scored"] == 2


def test_inputs_of_the_wrong_shape_are_refused(tokenizer):
    examples, features = made(tokenizer, "w1")
    metric = SpanMetric(examples, features, SpanSettings())
    with pytest.raises(DataError, match=r"do not fit 2 windows; expected is \(2, 20\)"):
        metric.update(np.array([0, -1]), *logits(features))
    with pytest.raises(DataError, match="got 2 inputs"):
        metric.update(*logits(features))

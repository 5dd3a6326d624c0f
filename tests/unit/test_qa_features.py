"""Windows of questions and contexts: layout, labels, most context, caches."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from mindformers.data.qa_features import WindowSettings, build_features, most_context_bounds, window_places
from mindformers.data.squad import Example, read_squad
from mindformers.errors import DataError
from mindformers.evaluate.squad import normalized
from mindformers.tokenizers.wordpiece import BertTokenizer

WORDS = [f"w{number}" for number in range(40)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    file = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    file.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "q", "cafe", *WORDS]), encoding="utf-8")
    return BertTokenizer(file)


@pytest.fixture(scope="module")
def uncased(data_dir):
    return BertTokenizer(data_dir / "tokenizers" / "bert-base-uncased" / "vocab.txt")


def example(context, answer=None, question="q", occurrence=0):
    if answer is None:
        return Example("1", question, context)
    start = -1
    for _ in range(occurrence + 1):
        start = context.index(answer, start + 1)
    return Example("1", question, context, ((answer, start),))


def windows(tokenizer, item, **settings):
    return build_features([item], tokenizer, WindowSettings(**settings))


def reference_most_context(starts, lengths):
    """The published rule, token by token: returns window -> set of tokens."""
    won = {index: [] for index in range(len(starts))}
    for token in range(starts[-1] + lengths[-1]):
        scores = [
            (min(token - start, start + length - 1 - token) + 0.01 * length, -index)
            for index, (start, length) in enumerate(zip(starts, lengths))
            if start <= token < start + length
        ]
        won[-max(scores)[1]].append(token)
    return won


def test_a_window_is_cls_question_sep_context_sep_padding(tokenizer):
    made = windows(tokenizer, example("w0 w1 w2", "w1", "q q"), max_seq_len=10, max_question_len=4)
    base = tokenizer.special_ids["mask_token"] + 1
    q, w = base, base + 2
    assert made.input_ids.tolist() == [[2, q, q, 3, w, w + 1, w + 2, 3, 0, 0]]
    assert made.attention_mask.tolist() == [[1, 1, 1, 1, 1, 1, 1, 1, 0, 0]]
    assert made.token_type_ids.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1, 0, 0]]
    assert (made.start_positions.tolist(), made.end_positions.tolist()) == ([5], [5])
    assert made.max_context.tolist() == [[False] * 4 + [True] * 3 + [False] * 3]
    assert all(array.dtype == np.int32 for name, array in made.arrays().items() if name != "max_context")


def test_a_long_question_is_cut_at_its_end(tokenizer):
    made = windows(tokenizer, example("w0 w1", "w1", "w9 q q q q"), max_seq_len=10, max_question_len=2)
    assert tokenizer.decode(made.input_ids[0]) == "w9 q w0 w1"


def test_long_contexts_are_cut_into_overlapping_windows(tokenizer):
    made = windows(tokenizer, example(" ".join(WORDS[:10]), "w5 w6"), max_seq_len=8, max_question_len=2, doc_stride=3)
    shown = [tokenizer.decode(ids) for ids in made.input_ids]
    assert shown == ["q w0 w1 w2 w3", "q w3 w4 w5 w6", "q w6 w7 w8 w9"]


def test_an_answer_at_the_edge_of_a_window_is_found_and_a_cut_one_points_at_cls(tokenizer):
    context = " ".join(WORDS[:10])
    settings = {"max_seq_len": 8, "max_question_len": 2, "doc_stride": 3}
    at_edges = windows(tokenizer, example(context, "w3"), **settings)
    assert at_edges.start_positions.tolist() == [6, 3, 0]
    assert at_edges.end_positions.tolist() == [6, 3, 0]
    cut = windows(tokenizer, example(context, "w2 w3 w4"), **settings)
    assert cut.start_positions.tolist() == cut.end_positions.tolist() == [0, 0, 0]
    last = windows(tokenizer, example(context, "w9"), **settings)
    assert last.start_positions.tolist() == [0, 0, 6]


def test_an_answer_inside_a_token_covers_that_token(tokenizer):
    made = windows(tokenizer, example("w0 w12 w1", "12"), max_seq_len=10, max_question_len=4)
    assert (made.start_positions[0], made.end_positions[0]) == (4, 4)


def test_offsets_survive_emoji_accents_hyphens_and_odd_spaces(tokenizer):
    context = "😀😀  w0\u2003Café-w1—w2"
    made = windows(tokenizer, example(context, "Café-w1"), max_seq_len=16, max_question_len=4)
    begin, end = made.character_spans(np.array([0]), made.start_positions, made.end_positions)
    assert context[begin[0] : end[0]] == "Café-w1"


def test_every_token_scores_in_exactly_one_window(tokenizer):
    made = windows(tokenizer, example(" ".join(WORDS)), max_seq_len=20, max_question_len=2, doc_stride=3)
    assert len(made) > 5
    row, position = np.nonzero(made.max_context)
    tokens = made.first_token[row] + position - made.context_begin[row]
    assert sorted(tokens.tolist()) == list(range(len(WORDS)))


def test_most_context_follows_the_published_rule():
    checked = 0
    for total in (1, 7, 30, 41, 58, 63):
        for room, stride in ((10, 3), (16, 8), (16, 1), (20, 30), (31, 15)):
            starts, lengths = window_places(total, room, stride)
            expected = reference_most_context(starts, lengths)
            for index, (begin, end) in enumerate(most_context_bounds(starts, lengths)):
                assert list(range(starts[index] + begin, starts[index] + end)) == expected[index]
                checked += 1
    assert checked > 100


def test_a_stride_longer_than_a_window_leaves_no_token_out():
    assert window_places(10, 4, 100) == ([0, 4, 8], [4, 4, 2])


def test_a_context_without_tokens_still_gives_a_window(tokenizer):
    made = windows(tokenizer, example("  "), max_seq_len=8, max_question_len=2)
    assert made.input_ids.tolist() == [[2, 5, 3, 3, 0, 0, 0, 0]]
    assert not made.max_context.any()


def test_contexts_are_shared_between_their_questions(tokenizer):
    made = build_features(
        [example("w0 w1", "w1"), example("w2"), example("w0 w1", "w0")], tokenizer, WindowSettings(10, 2, 4)
    )
    assert len(made.token_spans) == 3
    assert made.first_token.tolist() == [0, 2, 0]


def test_a_question_whose_answer_has_no_token_is_left_out_of_training_and_logged(tokenizer, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("mindformers"), "propagate", True)
    invisible = Example("ghost", "q", "w0 \u200d w1", (("\u200d", 3),))
    made = build_features([invisible, example("w0 w1", "w1")], tokenizer, WindowSettings(10, 2, 4), labelled=True)
    assert made.example_index.tolist() == [1]
    assert "1 of 2 questions left out" in caplog.text and "'ghost'" in caplog.text
    with pytest.raises(DataError, match="none of 1 questions"):
        build_features([invisible], tokenizer, WindowSettings(10, 2, 4), labelled=True)


def test_lengths_that_leave_no_room_are_refused_with_the_numbers():
    with pytest.raises(DataError, match=r"max_seq_len=64, max_question_len=64.* -3 tokens"):
        WindowSettings(max_seq_len=64)
    with pytest.raises(DataError, match="doc_stride=0"):
        WindowSettings(doc_stride=0)


def test_labels_of_the_squad_train_split_lead_back_to_the_answers(data_dir, uncased):
    """All 4,370 answers lie in a window; the exceptions are answers that begin or end inside a word."""
    examples = read_squad(data_dir / "squad", "train").examples
    made = build_features(examples, uncased, WindowSettings(), labelled=True)
    rows = np.nonzero(made.start_positions)[0]
    assert len(set(made.example_index[rows].tolist())) == len(examples) == 4370
    begins, ends = made.character_spans(rows, made.start_positions[rows], made.end_positions[rows])
    different = {}
    for row, begin, end in zip(rows, begins, ends):
        item = examples[made.example_index[row]]
        answer, start = item.answers[0]
        if normalized(item.context[begin:end]) != normalized(answer):
            different[item.id] = (answer, item.context[begin:end])
            assert begin <= start and end >= start + len(answer)
    assert len(different) == 27, different  # 0.6 %: annotations that cut a word, as "Rober" of "Roberson"

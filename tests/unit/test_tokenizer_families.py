"""Each family on a tiny vocabulary: special tokens, sides, options, offsets, decoding, saving."""

import numpy as np
import pytest

from mindformers.errors import DataError, MissingExtraError, UnknownNameError, UsageError
from mindformers.tokenizers.byte_level import BloomTokenizer, GPT2Tokenizer, RobertaTokenizer
from mindformers.tokenizers.sentencepiece_models import (
    AlbertTokenizer,
    BaichuanTokenizer,
    InternLMTokenizer,
    LlamaTokenizer,
    T5Tokenizer,
)
from tests.unit import tokenizer_vocabularies as vocabularies

pytest.importorskip("sentencepiece", reason="needs: pip install 'mindformers[sentencepiece]'")
TEXT = "the  lazy dög 😀"
WRITERS = {
    GPT2Tokenizer: lambda folder: vocabularies.write_byte_level(folder, ["<|endoftext|>"]),
    RobertaTokenizer: vocabularies.write_byte_level,
    BloomTokenizer: vocabularies.write_byte_level,
    LlamaTokenizer: lambda folder: vocabularies.write_bpe_model(folder / "tokenizer.model"),
    BaichuanTokenizer: lambda folder: vocabularies.write_bpe_model(folder / "tokenizer.model"),
    InternLMTokenizer: lambda folder: vocabularies.write_bpe_model(folder / "tokenizer.model"),
    AlbertTokenizer: lambda folder: vocabularies.write_albert_model(folder / "spiece.model"),
    T5Tokenizer: lambda folder: vocabularies.write_t5_model(folder / "spiece.model"),
}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    folders = {}

    def make(cls):
        if cls not in folders:
            folders[cls] = tmp_path_factory.mktemp(cls.__name__)
            WRITERS[cls](folders[cls])
        return folders[cls]

    return make


@pytest.fixture
def load(folder_of):
    return lambda cls, **options: cls.from_pretrained(folder_of(cls), **options)


def around(tokenizer, *texts, **options):
    """Return the tokens of a text or pair, runs of ordinary ones as the letter of their text."""
    ids = tokenizer(*texts, **options)["input_ids"].tolist()
    made = [tokenizer.convert_ids_to_tokens(item) if item in tokenizer.special_ids.values() else "." for item in ids]
    return " ".join(item for place, item in enumerate(made) if item != "." or made[place - 1 : place] != ["."])


@pytest.mark.parametrize(
    "cls, options, single, pair",
    [
        (GPT2Tokenizer, {}, ".", "."),
        (GPT2Tokenizer, {"add_bos_token": True}, "<|endoftext|> .", "<|endoftext|> . <|endoftext|> ."),
        (RobertaTokenizer, {}, "<s> . </s>", "<s> . </s> </s> . </s>"),
        (BloomTokenizer, {}, ".", "."),
        (LlamaTokenizer, {}, "<s> .", "<s> . <s> ."),
        (LlamaTokenizer, {"add_bos_token": False, "add_eos_token": True}, ". </s>", ". </s> . </s>"),
        (BaichuanTokenizer, {}, "<s> .", "<s> . <s> ."),
        (InternLMTokenizer, {"add_eos_token": True}, "<s> . </s>", "<s> . </s>"),
        (AlbertTokenizer, {}, "[CLS] . [SEP]", "[CLS] . [SEP] . [SEP]"),
        (T5Tokenizer, {}, ". </s>", ". </s> . </s>"),
    ],
)
def test_each_family_puts_its_special_tokens_around_texts(load, cls, options, single, pair):
    tokenizer = load(cls, **options)
    assert around(tokenizer, "the dog") == single
    assert around(tokenizer, "the dog", "the fox") == pair
    assert around(tokenizer, "the dog", add_special_tokens=False) == "."


@pytest.mark.parametrize("cls", list(WRITERS))
def test_saving_and_loading_changes_nothing(load, cls, tmp_path):
    tokenizer = load(cls, model_max_length=77, additional_special_tokens=["o"])
    tokenizer.truncation_side = "left"
    tokenizer.save_pretrained(tmp_path)
    again = cls.from_pretrained(tmp_path)
    assert again.digest() == tokenizer.digest()
    assert (again.model_max_length, again.truncation_side) == (77, "left")
    assert again.special_ids == tokenizer.special_ids and again.vocab_size == tokenizer.vocab_size
    assert again.tokenize(TEXT) == tokenizer.tokenize(TEXT)
    assert again("a", "b")["input_ids"].tolist() == tokenizer("a", "b")["input_ids"].tolist()


@pytest.mark.parametrize("cls", [GPT2Tokenizer, RobertaTokenizer, BloomTokenizer, LlamaTokenizer, BaichuanTokenizer])
def test_a_kind_with_a_piece_for_every_byte_gives_back_any_text(load, cls):
    tokenizer = load(cls)
    assert tokenizer.decode(tokenizer("ḍog\t汉字 😀\n")["input_ids"]) == "ḍog\t汉字 😀\n"


@pytest.mark.parametrize("cls", [RobertaTokenizer, AlbertTokenizer, T5Tokenizer])
def test_offsets_of_an_encoder_leave_white_space_out(load, cls):
    tokens = load(cls).encode_batch([" the  dog"])[0]
    words = [" the  dog"[begin:end] for begin, end in tokens.offsets]
    assert "".join(words) == "thedog" and not any(" " in word for word in words)


def test_every_byte_of_a_character_has_the_place_of_the_character(load):
    tokenizer = load(LlamaTokenizer)
    tokens = tokenizer.encode_batch(["the 😀"])[0]
    assert tokens.offsets[-4:].tolist() == [[4, 5]] * 4
    assert tokens.ids.dtype == tokens.offsets.dtype == np.int32


def test_the_leading_space_of_a_stretch_follows_legacy_and_add_prefix_space(load):
    text = "the</s>the"
    assert load(LlamaTokenizer).tokenize(text)[0] == "▁the"
    assert load(LlamaTokenizer, legacy=True).tokenize(text) == ["▁the", "</s>", "▁the"]
    assert "▁the" not in load(LlamaTokenizer).tokenize(text)[1:]
    assert not load(LlamaTokenizer, add_prefix_space=False).tokenize(text)[0].startswith("▁")
    assert load(BaichuanTokenizer).tokenize(text) == load(InternLMTokenizer).tokenize(text)


def test_byte_level_takes_a_leading_space_when_asked(load):
    assert load(GPT2Tokenizer).tokenize("the")[0] == "the"
    assert load(GPT2Tokenizer, add_prefix_space=True).tokenize("the")[0] == "Ġthe"


def test_albert_cleans_text_as_its_options_say(load):
    plain, kept = load(AlbertTokenizer), load(AlbertTokenizer, keep_accents=True, do_lower_case=False)
    assert plain.tokenize("ThÉ  ``dog''") == plain.tokenize('the "dog"')
    assert plain.unk_token_id not in plain("thé")["input_ids"]
    assert kept.unk_token_id in kept("thé")["input_ids"]
    assert kept.unk_token_id in kept("THE")["input_ids"]


def test_albert_parts_a_digit_from_the_comma_behind_it(load):
    tokenizer = load(AlbertTokenizer)
    assert "9," in tokenizer._backend.vocabulary()
    assert "9," not in tokenizer.tokenize("1999, dog")
    tokens = tokenizer.encode_batch(["1999, dog"])[0]
    assert tokens.ids.tolist() == tokenizer("1999, dog", add_special_tokens=False)["input_ids"].tolist()
    places = ["1999, dog"[begin:end] for begin, end in tokens.offsets]
    assert "".join(places) == "1999,dog" and "," in places


def test_t5_sentinels_stand_behind_the_vocabulary_the_first_last(load):
    tokenizer = load(T5Tokenizer, extra_ids=3)
    last = tokenizer.vocab_size - 1
    assert tokenizer.convert_tokens_to_ids(["<extra_id_0>", "<extra_id_2>"]) == [last, last - 2]
    assert "<extra_id_1>" in tokenizer.tokenize("a<extra_id_1>b")
    assert tokenizer.decode(tokenizer("the <extra_id_0> dog")["input_ids"]) == "the dog"


def test_only_the_families_with_two_segments_return_types(load):
    assert set(load(AlbertTokenizer)("the", "dog")) == {"input_ids", "attention_mask", "token_type_ids"}
    assert load(AlbertTokenizer)("the", "dog")["token_type_ids"].tolist()[-1] == 1
    assert set(load(RobertaTokenizer)("the", "dog")) == {"input_ids", "attention_mask"}


def test_padding_and_truncation_stand_on_the_side_that_is_asked_for(load):
    tokenizer = load(BloomTokenizer)
    whole = tokenizer("the quick brown fox")["input_ids"].tolist()
    padded = tokenizer("the quick brown fox", max_length=len(whole) + 2, padding="max_length")
    assert padded["input_ids"].tolist() == [tokenizer.pad_token_id] * 2 + whole
    assert padded["attention_mask"].tolist() == [0, 0] + [1] * len(whole)
    left = load(BloomTokenizer, truncation_side="left", padding_side="right")
    assert left("the quick brown fox", max_length=3, truncation=True)["input_ids"].tolist() == whole[-3:]
    with pytest.raises(UsageError, match="accepted are"):
        load(BloomTokenizer, padding_side="both")


def test_padding_without_a_pad_token_says_how_to_get_one(load):
    with pytest.raises(UsageError, match="load it with pad_token"):
        load(LlamaTokenizer)(["the", "the quick fox"], padding=True)
    assert load(LlamaTokenizer, pad_token="</s>")(["the", "the quick fox"], padding=True)["input_ids"][0, 0] == 2


def test_padding_to_an_unlimited_length_is_refused(load):
    with pytest.raises(UsageError, match="give max_length"):
        load(BloomTokenizer)("the", padding="max_length")


def test_tokens_and_ids_are_looked_up_both_ways(load):
    tokenizer = load(RobertaTokenizer)
    assert tokenizer.convert_ids_to_tokens(tokenizer.convert_tokens_to_ids(["<s>", "Ġthe"])) == ["<s>", "Ġthe"]
    assert tokenizer.convert_tokens_to_ids("no such") == tokenizer.unk_token_id
    with pytest.raises(UsageError, match=f"the ids 0 to {tokenizer.vocab_size - 1}"):
        tokenizer.convert_ids_to_tokens(tokenizer.vocab_size)
    with pytest.raises(UsageError, match="no unk_token"):
        load(RobertaTokenizer, unk_token=None).convert_tokens_to_ids("no such")


def test_pieces_inside_words_are_told_from_those_that_begin_one(load):
    for cls, begins in ((RobertaTokenizer, "Ġthe"), (LlamaTokenizer, "▁the")):
        tokenizer = load(cls)
        inside = tokenizer.continuations()
        assert inside.shape == (tokenizer.vocab_size,)
        assert not inside[tokenizer.convert_tokens_to_ids(begins)] and inside[tokenizer.convert_tokens_to_ids("e")]
        assert not inside[tokenizer.bos_token_id]


def test_a_mask_takes_the_space_before_it(load):
    assert load(RobertaTokenizer).tokenize("the <mask>") == ["the", "<mask>"]
    assert load(AlbertTokenizer).encode_batch(["the [MASK]"])[0].offsets[-1].tolist() == [4, 10]


def test_decoding_can_take_spaces_from_punctuation(load):
    ids = load(GPT2Tokenizer)("the dog 's tail .")["input_ids"]
    assert load(GPT2Tokenizer).decode(ids) == "the dog 's tail ."
    assert load(GPT2Tokenizer, clean_up_tokenization_spaces=True).decode(ids) == "the dog's tail."


def test_a_conversation_becomes_ids_without_further_special_tokens(load):
    tokenizer = load(LlamaTokenizer)
    talk = [{"role": "user", "content": "the dog"}]
    text = tokenizer.apply_chat_template(talk, "llama2", tokenize=False)
    assert text == "<s>[INST] the dog [/INST]"
    ids = tokenizer.apply_chat_template(talk, "llama2")
    assert ids.dtype == np.int32 and ids.tolist().count(tokenizer.bos_token_id) == 1
    assert ids.tolist() == tokenizer(text, add_special_tokens=False)["input_ids"].tolist()


def test_an_unknown_option_is_refused_with_the_nearest_one(folder_of):
    with pytest.raises(UnknownNameError, match="unknown option of LlamaTokenizer 'add_bos'.*'add_bos_token'"):
        LlamaTokenizer(folder_of(LlamaTokenizer) / "tokenizer.model", add_bos=True)


def test_a_special_token_without_id_is_refused_unless_it_is_given_up(folder_of):
    file = folder_of(LlamaTokenizer) / "tokenizer.model"
    with pytest.raises(DataError, match=r"tokenizer.model: the vocabulary .* has no pad_token '\[PAD\]'"):
        LlamaTokenizer(file, pad_token="[PAD]")
    with pytest.raises(DataError, match="no additional_special_tokens '<x>'"):
        LlamaTokenizer(file, additional_special_tokens=["<x>"])
    assert LlamaTokenizer(file, eos_token=None).eos_token_id is None


@pytest.mark.parametrize("content, message", [(b"garbage", "not a SentencePiece .model"), (b"", "is empty")])
def test_a_corrupt_model_is_refused_naming_the_file(tmp_path, content, message):
    (tmp_path / "spiece.model").write_bytes(content)
    with pytest.raises(DataError, match=f"spiece.model: {message}"):
        T5Tokenizer.from_pretrained(tmp_path)
    with pytest.raises(DataError, match="no such vocabulary file"):
        T5Tokenizer(tmp_path / "absent.model")


def test_without_sentencepiece_the_package_to_install_is_named(folder_of, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mindformers\[sentencepiece\]'"):
        LlamaTokenizer.from_pretrained(folder_of(LlamaTokenizer))


def test_the_digest_tells_options_apart(load):
    assert load(AlbertTokenizer).digest() != load(AlbertTokenizer, do_lower_case=False).digest()
    assert load(LlamaTokenizer).digest() != load(LlamaTokenizer, legacy=True).digest()
    assert load(AlbertTokenizer).digest() == load(AlbertTokenizer, padding_side="left").digest()


def test_options_are_given_by_name(folder_of):
    with pytest.raises(UsageError, match="its vocabulary is one file; give options by name"):
        LlamaTokenizer(folder_of(LlamaTokenizer) / "tokenizer.model", True)

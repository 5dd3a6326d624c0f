"""Text to documents to tokens to blocks: nothing lost but what is said, and borders where they are asked for."""

import gzip
import json
import logging

import numpy as np
import pytest

from mindformers.data.loader import create_dataset
from mindformers.data.pack import IGNORED, BlockSource, Tokens, check_tokens, pack
from mindformers.data.text_documents import TextDataLoader, texts_from, tokens_of
from mindformers.errors import DataError, UsageError
from mindformers.tokenizers.characters import CharacterTokenizer

ALL = slice(None)


@pytest.fixture
def said(caplog):
    logging.getLogger("mindformers").propagate = True
    caplog.set_level(logging.INFO, "mindformers")
    return caplog


def stream(count=11, ends=()):
    return Tokens(np.arange(100, 100 + count, dtype=np.int32), np.array([0, *ends, count], np.int64))


def columns(features):
    return {name: np.asarray(column[ALL]) for name, column in features.columns.items()}


def test_blocks_follow_each_other_and_each_token_but_the_first_is_predicted_once(said):
    features = pack(stream(11), BlockSource(), 3, training=True)
    made = columns(features)
    assert made["input_ids"].tolist() == [[100, 101, 102], [103, 104, 105], [106, 107, 108]]
    assert made["labels"].tolist() == [[100, 101, 102, 103], [103, 104, 105, 106], [106, 107, 108, 109]]
    assert made["labels"].dtype == made["input_ids"].dtype == np.int32
    assert "1 documents, 11 tokens, 3 blocks of 3; the last 1 tokens are left out" in said.text


def test_in_evaluation_the_last_block_is_padded_and_its_padding_is_no_label():
    made = columns(pack(stream(11), BlockSource(), 4, training=False))
    assert made["input_ids"].tolist()[-1] == [108, 109, 110, 0]
    assert made["labels"].tolist()[-1] == [108, 109, 110, IGNORED, IGNORED]
    assert (made["labels"][:, 1:] != IGNORED).sum() == 10  # 11 tokens, the first of which nothing precedes


@pytest.mark.parametrize(("remainder", "blocks"), [("drop", 2), ("pad", 3)])
def test_what_becomes_of_the_remainder_can_be_said(remainder, blocks):
    for training in (True, False):
        assert len(pack(stream(11), BlockSource(remainder=remainder), 4, training)) == blocks


def test_tokens_that_fill_their_blocks_leave_no_empty_one():
    assert len(pack(stream(9), BlockSource(remainder="pad"), 4, training=True)) == 2


def test_parts_of_a_text_share_no_token():
    parts = [columns(pack(stream(20), BlockSource(part=part), 4, training=False)) for part in ((0, 0.5), (0.5, 1))]
    first, second = (set(part["labels"][part["labels"] != IGNORED].tolist()) for part in parts)
    assert first == set(range(100, 110)) and second == set(range(110, 120))


def test_blocks_at_random_places_lie_within_the_part_and_depend_on_the_seed_alone():
    source = BlockSource(part=(0.5, 1.0), random_blocks=200)
    made = columns(pack(stream(40), source, 5, training=True, seed=3))
    again = columns(pack(stream(40), source, 5, training=True, seed=3))
    other = columns(pack(stream(40), source, 5, training=True, seed=4))
    assert made["labels"].shape == (200, 6)
    assert np.array_equal(made["labels"], again["labels"]) and not np.array_equal(made["labels"], other["labels"])
    assert set(made["labels"][:, 0].tolist()) == set(range(120, 135))  # every place where a whole block fits
    assert np.all(np.diff(made["labels"], axis=1) == 1)


def test_with_reset_a_document_starts_anew_and_its_first_token_is_no_label():
    source = BlockSource(reset_at_documents=True, remainder="pad")
    made = columns(pack(stream(9, ends=(2, 5)), source, 4, training=True))
    assert made["document_ids"].tolist() == [[0, 0, 1, 1], [0, 1, 1, 1]]
    assert made["labels"].tolist() == [[100, 101, IGNORED, 103, 104], [104, IGNORED, 106, 107, 108]]


def test_num_samples_takes_the_first_blocks():
    made = columns(pack(stream(11), BlockSource(num_samples=1), 3, training=True))
    assert made["input_ids"].tolist() == [[100, 101, 102]]


def test_batches_of_blocks_go_through_the_loader_with_ignored_labels_in_the_fillers():
    features = pack(stream(11), BlockSource(), 3, training=True)
    batches = list(create_dataset(features, 2, shuffle=False, seed=0, with_rows=True).create_tuple_iterator())
    assert [batch[2].asnumpy().tolist() for batch in batches] == [[0, 1], [2, -1]]
    assert batches[1][1].asnumpy().tolist() == [[106, 107, 108, 109], [IGNORED] * 4]


@pytest.mark.parametrize(
    ("options", "said_so"),
    [
        ({"part": (0.5, 0.2)}, "0 <= from < to <= 1"),
        ({"part": (0.0,)}, "two shares"),
        ({"num_samples": 0}, "num_samples=0"),
        ({"random_blocks": 3, "remainder": "pad"}, "leave out remainder"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, said_so):
    with pytest.raises(UsageError, match=said_so):
        BlockSource(**options)


def test_too_little_text_says_how_much_a_block_needs():
    with pytest.raises(DataError, match="has 4 tokens, but one block needs 5"):
        pack(stream(4), BlockSource(), 4, training=True)
    with pytest.raises(DataError, match="has 1 token, but"):
        pack(stream(1), BlockSource(), 4, training=False)


def test_a_token_outside_of_the_vocabulary_is_named_with_its_document():
    with pytest.raises(DataError, match="token 105 at place 3 of document 1 is outside .* vocabulary of 105"):
        check_tokens(stream(11, ends=(2,)), 105, "set")
    check_tokens(stream(11), 111, "set")


# ---- documents


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "text" / "a.txt"
    file.parent.mkdir()
    file.write_text("one\ntwo\n\n\nthree\n \nfour", encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ("file", ["one\ntwo\n\n\nthree\n \nfour"]),
        ("line", ["one", "two", "three", "four"]),
        ("blank_line", ["one\ntwo", "three", "four"]),
    ],
)
def test_a_document_is_a_file_a_line_or_a_paragraph(text, documents, expected):
    assert list(TextDataLoader(text, documents=documents).texts()) == expected


def test_all_text_files_of_a_folder_are_read_in_the_order_of_their_names(text):
    folder = text.parent
    (folder / "b.jsonl").write_text('{"text": "five"}\n{"text": "six", "other": 1}\n', encoding="utf-8")
    (folder / "sub").mkdir()
    (folder / "sub" / "c.txt.gz").write_bytes(gzip.compress(b"seven"))
    (folder / ".hidden.txt").write_text("no")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    assert list(TextDataLoader(folder).texts())[1:] == ["five", "six", "seven"]
    (folder / "d.jsonl").write_text('{"content": "eight"}\n', encoding="utf-8")
    assert list(TextDataLoader(folder / "d.jsonl", text_key="content").texts()) == ["eight"]


def test_of_a_folder_with_splits_the_stage_chooses(data_dir):
    folder = data_dir / "wikitext-2"
    first = next(TextDataLoader(folder, stage="dev", documents="line").texts())
    assert first == next(line for line in (folder / "valid.txt").read_text("utf-8").splitlines() if line.strip())
    with pytest.raises(DataError, match="nothing of the split 'train'"):
        TextDataLoader(folder).files()


def test_a_folder_that_hugging_face_saved_is_read_by_its_data_files(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="needs: pip install 'mindformers[arrow]'")
    table = arrow.table({"text": ["one", "two"]})
    with arrow.OSFile(str(tmp_path / "data-00000-of-00001.arrow"), "wb") as sink:
        with arrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    (tmp_path / "dataset_info.json").write_text("{}")
    assert list(TextDataLoader(tmp_path).texts()) == ["one", "two"]


def test_documents_are_joined_with_the_end_of_text_token(text):
    tokenizer = CharacterTokenizer(text, eos_token="<e>")
    tokens = tokens_of(["one", "two"], tokenizer)
    end = tokenizer.eos_token_id
    assert tokens.ids.tolist()[3::4] == [end, end]
    assert tokens.bounds.tolist() == [0, 4, 8]
    with pytest.raises(DataError, match="no eos_token to part them"):
        tokens_of(["one", "two"], CharacterTokenizer(text))


def test_tokens_come_from_the_cache_until_the_text_changes(text, tmp_path, monkeypatch):
    tokenizer = CharacterTokenizer(text)
    loader = TextDataLoader(text, cache_dir=str(tmp_path / "cache"))
    first = loader.stream(tokenizer)
    with monkeypatch.context() as patched:
        patched.setattr("mindformers.data.text_documents.tokens_of", None)
        assert np.array_equal(loader.stream(tokenizer).ids, first.ids)
    text.write_text("four two", encoding="utf-8")
    assert len(loader.stream(tokenizer).ids) == 8


def test_a_text_that_is_not_utf8_is_named_with_line_and_byte(tmp_path):
    file = tmp_path / "bad.txt"
    file.write_bytes(b"good\nb\xff d\n")
    with pytest.raises(DataError, match=r"bad\.txt:2: byte 0xff at 6 is not UTF-8"):
        list(TextDataLoader(file).texts())
    with pytest.raises(DataError, match=r"bad\.txt:2: byte 0xff"):
        list(TextDataLoader(file, documents="line").texts())


def test_few_bad_documents_are_counted_and_left_out(tmp_path, said):
    lines = [json.dumps({"text": f"text {index}"}) for index in range(200)]
    lines[7], lines[9] = json.dumps({"text": ""}), json.dumps({"text": 3})
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert len(list(TextDataLoader(tmp_path / "rows.jsonl").texts())) == 198
    assert "2 of 200 documents rejected" in said.text
    assert "rows.jsonl:8: the text is empty" in said.text and "'text' is 3, no text" in said.text


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: (folder / "x.bin").write_bytes(b"1")])
def test_a_folder_without_text_is_told_what_is_accepted(tmp_path, make):
    make(tmp_path)
    with pytest.raises(DataError, match=r"holds no text; accepted are \.txt, \.json"):
        TextDataLoader(tmp_path).files()


def test_a_path_that_is_not_there_is_named():
    for path in ("/no/where", ""):
        with pytest.raises(DataError, match=f"no such file or folder: '{path}'"):
            TextDataLoader(path).files()


def test_an_empty_file_is_no_document(tmp_path):
    (tmp_path / "a.txt").write_text("\n")
    with pytest.raises(DataError, match=r"no usable document.*(?s:.*)the text is empty"):
        list(TextDataLoader(tmp_path).texts())


def test_text_without_a_tokenizer_says_what_to_set(text):
    with pytest.raises(DataError, match=r"set train_dataset\.tokenizer"):
        TextDataLoader(text).stream(None)


def test_rows_of_a_users_own_are_texts_or_mappings_with_one():
    assert texts_from(["a", {"text": "b"}]) == ["a", "b"]
    with pytest.raises(DataError, match=r"row 1 of the dataset is no text: \{'txt': 'b'\}"):
        texts_from(["a", {"txt": "b"}])


# ---- characters


def test_a_character_tokenizer_is_made_from_a_text_saved_and_read_again(text, tmp_path):
    made = CharacterTokenizer(text, eos_token="<e>", unk_token="<u>")
    made.save_pretrained(tmp_path / "saved")
    again = CharacterTokenizer.from_pretrained(tmp_path / "saved")
    ids = again.encode_batch(["two\n\nône"])[0].ids
    assert made.vocab_size == again.vocab_size == 2 + len(set("one\ntwo\n\n\nthree\n \nfour"))
    assert ids.tolist() == made.encode_batch(["two\n\nône"])[0].ids.tolist()
    assert again.decode(ids) == "two\n\nne" and again.unk_token_id in ids
    assert again.digest() == made.digest()


def test_a_character_without_a_token_is_named(text, tmp_path):
    made = CharacterTokenizer(text)
    made.save_pretrained(tmp_path / "saved")
    for tokenizer in (made, CharacterTokenizer.from_pretrained(tmp_path / "saved")):
        with pytest.raises(DataError, match="character 'X' is not in the vocabulary of 11 characters"):
            tokenizer.encode_batch(["oneX"])
        with pytest.raises(DataError, match="character 'X'"):
            tokenizer("oneX")


@pytest.mark.parametrize(("content", "reason"), [(None, "no such file"), (b"", "is empty"), (b"\xff", "not readable")])
def test_a_text_that_gives_no_characters_is_refused(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        CharacterTokenizer(tmp_path / "t.txt")

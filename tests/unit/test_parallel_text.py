"""Pairs of texts in two languages: which files hold them, which pairs are rejected and how it is said."""

import gzip
import json

import pytest

from mindformers.data.parallel_text import ParallelTexts, TranslationDataLoader, examples_from
from mindformers.errors import DataError, UsageError

ENGLISH, GERMAN = ["A dog runs.", "Two men sit.", "A cat."], ["Ein Hund rennt.", "Zwei Männer sitzen.", "Eine Katze."]


def loader(folder, stage="train", **options):
    return TranslationDataLoader(folder, stage, source_lang="en", target_lang="de", **options)


def write_lines(folder, stem, languages=("en", "de"), zipped=False, texts=(ENGLISH, GERMAN)):
    for language, lines in zip(languages, texts):
        content = "".join(f"{line}\n" for line in lines).encode("utf-8")
        if zipped:
            (folder / f"{stem}.{language}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / f"{stem}.{language}").write_bytes(content)


@pytest.mark.parametrize("zipped", [False, True])
def test_two_files_of_lines_go_side_by_side(tmp_path, zipped):
    write_lines(tmp_path, "val", zipped=zipped)
    assert loader(tmp_path, "dev").read() == ParallelTexts(ENGLISH, GERMAN)


def test_the_files_of_wmt16_are_named_source_and_target(tmp_path):
    write_lines(tmp_path, "train", ("source", "target"))
    assert TranslationDataLoader(tmp_path).read().targets == GERMAN


def test_a_set_of_any_name_is_given_by_the_beginning_of_its_files(tmp_path):
    write_lines(tmp_path, "test_2016")
    assert len(loader(tmp_path / "test_2016", "dev", num_samples=2).read()) == 2


TABLES = {
    "train.tsv": "en\tde\n" + "".join(f"{a}\t{b}\n" for a, b in zip(ENGLISH, GERMAN)),
    "train.jsonl": "".join(json.dumps({"en": a, "de": b}) + "\n" for a, b in zip(ENGLISH, GERMAN)),
    "train.json": "".join(json.dumps({"translation": {"en": a, "de": b}}) + "\n" for a, b in zip(ENGLISH, GERMAN)),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_hold_a_column_for_each_language(tmp_path, name):
    (tmp_path / name).write_text(TABLES[name], encoding="utf-8")
    assert loader(tmp_path).read() == ParallelTexts(ENGLISH, GERMAN)
    assert loader(tmp_path / name).read() == ParallelTexts(ENGLISH, GERMAN)


def test_the_published_sets_are_read_whole(data_dir):
    assert len(loader(data_dir / "multi30k", "dev").read()) == 1014
    assert len(loader(data_dir / "multi30k" / "test_2016_flickr").read()) == 1000
    romanian = TranslationDataLoader(data_dir / "wmt16_en_ro", "test", source_lang="en", target_lang="ro").read()
    assert len(romanian) == 20 and romanian.targets[0].startswith("Șeful ONU")


def test_a_pair_with_a_bad_half_is_rejected_and_the_others_stay_together(tmp_path):
    many = 300
    texts = [[f"{word} {number}" for number in range(many)] for word in ("text", "Text")]
    write_lines(tmp_path, "train", texts=texts)
    target = (tmp_path / "train.de").read_bytes().replace(b"Text 5\n", b"\n").replace(b"Text 9\n", b"T\xff\n")
    (tmp_path / "train.de").write_bytes(target)
    read = loader(tmp_path).read()
    assert len(read) == many - 2
    assert all(a.lower() == b.lower() for a, b in zip(read.sources, read.targets))


def test_files_of_unequal_length_are_refused(tmp_path):
    write_lines(tmp_path, "train", texts=(ENGLISH, GERMAN[:2]))
    with pytest.raises(DataError, match=r"train\.de: ends before .*train\.en:3"):
        loader(tmp_path).read()


def test_a_file_without_the_other_is_named(tmp_path):
    write_lines(tmp_path, "train", ("en",))
    with pytest.raises(DataError, match=r"train\.de: no such file beside .*train\.en"):
        loader(tmp_path).read()


def test_a_folder_without_either_says_both_forms(tmp_path):
    (tmp_path / "notes.md").write_text("nothing")
    with pytest.raises(DataError, match=r"no file of the split 'train'.*endings \.en and \.de"):
        loader(tmp_path).read()


def test_a_table_with_other_columns_says_what_the_rows_have(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"english": "a", "german": "b"}\n')
    with pytest.raises(DataError, match="'en' is missing; the row has 'english', 'german'"):
        loader(tmp_path).read()


def test_one_language_twice_is_refused():
    with pytest.raises(UsageError, match="both 'en'"):
        TranslationDataLoader("x", source_lang="en", target_lang="en")


def test_rows_of_the_users_own_are_pairs_or_mappings():
    assert examples_from([("a", "b")]) == ParallelTexts(["a"], ["b"])
    assert examples_from([{"en": "a", "de": "b"}], "en", "de") == ParallelTexts(["a"], ["b"])
    with pytest.raises(DataError, match="row 0 of the dataset is no pair: 'a'"):
        examples_from(["a"])

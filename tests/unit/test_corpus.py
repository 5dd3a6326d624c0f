"""The embedded corpus: real SQuAD files, repeatable, and what dev asks about never occurs in train."""

import json
import random
import re

import pytest

from mindformers.data import corpus_words as words
from mindformers.data.corpus import composed_lexicon, texts_of, write_corpus
from mindformers.data.squad import read_squad
from mindformers.errors import OutputError, UsageError


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    report = write_corpus(folder, seed=3, train_questions=1500, dev_questions=400)
    return folder, report


def split(folder, name):
    return json.loads((folder / f"{name}-v1.1.json").read_text())


def words_of(text):
    return set(re.findall(r"[A-Za-z]+", text))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(written, tmp_path):
    folder, _ = written
    write_corpus(tmp_path / "same", seed=3, train_questions=1500, dev_questions=400)
    write_corpus(tmp_path / "other", seed=4, train_questions=1500, dev_questions=400)
    for name in ("train-v1.1.json", "dev-v1.1.json", "vocab.txt"):
        assert (tmp_path / "same" / name).read_bytes() == (folder / name).read_bytes()
    assert (tmp_path / "other" / "train-v1.1.json").read_bytes() != (folder / "train-v1.1.json").read_bytes()


def test_every_row_is_a_valid_squad_row(written):
    folder, report = written
    for name, count in (("train", report.train_questions), ("dev", report.dev_questions)):
        rows = read_squad(folder, name)
        assert len(rows.examples) == count
        assert not rows.rejected


def test_no_name_city_or_job_of_dev_occurs_in_train(written):
    folder, _ = written
    seen = set().union(*(words_of(text) for text in texts_of(split(folder, "train"))))
    # Words of English that are part of a name too, such as New in New York, say nothing.
    common = set(words.TOWN_BEGINNINGS) | {"Los"}
    names = {part for entry in (*words.DEV_WOMEN, *words.DEV_MEN, *words.DEV_CITIES) for part in entry.split()} - common
    assert not seen & names
    text = " ".join(texts_of(split(folder, "train")))
    assert not [job for job in words.DEV_JOBS if re.search(rf"\b{job}\b", text)]


def composed(seed):
    """What the syllables of one seed make, in lower case; given parts (New, West, a real job) are left out."""
    lexicon = composed_lexicon(random.Random(seed))
    given = {*words.TRAIN_JOBS, *(f"{field} {role}" for field in words.JOB_FIELDS for role in words.JOB_ROLES)}
    cities = {part for city in lexicon.cities for part in city.split()[-1:]}
    return {name.lower() for name in ({name for name, _ in lexicon.people} | cities | (set(lexicon.jobs) - given))}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_composed_name_is_a_word_of_english_or_of_the_wordings(seed):
    said = [*words.ITEMS, *words.TRAIN_JOBS, *words.JOB_FIELDS, *words.JOB_ROLES, *words.TOWN_BEGINNINGS]
    for wording in (words.TRAIN, words.DEV):
        for kinds in (wording.phrases, wording.questions, wording.who):
            said += [text for group in kinds.values() for text in group]
        said += [*wording.frames, *wording.introductions, *wording.name_questions, *wording.fillers]
    in_use = {word.lower() for text in said for word in words_of(re.sub(r"{\w+}", "", text))}
    assert {"from", "lives", "work", "tell", "coins", "teacher", "radio", "old"} <= in_use
    assert not composed(seed) & in_use
    assert not composed(seed) & set(words.COMMON_WORDS)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_composed_name_is_a_name_city_or_job_of_dev(seed):
    dev = (*words.DEV_WOMEN, *words.DEV_MEN, *words.DEV_CITIES, *words.DEV_JOBS)
    assert not composed(seed) & {part.lower() for entry in dev for part in entry.split()}


def test_the_common_words_are_typed_once_and_in_order():
    assert list(words.COMMON_WORDS) == sorted(set(words.COMMON_WORDS))
    assert all(re.fullmatch("[a-z]{3,}", word) for word in words.COMMON_WORDS)


def test_no_sentence_or_question_template_of_dev_is_one_of_train():
    train, dev = words.TRAIN, words.DEV
    for kind in train.phrases:
        assert not set(train.phrases[kind]) & set(dev.phrases[kind])
        assert not set(train.questions[kind]) & set(dev.questions[kind])
        assert not set(train.who.get(kind, ())) & set(dev.who.get(kind, ()))
    for part in ("frames", "introductions", "name_questions", "fillers"):
        assert not set(getattr(train, part)) & set(getattr(dev, part))


def test_the_questions_of_dev_never_occur_in_train_even_with_other_names(written):
    folder, _ = written

    def skeletons(name):
        corpus = split(folder, name)
        found = set()
        for article in corpus["data"]:
            for paragraph in article["paragraphs"]:
                names = sorted(words_of(paragraph["context"]) - {"I"}, key=len, reverse=True)
                for entry in paragraph["qas"]:
                    masked = entry["question"]
                    for word in names:
                        if word[0].isupper() and word not in ("Where", "Who", "What", "Tell", "Which", "How", "In"):
                            masked = re.sub(rf"\b{word}\b", "_", masked)
                    found.add(re.sub(r"\b(\d+|he|she|I|his|her|my)\b", "_", masked))
        return found

    assert not {item for item in skeletons("dev") & skeletons("train") if "_" in item}


def test_the_vocabulary_covers_both_splits_without_unknown_words(written):
    from mindformers.tokenizers.wordpiece import BertTokenizer

    folder, report = written
    tokenizer = BertTokenizer(folder / "vocab.txt")
    assert tokenizer.vocab_size == report.vocabulary
    unknown = tokenizer.special_ids["unk_token"] if "unk_token" in tokenizer.special_ids else tokenizer.unk_token_id
    for name in ("train", "dev"):
        assert not [text for text in tokenizer.encode_batch(texts_of(split(folder, name))) if unknown in text.ids]


def test_other_content_is_not_overwritten_unless_asked_for(tmp_path):
    write_corpus(tmp_path, seed=1, train_questions=20, dev_questions=5)
    before = (tmp_path / "vocab.txt").read_bytes()
    write_corpus(tmp_path, seed=1, train_questions=20, dev_questions=5)
    with pytest.raises(OutputError, match=r"train-v1.1.json"):
        write_corpus(tmp_path, seed=2, train_questions=20, dev_questions=5)
    assert (tmp_path / "vocab.txt").read_bytes() == before
    write_corpus(tmp_path, seed=2, train_questions=20, dev_questions=5, overwrite=True)


def test_less_than_one_question_is_refused(tmp_path):
    with pytest.raises(UsageError, match="0 training"):
        write_corpus(tmp_path, train_questions=0)

"""Readers of CLUENER's format, of columns, and of rows of one's own."""

import json
import logging

import pytest

from mindformers.data.entities import CLUENERDataLoader, CoNLLDataLoader, OwnRows, Record
from mindformers.data.tags import Span
from mindformers.errors import DataError, UsageError

GOOD = {"text": "温格的球队战胜曼联", "label": {"name": {"温格": [[0, 1]]}, "organization": {"曼联": [[7, 8]]}}}
ORDER = ("address", "book", "company", "game", "government", "movie", "name", "organization", "position", "scene")


@pytest.fixture(autouse=True)
def log_is_seen(monkeypatch):
    monkeypatch.setattr(logging.getLogger("mindformers"), "propagate", True)


def cluener(folder, *rows, good=0):
    """Write rows, objects or lines as they are, behind a number of good ones; returns the folder."""
    lines = [json.dumps(row, ensure_ascii=False) if isinstance(row, dict) else row for row in (*[GOOD] * good, *rows)]
    (folder / "train.json").write_bytes(b"".join(item.encode("utf-8", "surrogateescape") + b"\n" for item in lines))
    return folder


def test_the_whole_of_cluener_is_read_and_no_row_is_rejected(data_dir, caplog):
    counts = {}
    for stage in ("train", "dev"):
        records = CLUENERDataLoader(data_dir / "cluener", stage).read().records
        counts[stage] = (len(records), sum(len(record.entities) for record in records))
        assert all(record.text[span.start : span.end].strip() for record in records for span in record.entities)
    assert counts == {"train": (10748, 23971), "dev": (1343, 3072)}
    assert "rejected" not in caplog.text


def test_a_row_becomes_text_entities_and_place(tmp_path):
    rows = CLUENERDataLoader(cluener(tmp_path, GOOD)).read()
    entities = (Span("name", 0, 2), Span("organization", 7, 9))
    assert rows.records == [Record(GOOD["text"], entities, f"{tmp_path / 'train.json'}:1")]
    assert rows.scheme == "BIOS"


def test_the_labels_are_the_thirty_one_of_cluener_in_order(tmp_path):
    labels = CLUENERDataLoader(tmp_path).label_set()
    assert labels.labels == ("O", *(f"{prefix}-{kind}" for prefix in "BIS" for kind in ORDER))
    own = CLUENERDataLoader(cluener(tmp_path, {"text": "ab", "label": {"x": {"a": [[0, 0]]}}}), labels=["O", "B-x"])
    assert own.read().records[0].entities == (Span("x", 0, 1),)


BAD = {
    "an entity outside the text": (
        {"text": "温格", "label": {"name": {"温格的": [[0, 2]]}}},
        "the name from character 0 to 2 is not inside the text, which has 2 characters",
    ),
    "an end before its begin": (
        {"text": "温格", "label": {"name": {"温格": [[1, 0]]}}},
        "the name from character 1 to 0 is not inside the text",
    ),
    "a mention that stands elsewhere": (
        {"text": "温格的", "label": {"name": {"温格": [[1, 2]]}}},
        "the name '温格' is not at characters 1 to 2, where '格的' stands",
    ),
    "a type outside the set": (
        {"text": "温格", "label": {"person": {"温格": [[0, 1]]}}},
        "the type 'person' is none of address, book, .*; data_loader.labels says which there are",
    ),
    "an empty text": ({"text": " ", "label": {}}, "the text is empty"),
    "a text that is none": ({"text": 7, "label": {}}, "the text is 7, it must be text"),
    "a missing column": ({"text": "温格"}, "'label' is missing; the row has 'text'"),
    "labels of another structure": (
        {"text": "温格", "label": [[0, 1, "name"]]},
        r"'label' is not \{type: \{mention: \[\[first, last\], ...\]\}\}",
    ),
    "places that are no numbers": (
        {"text": "温格", "label": {"name": {"温格": [["0", "1"]]}}},
        r"'label' is not .* \(\['0', '1'\] are no whole numbers\)",
    ),
    "half a line": ('{"text": "温', "no JSON"),
    "bytes that are not UTF-8": ('{"text": "\udcff\udcfe", "label": {}}', "is not UTF-8"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_left_out_with_its_place_and_the_reason(case, tmp_path, caplog):
    row, reason = BAD[case]
    folder = cluener(tmp_path, row, good=99)
    assert len(CLUENERDataLoader(folder).read().records) == 99
    assert f"{folder / 'train.json'}: 1 of 100 rows rejected" in caplog.text
    (said,) = [line for line in caplog.messages if f"{folder / 'train.json'}:100: " in line]
    with pytest.raises(DataError, match=reason) as error:
        CLUENERDataLoader(cluener(tmp_path, row, good=1)).read()
    assert said.split(": ", 1)[1] in str(error.value)
    assert 'accepted is one object a line: {"text"' in str(error.value)


def test_more_than_one_bad_row_in_a_hundred_stops_the_run(tmp_path):
    with pytest.raises(DataError, match="2 of 100 rows rejected, more than 1% of the data") as error:
        CLUENERDataLoader(cluener(tmp_path, {"text": "", "label": {}}, "[1]", good=98)).read()
    assert ":99: the text is empty" in str(error.value)


def test_a_missing_folder_file_or_odd_number_is_named(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        CLUENERDataLoader(tmp_path / "nowhere").read()
    with pytest.raises(DataError, match="no file of the split 'dev'; the folder holds train.json. Name it dev.json"):
        CLUENERDataLoader(cluener(tmp_path, GOOD), "dev").read()
    with pytest.raises(UsageError, match="num_samples=0"):
        CLUENERDataLoader(tmp_path, num_samples=0)
    assert len(CLUENERDataLoader(cluener(tmp_path, good=5), num_samples=3).read().records) == 3


# ---- columns

CONLL = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER
"""


def columns(folder, text, name="train.txt"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_columns_become_sentences_with_words_and_entities_in_characters(tmp_path):
    rows = CoNLLDataLoader(columns(tmp_path, CONLL)).read()
    assert rows.scheme == "IOB2"
    assert rows.records == [
        Record(
            "EU rejects German",
            (Span("ORG", 0, 2), Span("MISC", 11, 17)),
            f"{tmp_path / 'train.txt'}:3",
            ((0, 2), (3, 10), (11, 17)),
        ),
        Record("Peter Blackburn", (Span("PER", 0, 15),), f"{tmp_path / 'train.txt'}:7", ((0, 5), (6, 15))),
    ]
    assert rows.found_labels().labels == ("O", "B-MISC", "B-ORG", "B-PER", "I-MISC", "I-ORG", "I-PER")


def test_tabs_other_columns_and_chinese_characters_are_read(tmp_path):
    text = "1\tS-name\t李\n2\tO\t说\n\n"
    loader = CoNLLDataLoader(columns(tmp_path, text), token_column=2, tag_column=1, separator="")
    assert loader.read().records == [
        Record("李说", (Span("name", 0, 1),), f"{tmp_path / 'train.txt'}:1", ((0, 1), (1, 2)))
    ]
    assert loader.read().scheme == "BIOS"


@pytest.mark.parametrize(
    "name, stage", [("eng.train", "train"), ("eng.testa", "dev"), ("valid.conll", "dev"), ("test.bio", "test")]
)
def test_the_usual_names_of_column_files_are_found(name, stage, tmp_path):
    assert len(CoNLLDataLoader(columns(tmp_path, CONLL, name), stage).read().records) == 2
    assert len(CoNLLDataLoader(tmp_path / name, "anything").read().records) == 2


def test_beginnings_are_repaired_in_iob2_and_counted_and_are_the_format_in_iob1(tmp_path, caplog):
    whole = "a B-X\nb I-X\n\n" * 3
    records = CoNLLDataLoader(columns(tmp_path, whole + "a O\nb I-X\n")).read().records
    assert records[3].entities == (Span("X", 2, 3),)
    assert "1 times I- begins an entity; it is read as B-" in caplog.text
    caplog.clear()
    rows = CoNLLDataLoader(columns(tmp_path, "a I-X\nb B-X\nc O\n")).read()
    assert (rows.scheme, rows.records[0].entities) == ("IOB1", (Span("X", 0, 1), Span("X", 2, 3)))
    assert rows.found_labels().labels == ("O", "B-X", "I-X")
    assert "begins an entity" not in caplog.text


BAD_COLUMNS = {
    "a missing column": ("word\n", r":1: 1 column in 'word', but the token is in column 0 and the tag in column -1"),
    "an empty token": ("\tO\n", ":1: the token or the tag is empty"),
    "no tag": ("word X\n", ":1: 'X' is no tag"),
    "a tag of another scheme": ("a B-X\nb I-X\nc S-X\nd E-X\n", "are no whole entity of BIOES"),
    "bytes that are not UTF-8": ("\udcff O\n", ":1: a byte is not UTF-8"),
    "nothing": ("-DOCSTART- O\n\n", "no usable sentence"),
}


@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_a_bad_sentence_is_named_with_the_reason(case, tmp_path):
    text, reason = BAD_COLUMNS[case]
    (tmp_path / "train.txt").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=reason) as error:
        CoNLLDataLoader(tmp_path).read()
    assert "accepted is one token a line" in str(error.value)


def test_a_sentence_is_rejected_where_the_labels_or_the_scheme_exclude_it(tmp_path):
    with pytest.raises(DataError, match="the type 'MISC' is none of ORG, PER"):
        CoNLLDataLoader(columns(tmp_path, CONLL), labels=["O", "B-ORG", "I-ORG", "B-PER", "I-PER"]).read()
    with pytest.raises(DataError, match="the tags 'B-ORG' from token 0 on are no whole entity of BIOS"):
        CoNLLDataLoader(tmp_path, scheme="BIOS").read()
    with pytest.raises(UsageError, match="scheme='BILOU': accepted are IOB1, IOB2, BIOES, BIOS"):
        CoNLLDataLoader(tmp_path, scheme="BILOU")


def test_labels_cannot_be_found_without_an_entity(tmp_path):
    with pytest.raises(DataError, match="no row has an entity, so there is nothing to learn"):
        CoNLLDataLoader(columns(tmp_path, "word O\n")).read().found_labels()


def test_what_decides_the_content_is_in_the_identity(tmp_path):
    first = CoNLLDataLoader(columns(tmp_path, CONLL)).identity()
    assert first != CoNLLDataLoader(tmp_path, separator="").identity()
    assert first != CoNLLDataLoader(columns(tmp_path, CONLL + "\n")).identity()
    assert (
        CLUENERDataLoader(cluener(tmp_path, GOOD)).identity() != CLUENERDataLoader(tmp_path, num_samples=1).identity()
    )


# ---- rows of one's own


def test_rows_of_ones_own_come_in_four_forms():
    spans = (Span("name", 0, 2),)
    forms = [
        Record("温格说", spans, "here"),
        {"text": "温格说", "label": {"name": {"温格": [[0, 1]]}}},
        {"text": "温格说", "entities": [{"type": "name", "start": 0, "end": 2}]},
        {"tokens": ["温格", "说"], "tags": ["B-name", "O"]},
    ]
    records = OwnRows(forms).read().records
    assert [record.entities for record in records] == [spans] * 4
    assert records[3].words == ((0, 2), (3, 4))


@pytest.mark.parametrize(
    "row, reason",
    [
        ({"text": "a"}, r"row 1 of the dataset: it cannot be read \(KeyError\('entities'\)\); a row is"),
        ("text", "row 1 of the dataset: it cannot be read"),
        ({"text": "", "entities": []}, "the text is empty"),
        ({"text": "a", "entities": [{"type": "x", "start": 0, "end": 2}]}, "is not inside the text"),
        ({"tokens": ["a"], "tags": []}, "there are 1 token and 0 tags"),
        ({"text": "a", "entities": [{"type": "y", "start": 0, "end": 1}]}, "the type 'y' is none of x"),
    ],
)
def test_a_row_of_ones_own_that_cannot_be_read_is_named(row, reason):
    good = {"text": "a", "entities": [{"type": "x", "start": 0, "end": 1}]}
    with pytest.raises(DataError, match=reason):
        OwnRows([good, row]).read(["x"])
    with pytest.raises(DataError, match="the dataset has no row"):
        OwnRows([]).read()

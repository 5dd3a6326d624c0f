"""Rows of files of every kind: where they stand, what is rejected, and when a run stops."""

import gzip
import json

import pytest

from mindformers.data.arrow_rows import class_names
from mindformers.data.rows import Rejections, read_rows, split_path
from mindformers.errors import DataError, MissingExtraError

RECORDS = [{"text": "a b", "label": "x"}, {"text": "c\u2028d", "label": "y"}]


def written(folder, name, content):
    file = folder / name
    raw = content if isinstance(content, bytes) else content.encode("utf-8")
    file.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return file


def places(rows):
    return [row.place.rsplit("/", 1)[-1] for row in rows]


TABLES = {
    "rows.tsv": "text\tlabel\na b\tx\nc\u2028d\ty\n",
    "rows.csv": 'text,label\n"a b",x\nc\u2028d,y\n',
    "rows.jsonl": "".join(json.dumps(item) + "\n" for item in RECORDS),
    "lines.json": "".join(json.dumps(item) + "\n" for item in RECORDS),
    "rows.tsv.gz": "text\tlabel\r\na b\tx\r\nc\u2028d\ty\r\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_gives_its_rows_with_their_lines(tmp_path, name):
    rows = list(read_rows(written(tmp_path, name, TABLES[name]), columns=("text", "label")))
    assert [row.values for row in rows] == RECORDS
    first = 1 if "json" in name else 2
    assert places(rows) == [f"{name}:{first}", f"{name}:{first + 1}"]


@pytest.mark.parametrize("content", [json.dumps(RECORDS), json.dumps({"data": RECORDS}, indent=1)])
def test_a_json_list_gives_its_objects_by_index(tmp_path, content):
    rows = list(read_rows(written(tmp_path, "rows.json", content)))
    assert [row.values for row in rows] == RECORDS
    assert places(rows) == ["rows.json[0]", "rows.json[1]"]


def test_a_text_file_gives_every_line_blank_ones_included(tmp_path):
    rows = list(read_rows(written(tmp_path, "rows.txt", b"\xef\xbb\xbfone\n\ntwo\tthree")))
    assert [row.values["text"] for row in rows] == ["one", "", "two\tthree"]
    assert places(rows) == ["rows.txt:1", "rows.txt:2", "rows.txt:3"]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    (row,) = read_rows(written(tmp_path, "rows.tsv", b"\xef\xbb\xbfQuality\ttext\n1\ta\n"))
    assert list(row.values) == ["Quality", "text"]


def test_quotes_in_tsv_are_plain_characters(tmp_path):
    rows = list(read_rows(written(tmp_path, "rows.tsv", 'text\tlabel\n"open\t1\nclosed"\t0\n')))
    assert [row.values["text"] for row in rows] == ['"open', 'closed"']


def test_a_csv_row_of_several_lines_is_named_by_its_first(tmp_path):
    rows = list(read_rows(written(tmp_path, "rows.csv", 'text,label\n"two\nlines",x\nlast,y\n')))
    assert [row.values["text"] for row in rows] == ["two\nlines", "last"]
    assert places(rows) == ["rows.csv:2", "rows.csv:4"]


def test_a_header_can_be_given_where_the_file_has_none(tmp_path):
    file = written(tmp_path, "rows.tsv", "gj04\t1\t\tOur friends.\n")
    (row,) = read_rows(file, header=("source", "label", "mark", "sentence"))
    assert row.values == {"source": "gj04", "label": "1", "mark": "", "sentence": "Our friends."}


BAD_ROWS = {
    "too few fields": ("rows.tsv", "text\tlabel\nlonely\ngood\tx\n", "rows.tsv:2", "1 field where the header has 2"),
    "too many fields": ("rows.csv", "text,label\na,b,c\ngood,x\n", "rows.csv:2", "3 fields where the header has 2"),
    "a quote left open in tsv": (
        "rows.tsv",
        'text\tlabel\n"open\ngood\tx\n',
        "rows.tsv:2",
        "a quote in it is not clos",
    ),
    "text after a closed quote": ("rows.csv", 'text,label\n"a" b,x\ngood,x\n', "rows.csv:2", "',' expected after"),
    "a byte within a list": (
        "rows.jsonl",
        b'{"text": "good"}\n{"text": "b", "tags": ["\xff"]}',
        "rows.jsonl:2",
        "0xff",
    ),
    "bytes that are not utf-8": ("rows.tsv", b"text\tlabel\ncaf\xe9\tx\ngood\tx\n", "rows.tsv:2", "byte 0xe9 at char"),
    "a line that is no json": ("rows.jsonl", '{"text": "good"}\n{"text": \n', "rows.jsonl:2", "no JSON (Expecting"),
    "half a character": (
        "rows.jsonl",
        '{"text": "good"}\n{"text": "b\\ud83d"}',
        "rows.jsonl:2",
        r"half a character (\ud8",
    ),
    "a line nested too deep": ("rows.jsonl", '{"text": "good"}\n' + "[" * 99999, "rows.jsonl:2", "no JSON (maximum"),
    "a line that is no object": ("rows.jsonl", '{"text": "good"}\n[1]\n', "rows.jsonl:2", "no JSON object: '[1]'"),
    "an item that is no object": ("rows.json", '[{"text": "good"}, 3]', "rows.json[1]", "no JSON object: '3'"),
    "an object without a column": ("rows.jsonl", '{"text": "good"}\n{"txt": 1}\n', "rows.jsonl:2", "'text' is missing"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_row_that_cannot_be_read_is_rejected_with_its_place_and_the_others_stay(tmp_path, case):
    name, content, place, reason = BAD_ROWS[case]
    file = written(tmp_path, name, content)
    rejections = Rejections(str(file))
    (row,) = read_rows(file, ("text",), rejections=rejections)
    assert row.values["text"] == "good"
    assert places(rejections.rows) == [place] and reason in rejections.rows[0].reason
    with pytest.raises(DataError, match="rows"):
        list(read_rows(file, ("text",)))


@pytest.mark.parametrize("row", ['"open,x\na,x\nb,x\nc "d" e,x', '"open,x\na,x\nb,x\nc",x,y'])
def test_every_line_that_an_open_quote_took_in_is_rejected(tmp_path, row):
    file = written(tmp_path, "rows.csv", f"text,label\n{row}\ngood,x\n")
    rejections = Rejections(str(file))
    assert [item.values["text"] for item in read_rows(file, rejections=rejections)] == ["good"]
    assert places(rejections.rows) == [f"rows.csv:{line}" for line in (2, 3, 4, 5)]
    assert all("in the row that begins in line 2" in item.reason for item in rejections.rows)


BAD_FILES = {
    "a missing column": ("rows.tsv", "text\tlabel\na\tb\n", "column 'score' is missing; the file has 'text', 'label'"),
    "a column that occurs twice": ("rows.tsv", "score\tscore\na\tb\n", "the column 'score' occurs twice"),
    "an unknown ending": ("rows.xlsx", "score", "files ending in '.xlsx' cannot be read; accepted are .tsv, .csv"),
    "text in utf-16": ("rows.tsv", "score\n".encode("utf-16"), "the text is UTF-16; save it as UTF-8"),
    "json that is cut off": ("rows.json", '[\n{"score": 1},\n{"sco', "rows.json:3: no JSON"),
    "json without rows": ("rows.json", '{\n"score": 1}', "no rows; accepted are a JSON list"),
    "a quote that is never closed": (
        "rows.csv",
        'score\n1\n"2\n3\n',
        "rows.csv:3: a quote that opens in this row is nev",
    ),
    "gzip that is cut off": ("rows.tsv.gz", "score\n" + "1\n" * 9, "not readable"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_cannot_be_read_says_what_is_wrong(tmp_path, case):
    name, content, message = BAD_FILES[case]
    file = written(tmp_path, name, content)
    if name.endswith(".gz"):
        file.write_bytes(file.read_bytes()[:-6])
    with pytest.raises(DataError) as error:
        list(read_rows(file, ("score",)))
    assert message in str(error.value) and str(file) in str(error.value)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        list(read_rows(tmp_path / "rows.tsv"))


def test_few_bad_rows_are_logged_and_many_stop_the_run(caplog):
    few = Rejections("data.tsv")
    few.add("data.tsv:7", "no label")
    few.close(total=100)
    assert "data.tsv: 1 of 100 rows rejected" in caplog.text and "data.tsv:7: no label" in caplog.text
    many = Rejections("data.tsv")
    for line in range(2, 9):
        many.add(f"data.tsv:{line}", "no label")
    with pytest.raises(DataError) as error:
        many.close(total=100, accepted="Labels are x and y.")
    message = str(error.value)
    assert "7 of 100 rows rejected, more than 1% of the data" in message
    assert "data.tsv:2: no label" in message and "and 2 more" in message and message.endswith("Labels are x and y.")
    many.close(total=100, max_bad_share=0.1)


def test_a_source_without_a_usable_row_is_an_error():
    with pytest.raises(DataError, match="^data.tsv: no usable row$"):
        Rejections("data.tsv").close(total=0)
    empty = Rejections("data.tsv")
    empty.add("data.tsv:2", "no label")
    with pytest.raises(DataError, match="the only one was rejected:\n  data.tsv:2: no label"):
        empty.close(total=1, max_bad_share=1.0)


@pytest.mark.parametrize(
    "name", ["dev.tsv", "validation.csv", "val.jsonl.gz", "dev_matched.tsv", "validation-00000-of-00001.parquet"]
)
def test_a_split_is_found_in_a_folder_under_its_usual_names(tmp_path, name):
    file = written(tmp_path, name, "x")
    assert split_path(tmp_path, "dev", ("dev_matched.tsv",)) == file
    assert split_path(file, "train") == file


def test_a_folder_without_the_split_says_what_it_holds(tmp_path):
    written(tmp_path, "train.tsv", "x")
    with pytest.raises(DataError, match="no file of the split 'dev'; the folder holds train.tsv"):
        split_path(tmp_path, "dev")
    with pytest.raises(DataError, match="no such folder"):
        split_path(tmp_path / "absent", "dev")


def saved_dataset(folder, pyarrow):
    """Write what `datasets.Dataset.save_to_disk` writes for RECORDS with a class label, in two files."""
    folder.mkdir()
    schema = pyarrow.schema([("text", pyarrow.string()), ("label", pyarrow.int64())])
    names = []
    for index, item in enumerate(RECORDS):
        name = f"data-{index:05d}-of-00002.arrow"
        with pyarrow.OSFile(str(folder / name), "wb") as sink, pyarrow.ipc.new_stream(sink, schema) as writer:
            writer.write_table(pyarrow.Table.from_pylist([{**item, "label": 1 - index}], schema=schema))
        names.append({"filename": name})
    features = {
        "text": {"dtype": "string", "_type": "Value"},
        "label": {"names": ["y", "x"], "_type": "ClassLabel"},
    }
    (folder / "state.json").write_text(json.dumps({"_data_files": names}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


def test_a_saved_dataset_gives_its_rows_and_the_names_of_its_classes(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="needs: pip install 'mindformers[arrow]'")
    folder = saved_dataset(tmp_path / "train", pyarrow)
    rows = list(read_rows(folder, ("text", "label")))
    assert [row.values for row in rows] == [{"text": "a b", "label": 1}, {"text": "c\u2028d", "label": 0}]
    assert places(rows) == ["train[0]", "train[1]"]
    assert class_names(folder, "label") == ["y", "x"] and class_names(folder, "text") is None
    assert split_path(tmp_path, "train") == folder


def test_a_parquet_file_gives_its_rows_and_the_names_of_its_classes(tmp_path):
    pytest.importorskip("pyarrow", reason="needs: pip install 'mindformers[arrow]'")
    import pyarrow
    from pyarrow import parquet

    features = {"tags": {"feature": {"names": ["O", "B"], "_type": "ClassLabel"}, "_type": "Sequence"}}
    table = pyarrow.Table.from_pylist([{"text": "a", "tags": [0, 1]}])
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, tmp_path / "train.parquet")
    (row,) = read_rows(tmp_path / "train.parquet")
    assert row.values == {"text": "a", "tags": [0, 1]} and row.place.endswith("train.parquet[0]")
    assert class_names(tmp_path / "train.parquet", "tags") == ["O", "B"]


def test_damaged_and_foreign_arrow_data_say_so(tmp_path):
    pytest.importorskip("pyarrow", reason="needs: pip install 'mindformers[arrow]'")
    for name in ("rows.parquet", "rows.arrow"):
        with pytest.raises(DataError, match="not readable as Arrow data"):
            list(read_rows(written(tmp_path, name, "no table")))
    with pytest.raises(DataError, match="no folder that Hugging Face datasets saved"):
        list(read_rows(tmp_path))


@pytest.mark.parametrize(
    "content, message", [("{", "not readable"), ("{}", "lists no data files"), ("[1]", "lists no")]
)
def test_a_saved_dataset_without_its_list_of_files_says_so(tmp_path, content, message):
    pytest.importorskip("pyarrow", reason="needs: pip install 'mindformers[arrow]'")
    written(tmp_path, "state.json", content)
    with pytest.raises(DataError, match=f"state.json: {message}.*may not be saved completely"):
        list(read_rows(tmp_path))


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mindformers\[arrow\]'"):
        list(read_rows(written(tmp_path, "rows.parquet", "x")))

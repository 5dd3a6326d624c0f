"""Megatron's indexed datasets: the published layout byte for byte, and what a damaged pair is told."""

import struct

import numpy as np
import pytest

from mindformers.data.indexed import IndexedDataLoader, IndexedTokens, IndexedWriter
from mindformers.errors import DataError, OutputError, UsageError

DOCUMENTS = [[[1, 2, 3], [4, 5]], [[6]], [[7, 8, 9, 10]]]


def write(prefix, documents=DOCUMENTS, **options):
    with IndexedWriter(prefix, **options) as writer:
        for document in documents:
            for sequence in document:
                writer.add(sequence)
            writer.end_document()
    return prefix


def by_hand(prefix, code=4, sizes=(3, 2), documents=(0, 1, 2), pointers=None, dtype="<i4", tokens=(1, 2, 3, 4, 5)):
    """The "mmap" layout as the contract describes it, written without our writer."""
    width = np.dtype(dtype).itemsize
    pointers = np.concatenate([[0], np.cumsum(sizes)[:-1]]) * width if pointers is None else pointers
    prefix.with_suffix(".idx").write_bytes(
        b"MMIDIDX\x00\x00"
        + struct.pack("<QBQQ", 1, code, len(sizes), len(documents))
        + np.asarray(sizes, "<i4").tobytes()
        + np.asarray(pointers, "<i8").tobytes()
        + np.asarray(documents, "<i8").tobytes()
    )
    prefix.with_suffix(".bin").write_bytes(np.asarray(tokens, dtype).tobytes())
    return prefix


def test_the_index_has_the_published_layout_byte_for_byte(tmp_path):
    write(tmp_path / "ours", [[[1, 2, 3]], [[4, 5]]])
    by_hand(tmp_path / "theirs")
    for ending in (".idx", ".bin"):
        assert (tmp_path / f"ours{ending}").read_bytes() == (tmp_path / f"theirs{ending}").read_bytes()


@pytest.mark.parametrize("kind", ["mmap", "lazy"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64", "uint16"])
def test_what_is_written_is_read_again(tmp_path, kind, dtype):
    tokens = IndexedTokens(write(tmp_path / "set", dtype=dtype, kind=kind))
    assert tokens.dtype == np.dtype(dtype)
    assert tokens.num_sequences == 4
    assert tokens.bounds.tolist() == [0, 5, 6, 10]
    assert [tokens.sequence(number).tolist() for number in range(4)] == [[1, 2, 3], [4, 5], [6], [7, 8, 9, 10]]
    assert tokens.read(2, 8).tolist() == [3, 4, 5, 6, 7, 8]
    assert isinstance(tokens.read(0, 3), np.memmap)


def test_the_older_index_has_the_published_layout(tmp_path):
    write(tmp_path / "ours", [[[1, 2, 3]], [[4, 5]]], kind="lazy")
    expected = b"TNTIDX\x00\x00" + struct.pack("<QQQQQQ", 1, 4, 4, 2, 2, 3)
    expected += np.array([0, 1, 2, 0, 3, 5, 3, 2, 0, 1, 2], "<i8").tobytes()
    assert (tmp_path / "ours.idx").read_bytes() == expected


def test_a_name_with_a_dot_keeps_it(tmp_path):
    write(tmp_path / "wiki.en")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["wiki.en.bin", "wiki.en.idx"]
    assert IndexedTokens(tmp_path / "wiki.en").num_sequences == 4


def test_sequences_that_lie_in_another_order_are_read_in_that_of_the_index(tmp_path):
    by_hand(tmp_path / "turned", sizes=(2, 3), pointers=[12, 0])
    tokens = IndexedTokens(tmp_path / "turned")
    assert tokens.read(0, 5).tolist() == [4, 5, 1, 2, 3]
    assert tokens.read(1, 4).tolist() == [5, 1, 2]


def test_the_path_may_be_a_file_of_the_pair_or_its_folder(tmp_path):
    write(tmp_path / "set")
    for path in ("set", "set.idx", "set.bin", "."):
        assert IndexedDataLoader(tmp_path / path).stream(None).read(0, 2).tolist() == [1, 2]


def test_the_ignored_label_fits_into_the_usual_type_and_a_large_token_not_into_a_small_one(tmp_path):
    assert IndexedTokens(write(tmp_path / "labels", [[[-100, 7]]])).read(0, 2).tolist() == [-100, 7]
    with pytest.raises(DataError, match="do not fit into uint16"):
        write(tmp_path / "small", [[[70000]]], dtype="uint16")
    assert not list(tmp_path.glob("*small*"))


def test_an_existing_pair_is_not_replaced_unasked(tmp_path):
    write(tmp_path / "set")
    with pytest.raises(OutputError, match="exists already"):
        write(tmp_path / "set")
    assert IndexedTokens(write(tmp_path / "set", [[[5]]], overwrite=True)).read(0, 1).tolist() == [5]


def test_types_that_are_no_tokens_are_refused(tmp_path):
    with pytest.raises(UsageError, match="accepted are uint8"):
        IndexedWriter(tmp_path / "set", dtype="float32")


def broken(tmp_path, case):
    prefix = tmp_path / case
    if case == "code":
        return by_hand(prefix, code=6)
    if case == "documents":
        return by_hand(prefix, documents=(0, 1, 5))
    if case == "middle":
        return by_hand(prefix, pointers=[0, 13])
    by_hand(prefix)
    index, tokens = prefix.with_suffix(".idx"), prefix.with_suffix(".bin")
    if case == "truncated":
        tokens.write_bytes(tokens.read_bytes()[:-2])
    elif case == "longer":
        tokens.write_bytes(tokens.read_bytes() * 2)
    elif case == "index":
        index.write_bytes(index.read_bytes()[:-4])
    elif case == "trailing":
        index.write_bytes(index.read_bytes() + b"0")
    elif case == "magic":
        index.write_bytes(b"PK" + index.read_bytes())
    elif case == "version":
        index.write_bytes(index.read_bytes().replace(struct.pack("<Q", 1), struct.pack("<Q", 7), 1))
    elif case == "missing":
        tokens.unlink()
    return prefix


WRONG = {
    "truncated": r"truncated\.bin: has 18 bytes, .* up to byte 20; the file is cut off",
    "longer": r"longer\.bin: has 40 bytes, .* counts 5 tokens of 4 bytes; the two files do not belong together",
    "index": r"index\.idx: the index ends at byte .* cut off",
    "trailing": "1 bytes follow the index",
    "code": r"type code 6; accepted are 1 \(uint8\)",
    "documents": r"must count the 2 sequences",
    "middle": "begins within a token of 4 bytes",
    "magic": "no index of an indexed dataset",
    "version": "is of version 7",
    "missing": r"missing\.bin: no such file",
}


@pytest.mark.parametrize("case", WRONG)
def test_a_pair_that_does_not_fit_is_told_what_is_wrong(tmp_path, case):
    with pytest.raises(DataError, match=WRONG[case]):
        IndexedTokens(broken(tmp_path, case))


def test_a_folder_without_one_pair_is_told_so(tmp_path):
    with pytest.raises(DataError, match="it holds none"):
        IndexedTokens(tmp_path)

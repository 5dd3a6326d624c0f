"""Writing tensors: the library reads what we write, types are rounded rightly, sizes are understood."""

import errno
import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import safetensors

from mindformers.errors import CheckpointError, OutputError, UsageError
from mindformers.weights.readers import read_weights
from mindformers.weights.stored import of_array, recast
from mindformers.weights.writers import byte_count, save_folder, save_safetensors, save_tensors
from tests.conftest import ROOT


def read(file):
    """Return name -> (kind, shape, bytes) as the safetensors library sees them."""
    return {
        name: (item["dtype"], item["shape"], bytes(item["data"]))
        for name, item in safetensors.deserialize(file.read_bytes())
    }


def test_every_type_comes_out_as_the_library_knows_it(tmp_path):
    rng = np.random.default_rng(0)
    types = ("bool", "int8", "uint8", "int16", "uint16", "float16", "int32", "uint32", "float32", "int64", "float64")
    arrays = {name: rng.integers(0, 2, (3, 5)).astype(name) for name in types}
    arrays.update(empty=np.zeros((0, 4), np.float32), scalar=np.float64(3), swapped=arrays["float32"].astype(">f4"))
    save_safetensors(tmp_path / "x.safetensors", arrays)
    found = read(tmp_path / "x.safetensors")
    kinds = {name: found[name][0] for name in types}
    assert list(kinds.values()) == ["BOOL", "I8", "U8", "I16", "U16", "F16", "I32", "U32", "F32", "I64", "F64"]
    assert {name: found[name][2] for name in types} == {name: arrays[name].tobytes() for name in types}
    assert found["swapped"][2] == arrays["float32"].tobytes()
    assert (found["empty"][1], found["scalar"][1]) == ([0, 4], [])
    ours = read_weights(tmp_path / "x.safetensors")
    assert all(np.array_equal(ours[name], arrays[name]) and ours[name].dtype == arrays[name].dtype for name in types)


def test_every_tensor_starts_at_a_multiple_of_its_element(tmp_path):
    save_safetensors(tmp_path / "x.safetensors", {"a": np.ones(3, np.int8), "b": np.ones(3, np.float32)})
    text = (tmp_path / "x.safetensors").read_bytes()
    length = int.from_bytes(text[:8], "little")
    header = json.loads(text[8 : 8 + length])
    assert length % 8 == 0
    assert header["b"]["data_offsets"] == [0, 12]


def test_tensors_larger_than_a_piece_are_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("mindformers.weights.stored.CHUNK_BYTES", 100)
    array = np.random.default_rng(0).normal(size=(37, 11)).astype(np.float32)
    save_folder(tmp_path, {"plain": array, "turned": array.T, "columns": array[:, ::2]})
    files = read_weights(tmp_path)
    assert np.array_equal(files["plain"], array)
    assert np.array_equal(files["turned"], array.T)
    assert np.array_equal(files["columns"], array[:, ::2])


def test_a_tensor_larger_than_a_shard_is_a_shard_of_its_own(tmp_path):
    arrays = {"a": np.ones(2, np.float32), "large": np.ones(90, np.float32), "b": np.ones(2, np.float32)}
    save_folder(tmp_path, arrays, shard_bytes=16)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 94 * 4
    assert [name[6:11] for name in index["weight_map"].values()] == ["00001", "00002", "00003"]


def test_float32_becomes_the_nearest_bfloat16_and_ties_go_to_even():
    torch = pytest.importorskip("torch", reason="needs: pip install 'mindformers[torch]'")
    words = np.random.default_rng(0).integers(0, 2**32, 100_000, np.uint32)
    ties = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x3F817FFF, 0x00000000, 0x80000000, 0x00018000], np.uint32)
    numbers = np.concatenate([words, ties]).view(np.float32)
    numbers = numbers[np.isfinite(numbers) & (np.abs(numbers) < 3.38e38)]
    ours = recast(numbers, "F32", "BF16")
    theirs = torch.from_numpy(numbers).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    assert np.array_equal(ours, theirs)
    assert np.array_equal(
        recast(ours, "BF16", "F32"), torch.from_numpy(theirs.view(np.int16)).view(torch.bfloat16).float()
    )


def test_infinities_and_nans_stay_what_they_are():
    numbers = np.array([np.inf, -np.inf, np.nan], np.float32)
    numbers = np.append(numbers, np.array([0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32))
    for kind in ("F16", "BF16"):
        back = recast(recast(numbers, "F32", kind), kind, "F32")
        assert list(back[:2]) == [np.inf, -np.inf]
        assert np.isnan(back[2:]).all()


@pytest.mark.parametrize(("value", "dtype"), [(70000.0, "float16"), (3.4e38, "bfloat16")])
def test_a_number_that_the_type_cannot_hold_is_an_error_and_leaves_no_file(tmp_path, value, dtype):
    tensors = {"fine": of_array(np.ones(3, np.float32)), "large": of_array(np.array([1, -value], np.float32))}
    with pytest.raises(CheckpointError, match=rf"large: .*\n.* more than {dtype} holds"):
        save_tensors(tmp_path, tensors, dtype)
    assert not list(tmp_path.iterdir())


def test_a_type_is_for_floating_tensors_alone(tmp_path):
    arrays = {"ids": np.arange(3), "weight": np.ones(3), "half": np.ones(2, np.float16)}
    save_tensors(tmp_path, {name: of_array(array) for name, array in arrays.items()}, "float32")
    found = read(tmp_path / "model.safetensors")
    assert {name: kind for name, (kind, _, _) in found.items()} == {"ids": "I64", "weight": "F32", "half": "F32"}


def test_a_disk_that_is_full_is_an_output_error_and_leaves_no_file(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    code = (
        "import sys, numpy as np; from pathlib import Path; from mindformers.errors import OutputError\n"
        "from mindformers.weights.writers import save_folder\n"
        "try:\n    save_folder(Path(sys.argv[1]), {'x': np.ones(5000, np.float32)})\n"
        "except OutputError as error:\n    sys.exit(f'refused: {error}')"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, preexec_fn=limit, capture_output=True, text=True, timeout=120)
    assert "refused" in result.stderr
    assert "model.safetensors: cannot be written: File too large" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(errno.EINVAL, "cannot"), AttributeError("sendfile")])
def test_where_the_kernel_cannot_copy_a_file_the_process_does(tmp_path, monkeypatch, error):
    def sendfile(*_):
        raise error

    array = np.random.default_rng(0).normal(size=(9, 7)).astype(np.float32)
    save_folder(tmp_path, {"x": array})
    before = (tmp_path / "model.safetensors").read_bytes()
    monkeypatch.setattr("mindformers.weights.writers.os.sendfile", sendfile)
    (tmp_path / "copy").mkdir()
    save_tensors(tmp_path / "copy", {"x": read_weights(tmp_path).stored("x")})
    assert (tmp_path / "copy" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("dtype", [None, "float16"], ids=["as it is", "recast"])
def test_a_source_that_became_shorter_is_named_and_no_file_is_left(tmp_path, dtype):
    save_folder(tmp_path, {"x": np.ones(1000, np.float32)})
    stored = read_weights(tmp_path).stored("x")
    os.truncate(tmp_path / "model.safetensors", 500)
    (tmp_path / "copy").mkdir()
    with pytest.raises(CheckpointError, match="x: the file has become shorter since it was opened"):
        save_tensors(tmp_path / "copy", {"x": stored}, dtype)
    assert not list((tmp_path / "copy").iterdir())


def test_an_array_of_no_known_type_is_a_type_error(tmp_path):
    with pytest.raises(TypeError, match="safetensors has no type for object"):
        save_folder(tmp_path, {"x": np.array([None])})


def test_a_folder_that_is_a_file_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot be written"):
        save_folder(tmp_path / "file", {"x": np.ones(2)})


@pytest.mark.parametrize(
    ("text", "count"),
    [("1000", 1000), ("5GB", 5 * 10**9), ("2GiB", 2**31), ("1.5 MB", 1_500_000), ("3k", 3000), ("7B", 7)],
)
def test_sizes_are_understood(text, count):
    assert byte_count(text) == count


@pytest.mark.parametrize("text", ["", "GB", "-5GB", "5XB", "0", "five"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match="is not a size"):
        byte_count(text)

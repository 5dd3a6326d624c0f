"""Weights on disk: whole, sharded, damaged, of other kinds; and into a model, all or nothing."""

import json
import struct

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from mindformers.errors import CheckpointError, OutputError
from mindformers.weights.readers import read_weights
from mindformers.weights.restore import load_weights
from mindformers.weights.stored import StoredTensor
from mindformers.weights.writers import save_folder, save_safetensors, save_tensors


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {f"part{i}.weight": rng.normal(size=(4, 3)).astype(np.float32) for i in range(5)}


def test_a_saved_folder_reads_back_bit_for_bit(tmp_path, arrays):
    save_folder(tmp_path, arrays)
    files = read_weights(tmp_path)
    assert set(files) == set(arrays)
    assert all(np.array_equal(files[name], arrays[name]) for name in arrays)
    assert files.shape("part0.weight") == (4, 3)


def test_weights_above_a_size_are_cut_into_shards_with_an_index(tmp_path, arrays):
    written = save_folder(tmp_path, arrays, shard_bytes=100)
    assert [path.name for path in written] == [
        *(f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)),
        "model.safetensors.index.json",
    ]
    assert all(np.array_equal(read_weights(tmp_path)[name], arrays[name]) for name in arrays)


def test_a_slice_that_is_not_contiguous_is_stored_right(tmp_path):
    whole = np.arange(24, dtype=np.float32).reshape(4, 6)
    save_safetensors(
        tmp_path / "x.safetensors", {"columns": whole[:, ::2], "turned": whole.T, "scalar": np.float32(3.0)}
    )
    files = read_weights(tmp_path / "x.safetensors")
    assert np.array_equal(files["columns"], whole[:, ::2])
    assert np.array_equal(files["turned"], whole.T)
    assert files["scalar"].shape == ()


def test_bfloat16_comes_as_float32(tmp_path):
    values = np.array([1.0, -2.5, 3.140625], np.float32)
    words = (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    header = json.dumps({"x": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + words)
    assert np.array_equal(read_weights(tmp_path)["x"], values)


@pytest.mark.parametrize("ending", ["safetensors", "bin", "ckpt"])
def test_bfloat16_is_also_there_as_the_words_of_the_file(tmp_path, ending):
    words = np.array([[0x3F80, 0xC020], [0x7F80, 0x0001]], np.uint16)
    file = tmp_path / f"x.{ending}"
    if ending == "safetensors":
        save_tensors(tmp_path, {"x": StoredTensor("BF16", (2, 2), lambda: words)})
        file = tmp_path / "model.safetensors"
    elif ending == "bin":
        torch = pytest.importorskip("torch", reason="needs: pip install 'mindformers[torch]'")
        torch.save({"x": torch.from_numpy(words.view(np.int16)).view(torch.bfloat16)}, file)
    else:
        numbers = (words.astype(np.uint32) << 16).view(np.float32)
        ms.save_checkpoint([{"name": "x", "data": ms.Tensor(numbers, ms.bfloat16)}], str(file))
    files = read_weights(file)
    assert files.stored("x").kind == "BF16"
    assert np.array_equal(files.stored("x").read(), words)
    assert np.array_equal(files["x"], (words.astype(np.uint32) << 16).view(np.float32))


def test_a_bin_file_of_the_older_format_and_of_parameters_is_read(tmp_path, arrays):
    torch = pytest.importorskip("torch", reason="needs: pip install 'mindformers[torch]'")
    parameters = {name: torch.nn.Parameter(torch.tensor(array)) for name, array in arrays.items()}
    torch.save(parameters, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert np.array_equal(read_weights(tmp_path)["part1.weight"], arrays["part1.weight"])


def test_a_type_that_numpy_lacks_is_named_when_it_is_read(tmp_path):
    header = json.dumps({"x": {"dtype": "F8_E4M3", "shape": [3], "data_offsets": [0, 3]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(3))
    files = read_weights(tmp_path)
    assert files.shape("x") == (3,)
    with pytest.raises(CheckpointError, match="x: stored as F8_E4M3"):
        files["x"]


def test_a_file_that_was_cut_off_is_named(tmp_path, arrays):
    save_folder(tmp_path, arrays)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match=r"model.safetensors.*\n.*not a whole safetensors file"):
        read_weights(tmp_path)


def test_a_missing_shard_is_named(tmp_path, arrays):
    save_folder(tmp_path, arrays, shard_bytes=100)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002-of-00003.safetensors: the shard is missing"):
        read_weights(tmp_path)


@pytest.mark.parametrize("make", ["nothing", "empty folder", "text file"])
def test_a_place_without_weights_says_what_was_expected(tmp_path, make):
    place = tmp_path / "place"
    if make == "empty folder":
        place.mkdir()
    elif make == "text file":
        place = tmp_path / "notes.txt"
        place.write_text("no weights")
    with pytest.raises(CheckpointError, match="expected model.safetensors"):
        read_weights(place)


def test_a_bin_file_is_read_as_weights_alone(tmp_path, arrays):
    torch = pytest.importorskip("torch", reason="needs: pip install 'mindformers[torch]'")
    torch.save({name: torch.tensor(array) for name, array in arrays.items()}, tmp_path / "pytorch_model.bin")
    assert np.array_equal(read_weights(tmp_path)["part1.weight"], arrays["part1.weight"])


def test_a_bin_file_that_holds_code_is_refused(tmp_path):
    torch = pytest.importorskip("torch", reason="needs: pip install 'mindformers[torch]'")

    class Harm:
        def __reduce__(self):
            return (print, ("harm",))

    torch.save({"x": Harm()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot be read as weights alone"):
        read_weights(tmp_path)


class Small(nn.Cell):
    def __init__(self):
        super().__init__()
        self.body = nn.Dense(3, 4, has_bias=False)
        self.head = nn.Dense(4, 2)

    def construct(self, x):
        return self.head(self.body(x))


def weights_of(cell):
    return {item.name: item.asnumpy().copy() for item in cell.get_parameters()}


def test_a_mindspore_checkpoint_is_read(tmp_path):
    ms.save_checkpoint(Small(), str(tmp_path / "small.ckpt"))
    model = Small()
    assert load_weights(model, tmp_path / "small.ckpt").loaded == 3


def test_all_mismatches_are_listed_and_nothing_changes(tmp_path):
    model = Small()
    before = weights_of(model)
    save_folder(
        tmp_path,
        {
            "body.weight": np.zeros((4, 5), np.float32),
            "head.weight": np.zeros((2, 4), np.float32),
            "heat.bias": np.zeros(2, np.float32),
        },
    )
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, tmp_path)
    text = str(caught.value)
    assert "head.bias [2]: missing" in text
    assert "heat.bias [2]: unknown; the nearest path is head.bias" in text
    assert "body.weight: shape [4, 5] in the file, [4, 3] in the model" in text
    assert all(np.array_equal(before[name], value) for name, value in weights_of(model).items())


def test_a_new_head_may_be_missing_as_a_whole_and_only_then(tmp_path):
    model = Small()
    save_folder(tmp_path, {"body.weight": np.ones((4, 3), np.float32)})
    report = load_weights(model, tmp_path, new_parameters=("head.*",))
    assert report.fresh == ["head.weight", "head.bias"]
    save_folder(tmp_path, {"body.weight": np.ones((4, 3), np.float32), "head.bias": np.zeros(2, np.float32)})
    with pytest.raises(CheckpointError, match=r"head.weight \[2, 4\]: missing"):
        load_weights(model, tmp_path, new_parameters=("head.*",))


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path, arrays):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot be written"):
        save_safetensors(tmp_path / "file" / "x.safetensors", arrays)

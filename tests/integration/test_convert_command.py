"""`mindformers convert` as a user starts it; what it takes in memory; models loaded from what it wrote."""

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

from mindformers.registry import load_object
from tests.conftest import ROOT
from tests.unit.test_convert import FAMILIES, config_of, hf_shapes, random_tensors, read, write


def start(*arguments, code=None, cwd=None):
    """Run the command (or `code`) in a process of its own and return it finished."""
    what = ["-c", code] if code else ["-m", "mindformers.cli", "convert"]
    return subprocess.run(
        [sys.executable, *what, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )


@pytest.fixture
def source(tmp_path):
    """A folder of Hugging Face's layout with a tiny encoder, a tensor that nobody needs and a vocabulary."""
    config = config_of("bert")
    tensors = random_tensors({**hf_shapes(config, "ForQuestionAnswering"), "bert.embeddings.position_ids": (1, 12)})
    folder = write(tmp_path / "hf", config, tensors, architectures=["BertForQuestionAnswering"])
    (folder / "vocab.txt").write_text("[PAD]\n")
    return folder


def test_there_and_back_by_command(tmp_path, source):
    there = start("--from", "hf", source, "--to", "native", "native", "--shard-size", "2kB", cwd=tmp_path)
    assert there.returncode == 0, there.stderr
    assert there.stderr == ""
    assert "bert.embeddings.position_ids: positions are counted, not stored" in there.stdout
    assert "with vocab.txt" in there.stdout
    assert (tmp_path / "native" / "model.safetensors.index.json").is_file()
    back = start("native", "back", "--from=native", "--to=hf", cwd=tmp_path)
    assert back.returncode == 0, back.stderr
    expected = read(source)
    del expected["bert.embeddings.position_ids"]
    assert read(tmp_path / "back") == expected
    assert (tmp_path / "back" / "vocab.txt").read_text() == "[PAD]\n"


def test_a_type_can_be_asked_for(tmp_path, source):
    result = start(source, "half", "--from", "hf", "--to", "hf", "--dtype", "bfloat16", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert {dtype for dtype, _, _ in read(tmp_path / "half").values()} == {"bfloat16"}
    assert json.loads((tmp_path / "half" / "config.json").read_text())["torch_dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("no source", "no such path: "),
        ("no config", "no config.json"),
        ("cut off", "not a whole safetensors file"),
        ("missing tensor", "head.span.bias [2]: missing"),
        ("target holds a model", "holds config.json"),
        ("target is a file", "cannot be written"),
        ("no size", "'5XB' is not a size"),
        ("onto itself", "choose another folder"),
    ],
)
def test_what_a_user_does_wrong_is_one_message_and_exit_code_2(tmp_path, source, change, said):
    target, flags = tmp_path / "out", []
    if change == "no source":
        source = tmp_path / "nowhere"
    elif change == "no config":
        (source / "config.json").unlink()
    elif change == "cut off":
        (source / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes()[:-1])
    elif change == "missing tensor":
        tensors = {name: value for name, value in read(source).items() if name != "qa_outputs.bias"}
        write(source, config_of("bert"), tensors, architectures=["BertForQuestionAnswering"])
    elif change == "target holds a model":
        target.mkdir()
        (target / "config.json").write_text("{}")
    elif change == "target is a file":
        target.write_text("mine")
    elif change == "no size":
        flags = ["--shard-size", "5XB"]
    else:
        target = source
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = start("--from", "hf", source, "--to", "native", target, *flags)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


MEASURE = """
import sys
from mindformers.weights.convert import convert
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024
before = peak()
source, target, source_names, target_names, dtype = sys.argv[1:]
convert(source, target, source_names, target_names, dtype or None)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc tells the largest resident set of one program")
def test_memory_holds_a_few_tensors_whatever_the_size_of_the_model(tmp_path):
    # GPT-2's file needs everything: cutting, joining and turning; 340 MB of 6 layers, the largest tensor 17 MB.
    config = config_of("gpt2", vocab_size=4096, n_embd=1024, n_layer=6, n_head=16)
    shapes = hf_shapes(config, "ForCausalLM")
    header, size = {}, 0
    for name, shape in shapes.items():
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [size, size + 4 * int(np.prod(shape))]}
        size = header[name]["data_offsets"][1]
    largest = max(4 * int(np.prod(shape)) for shape in shapes.values())
    allowed = 2 * largest + 50e6
    assert size > 3 * allowed  # a conversion that held the whole file would be seen
    text = json.dumps(header).encode()
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "config.json").write_text(json.dumps({**config.to_hf(), "architectures": ["GPT2LMHeadModel"]}))
    with (tmp_path / "hf" / "model.safetensors").open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.truncate(8 + len(text) + size)  # zeros that take no room on the disk
    ways = [
        ("hf", "native", "hf", "native", ""),
        ("native", "back", "native", "hf", ""),
        ("native", "half", "native", "hf", "bfloat16"),
    ]
    for source, target, *names in ways:
        # ru_maxrss would count the process that starts this one, VmHWM does not.
        result = start(tmp_path / source, tmp_path / target, *names, code=MEASURE)
        assert result.returncode == 0, result.stderr
        assert int(result.stdout) < allowed, (names, result.stdout)


@pytest.mark.parametrize(("model_type", "ending"), [("bert", "ForQuestionAnswering"), ("gpt2", "ForCausalLM")])
def test_a_model_is_the_same_from_either_folder(tmp_path, model_type, ending):
    from mindformers.weights.convert import convert

    config, family = config_of(model_type), FAMILIES[model_type]
    rng = np.random.default_rng(0)
    tensors = {
        name: ("float32", shape, rng.normal(size=shape).astype(np.float32).tobytes())
        for name, shape in hf_shapes(config, ending).items()
    }
    name = family.classes[ending]
    source = write(tmp_path / "hf", config, tensors, architectures=[name])
    convert(source, tmp_path / "native", "hf", "native", shard_bytes=5000)
    model = load_object(f"{family.package}.model:{name}")
    first, second = (model.from_pretrained(folder).parameters_dict() for folder in (source, tmp_path / "native"))
    assert list(first) == list(second)
    assert all(np.array_equal(first[path].asnumpy(), second[path].asnumpy()) for path in first)

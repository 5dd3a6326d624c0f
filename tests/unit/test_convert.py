"""Conversion between Hugging Face's names and ours: bit for bit, every tensor accounted for, all or nothing.

Sources are put together here and results are read by the safetensors library, so that our reader and writer cannot
agree on a mistake.
"""

import json
import struct
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import safetensors

from mindformers.arch.paths import parameter_table
from mindformers.arch.stacks import HEAD_OF_CLASS
from mindformers.catalog import FAMILIES
from mindformers.errors import CheckpointError, OutputError, UnknownNameError, UsageError
from mindformers.registry import load_object
from mindformers.weights.convert import convert
from mindformers.weights.folder import config_from_hf, weight_map_of
from mindformers.weights.layout import joined_shape
from mindformers.weights.readers import SINGLE
from tests.conftest import ROOT

SIZES = {
    "vocab_size": 50,
    "hidden_size": 8,
    "embedding_size": 6,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
    "n_embd": 8,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 12,
    "d_model": 8,
    "d_kv": 4,
    "d_ff": 16,
    "num_layers": 2,
    "num_heads": 2,
    "num_labels": 3,
}
"""Small sizes under all names that families use."""
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
KINDS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "I8"}
CASES = [
    *((name, ending, {}) for name, family in FAMILIES.items() for ending in family.heads),
    *(
        (name, ending, {"tie_word_embeddings": False})
        for name, family in FAMILIES.items()
        for ending in family.heads[1:2]
    ),
    ("t5", "ForSeq2SeqLM", {"feed_forward_proj": "gated-gelu"}),
]


def config_of(model_type, **choices):
    family = FAMILIES[model_type]
    cls = load_object(f"{family.package}.config:{family.config}")
    known = {item.name for item in fields(cls)}
    return cls(**{key: value for key, value in {**SIZES, **choices}.items() if key in known})


def hf_shapes(config, ending, base=None):
    """Return Hugging Face's names and shapes of a model."""
    table = parameter_table(config.arch(HEAD_OF_CLASS[ending]))
    steps = weight_map_of(FAMILIES[config.model_type]).export(list(table), ending == "" if base is None else base)
    return {step.theirs: joined_shape(step, table[step.paths[0]].shape) for step in steps}


def random_tensors(shapes, dtype="float32", seed=0):
    """Return name -> (dtype, shape, bytes); every pattern of bits may occur, NaN included."""
    rng = np.random.default_rng(seed)
    return {
        name: (dtype, tuple(shape), rng.bytes(BYTES[dtype] * int(np.prod(shape)))) for name, shape in shapes.items()
    }


def serialized(tensors):
    """Return a safetensors file. (The library's own function takes other arguments from release to release.)"""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, shape, content) in tensors.items():
        place = [len(data), len(data) + len(content)]
        header[name] = {"dtype": KINDS[dtype], "shape": list(shape), "data_offsets": place}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def write(folder, config, tensors, shards=1, **values):
    """Write a model folder."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**config.to_hf(), **values}))
    names = list(tensors)
    files = [f"model-{n + 1:05d}-of-{shards:05d}.safetensors" for n in range(shards)] if shards > 1 else [SINGLE]
    for number, file in enumerate(files):
        (folder / file).write_bytes(serialized({name: tensors[name] for name in names[number::shards]}))
    if shards > 1:
        index = {name: files[number % shards] for number, name in enumerate(names)}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder


def read(folder):
    """Return name -> (dtype, shape, bytes) of all files, read by the safetensors library."""
    dtypes = {kind: dtype for dtype, kind in KINDS.items()}
    return {
        name: (dtypes[item["dtype"]], tuple(item["shape"]), bytes(item["data"]))
        for file in sorted(folder.glob("*.safetensors"))
        for name, item in safetensors.deserialize(file.read_bytes())
    }


@pytest.fixture
def bert(tmp_path):
    """A folder with a question-answering encoder, and its configuration and tensors."""
    config = config_of("bert")
    tensors = random_tensors(hf_shapes(config, "ForQuestionAnswering"))
    return write(tmp_path / "hf", config, tensors, architectures=["BertForQuestionAnswering"]), config, tensors


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize(("model_type", "ending", "choices"), CASES)
def test_there_and_back_is_the_same_bits(tmp_path, model_type, ending, choices, dtype, shards):
    config = config_of(model_type, **choices)
    shapes = hf_shapes(config, ending)
    tensors = random_tensors(shapes, dtype)
    named = {"architectures": [FAMILIES[model_type].classes[ending]]}
    source = write(tmp_path / "hf", config, tensors, shards, **named, torch_dtype=dtype)
    size = max(1, sum(len(data) for _, _, data in tensors.values()) // shards)
    there = convert(source, tmp_path / "native", "hf", "native", shard_bytes=size)
    convert(tmp_path / "native", tmp_path / "back", "native", "hf", shard_bytes=size)
    assert not there.ignored
    assert (tmp_path / "native" / "model.safetensors.index.json").exists() == (shards > 1)
    ours = read(tmp_path / "native")
    table = parameter_table(config.arch(HEAD_OF_CLASS[ending]))
    assert {name: shape for name, (_, shape, _) in ours.items()} == {path: spec.shape for path, spec in table.items()}
    assert read(tmp_path / "back") == tensors
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (source, tmp_path / "back"))
    assert before == after
    assert json.loads((tmp_path / "native" / "config.json").read_text()) == {**before, "mindformers_format": 1}


@pytest.mark.parametrize(("model_type", "ending", "choices"), CASES)
def test_the_head_is_found_without_architectures(tmp_path, model_type, ending, choices):
    config = config_of(model_type, **choices)
    tensors = random_tensors(hf_shapes(config, ending))
    source = write(tmp_path / "hf", config, tensors)
    report = convert(source, tmp_path / "native", "hf", "native")
    assert not report.ignored
    assert set(read(tmp_path / "native")) == set(parameter_table(config.arch(HEAD_OF_CLASS[ending])))
    convert(source, tmp_path / "same", "hf", "hf")
    assert read(tmp_path / "same") == tensors


def test_several_heads_in_one_file_all_go_along(tmp_path):
    config = config_of("bert")
    shapes = {**hf_shapes(config, "ForMaskedLM"), **hf_shapes(config, "ForSequenceClassification")}
    shapes.update({"cls.seq_relationship.weight": (2, 8), "cls.seq_relationship.bias": (2,)})
    extra = {"bert.embeddings.position_ids": (1, 12)}
    tensors = random_tensors({**shapes, **extra})
    source = write(tmp_path / "hf", config, tensors, architectures=["BertForMaskedLM"])
    report = convert(source, tmp_path / "native", "hf", "native")
    assert set(report.ignored) == set(extra)
    assert all(report.ignored.values())
    assert all(name in str(report) for name in extra)
    convert(tmp_path / "native", tmp_path / "back", "native", "hf")
    assert read(tmp_path / "back") == {name: tensors[name] for name in shapes}


def test_a_head_that_config_json_names_must_be_there(tmp_path):
    config = config_of("bert")
    source = write(
        tmp_path / "hf",
        config,
        random_tensors(hf_shapes(config, "", base=False)),
        architectures=["BertForTokenClassification"],
    )
    with pytest.raises(CheckpointError, match=r"head.classifier.weight \[3, 8\]: missing"):
        convert(source, tmp_path / "native", "hf", "native")


def test_half_a_head_is_missing_the_other_half(tmp_path):
    config = config_of("bert")
    shapes = hf_shapes(config, "ForQuestionAnswering")
    del shapes["qa_outputs.bias"]
    source = write(tmp_path / "hf", config, random_tensors(shapes))
    with pytest.raises(CheckpointError, match=r"head.span.bias \[2\]: missing"):
        convert(source, tmp_path / "native", "hf", "native")


@pytest.mark.parametrize("names", ["hf", "native"])
def test_every_tensor_that_does_not_fit_is_listed_and_nothing_is_written(tmp_path, bert, names):
    source, config, _ = bert
    if names == "native":
        convert(source, tmp_path / "ours", "hf", "native")
        source = tmp_path / "ours"
    tensors = read(source)
    first, second, *_ = sorted(tensors)
    del tensors[first]
    tensors[second] = ("float32", (7, 3), bytes(84))
    tensors["encoder.surplus.weight"] = ("float32", (1,), bytes(4))
    write(source, config, tensors, architectures=["BertForQuestionAnswering"])
    with pytest.raises(CheckpointError) as caught:
        convert(source, tmp_path / "out", names, "native")
    lines = caught.value.mismatches
    assert len(lines) == 3
    assert sum("missing" in line for line in lines) == 1
    assert sum("shape [7, 3] in the file" in line for line in lines) == 1
    assert sum(line.startswith("encoder.surplus.weight [1]: unknown") for line in lines) == 1
    assert not (tmp_path / "out").exists()


def test_weights_of_integers_are_refused(tmp_path, bert):
    source, config, tensors = bert
    name = "qa_outputs.weight"
    tensors[name] = ("int8", tensors[name][1], tensors[name][2][: len(tensors[name][2]) // 4])
    write(source, config, tensors)
    with pytest.raises(CheckpointError, match="qa_outputs.weight: stored as I8"):
        convert(source, tmp_path / "out", "hf", "native")


def test_a_file_that_was_cut_off_is_named_and_nothing_is_written(tmp_path, bert):
    source, *_ = bert
    file = source / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        convert(source, tmp_path / "out", "hf", "native")
    assert not (tmp_path / "out").exists()


def test_names_that_were_meant_the_other_way_are_recognised(tmp_path, bert):
    source, *_ = bert
    with pytest.raises(CheckpointError, match="meant to be 'hf'"):
        convert(source, tmp_path / "out", "native", "hf")
    convert(source, tmp_path / "ours", "hf", "native")
    with pytest.raises(UsageError, match="read it as native"):
        convert(tmp_path / "ours", tmp_path / "out", "hf", "native")


def test_a_later_layout_is_refused(tmp_path, bert):
    source, config, tensors = bert
    write(source, config, tensors, mindformers_format=2)
    with pytest.raises(CheckpointError, match="mindformers_format is 2"):
        convert(source, tmp_path / "out", "native", "hf")


def test_state_of_a_run_is_left_out(tmp_path, bert):
    source, config, _ = bert
    convert(source, tmp_path / "ours", "hf", "native")
    tensors = {**read(tmp_path / "ours"), "dropout.state": ("float32", (2,), bytes(8))}
    write(tmp_path / "ours", config, tensors, architectures=["BertForQuestionAnswering"])
    assert convert(tmp_path / "ours", tmp_path / "out", "native", "hf").ignored == {
        "dropout.state": "state of a training run"
    }


def test_an_unknown_family_is_named(tmp_path, bert):
    source, config, tensors = bert
    write(source, config, tensors, model_type="bret")
    with pytest.raises(UnknownNameError, match="Did you mean 'bert'"):
        convert(source, tmp_path / "out", "hf", "native")


def test_a_folder_that_holds_something_is_left_alone_unless_it_may_be_overwritten(tmp_path, bert):
    source, config, tensors = bert
    out = write(tmp_path / "out", config, random_tensors({"old": (3,)}), shards=2)
    (out / "model_backup.safetensors").write_text("mine")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(OutputError, match=r"out holds config.json, .* and 1 more"):
        convert(source, out, "hf", "hf")
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    convert(source, out, "hf", "hf", overwrite=True)
    assert sorted(file.name for file in out.iterdir()) == [
        "config.json",
        "model.safetensors",
        "model_backup.safetensors",
    ]
    (out / "model_backup.safetensors").unlink()
    assert read(out) == tensors


def test_a_failure_while_overwriting_leaves_the_earlier_model(tmp_path, bert):
    source, config, tensors = bert
    tensors = {name: ("float32", shape, bytes(len(data))) for name, (_, shape, data) in tensors.items()}
    tensors["bert.embeddings.LayerNorm.bias"] = ("float32", (8,), np.full(8, 1e6, np.float32).tobytes())
    write(source, config, tensors)
    out = write(tmp_path / "out", config, random_tensors({"old": (3,)}))
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(CheckpointError, match=r"embed.norm.bias: .*\n.*1e\+06, more than float16 holds"):
        convert(source, out, "hf", "native", dtype="float16", overwrite=True)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


@pytest.mark.parametrize("place", ["file", "file/inside"])
def test_a_place_that_cannot_be_a_folder_is_an_output_error(tmp_path, bert, place):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot be written"):
        convert(bert[0], tmp_path / place, "hf", "native")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_model_is_not_converted_onto_itself(bert):
    with pytest.raises(UsageError, match="also where the model is read from"):
        convert(bert[0], bert[0] / ".." / bert[0].name, "hf", "native", overwrite=True)


def test_a_leftover_of_a_killed_conversion_is_named(tmp_path, bert):
    (tmp_path / "out" / ".unfinished").mkdir(parents=True)
    with pytest.raises(OutputError, match="one was killed; then delete it"):
        convert(bert[0], tmp_path / "out", "hf", "native")


def test_another_type_is_written_and_said_in_config_json(tmp_path):
    config = config_of("gpt2")  # its file has packed and turned matrices
    shapes = hf_shapes(config, "ForCausalLM")
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    tensors = {name: ("float32", array.shape, array.tobytes()) for name, array in values.items()}
    source = write(tmp_path / "hf", config, tensors, architectures=["GPT2LMHeadModel"], dtype="float32")
    convert(source, tmp_path / "half", "hf", "native", dtype="float16")
    convert(tmp_path / "half", tmp_path / "back", "native", "hf", dtype="float32")
    back = read(tmp_path / "back")
    assert {
        name: np.frombuffer(data, np.float32).reshape(shape).tolist() for name, (_, shape, data) in back.items()
    } == {name: array.astype(np.float16).astype(np.float32).tolist() for name, array in values.items()}
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == "float16"


def test_files_of_the_tokenizer_go_along_and_others_do_not(tmp_path, bert):
    source, *_ = bert
    names = ["vocab.txt", "tokenizer.json", "spiece.model", "generation_config.json"]
    for name in [*names, "README.md", "optimizer.safetensors.txt"]:
        (source / name).write_text(name)
    report = convert(source / "model.safetensors", tmp_path / "out", "hf", "native")
    assert report.copied == sorted(names)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(
        [*names, "config.json", "model.safetensors"]
    )
    assert all((tmp_path / "out" / name).read_text() == name for name in names)


def test_old_spellings_of_layer_norm_come_out_as_the_new_ones(tmp_path, bert):
    source, config, tensors = bert
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in tensors.items()
    }
    write(source, config, old, architectures=["BertForQuestionAnswering"])
    convert(source, tmp_path / "out", "hf", "hf")
    assert read(tmp_path / "out") == tensors


def test_a_bin_file_is_converted(tmp_path, bert):
    torch = pytest.importorskip("torch", reason="needs: pip install 'mindformers[torch]'")
    source, _, tensors = bert
    (source / "model.safetensors").unlink()
    values = {
        name: torch.frombuffer(bytearray(data), dtype=torch.float32).reshape(shape)
        for name, (_, shape, data) in tensors.items()
    }
    torch.save({name: value.to(torch.bfloat16) for name, value in values.items()}, source / "pytorch_model.bin")
    convert(source, tmp_path / "out", "hf", "hf")
    expected = {name: value.to(torch.bfloat16).view(torch.int16).numpy().tobytes() for name, value in values.items()}
    assert {name: data for name, (_, _, data) in read(tmp_path / "out").items()} == expected


def test_what_is_written_reads_as_the_same_configuration(tmp_path, bert):
    source, config, _ = bert
    convert(source, tmp_path / "out", "hf", "native")
    assert config_from_hf(json.loads((tmp_path / "out" / "config.json").read_text())) == config


def test_converting_imports_neither_mindspore_nor_torch(tmp_path, bert):
    code = (
        "import sys; from mindformers.weights.convert import convert; "
        f"convert({str(bert[0])!r}, {str(tmp_path / 'out')!r}, 'hf', 'native', dtype='bfloat16'); "
        "assert not {'mindspore', 'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)

"""Checkpoints across layouts: every chain ends in the bits it began with, and pieces are what the plan says."""

import json
import shutil

import numpy as np
import pytest

from mindformers import cli
from mindformers.arch.stacks import HEAD_OF_CLASS
from mindformers.catalog import FAMILIES
from mindformers.errors import CheckpointError, ConfigError, OutputError, UsageError
from mindformers.parallel.job import Job
from mindformers.parallel.mesh import Mesh
from mindformers.parallel.placement import place
from mindformers.train.checkpoint_files import STATE, verify, write_folder
from mindformers.train.reshard import reshard
from mindformers.weights.convert import convert
from mindformers.weights.readers import read_weights
from tests.conftest import CONFIGS
from tests.unit.test_convert import config_of, hf_shapes, random_tensors, read, serialized, write

CHAIN = (("2,2,2", "safetensors"), ("1,4,1", "ckpt"), ("1,1,4", "safetensors"), ("1,1,1", "safetensors"))
SIZES = {
    "num_hidden_layers": 4,
    "n_layer": 4,
    "num_layers": 4,
    "num_attention_heads": 4,
    "n_head": 4,
    "num_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 16,
    "n_embd": 16,
    "d_model": 16,
    "vocab_size": 52,
}


def model(folder, model_type, ending, dtype="float32", **choices):
    """Write a model folder with our names; returns the folder, its configuration and Hugging Face's tensors."""
    config = config_of(model_type, **{**SIZES, **choices})
    tensors = random_tensors(hf_shapes(config, ending), dtype)
    named = {"architectures": [FAMILIES[model_type].classes[ending]]}
    source = write(folder / "hf", config, tensors, **named, torch_dtype=dtype)
    convert(source, folder / "native", "hf", "native")
    return folder / "native", config, tensors


def training(folder, native, averaged=False):
    """Write a training checkpoint of the model in `native` with the state of an optimizer; returns its folder."""
    shapes = {name: shape for name, (_, shape, _) in read(native).items()}
    state = random_tensors(
        {f"{moment}.{name}": shape for moment in ("adam_m", "adam_v") for name, shape in shapes.items()}
    )
    state.update(random_tensors({"global_step": (1,), "rows.embed.tokens.weight": (52,)}, seed=1))

    def fill(target):
        shutil.copytree(native, target, dirs_exist_ok=True)
        if averaged:
            shutil.copytree(native, target / "averaged")
        (target / "optimizer.safetensors").write_bytes(serialized(state))
        (target / STATE).write_text("{}")

    write_folder(folder / "step", fill)
    return folder / "step"


def content(folder):
    """Return every tensor of a whole checkpoint, by file."""
    return {
        str(file.relative_to(folder)): {name: item.tobytes() for name, item in read_weights(file).items()}
        for file in sorted(folder.rglob("*.safetensors"))
    }


@pytest.mark.parametrize(("model_type", "ending"), [(name, list(family.heads)[1]) for name, family in FAMILIES.items()])
def test_a_chain_of_layouts_ends_in_the_bits_it_began_with(tmp_path, model_type, ending):
    native, _, _ = model(tmp_path, model_type, ending)
    first = training(tmp_path, native, averaged=model_type == "t5")
    last = first
    for number, (to, kind) in enumerate(CHAIN):
        reshard(str(last), tmp_path / str(number), to, kind)
        last = tmp_path / str(number)
        assert verify(last) == []
    assert content(last) == content(first)
    assert {file.name for file in last.iterdir()} == {file.name for file in first.iterdir()}


@pytest.mark.parametrize("kv_heads", [2, 4])
def test_a_piece_is_what_the_plan_gives_its_device(tmp_path, kv_heads):
    native, config, _ = model(tmp_path, "llama", "ForCausalLM", num_key_value_heads=kv_heads)
    whole = dict(read_weights(native))
    reshard(str(native), tmp_path / "split", "2,4,2")
    mesh = Mesh(2, 4, 2)
    placements = place(Job(config.arch("causal_lm"), mesh, micro_batches=2))
    for stage in range(2):
        for number in range(4):
            shutil.copy(
                tmp_path / "split" / f"rank_{stage * 8 + number}" / "model.safetensors", tmp_path / "piece.safetensors"
            )
            piece = dict(read_weights(tmp_path / "piece.safetensors"))
            here = [item for item in placements if stage in item.stages]
            assert {item.path: item.slice_shape for item in here} == {name: part.shape for name, part in piece.items()}
            for item in here:
                axis = item.axes.index("tensor") if item.splits_layer else 0
                expected = np.split(whole[item.path], 4, axis)[number] if item.splits_layer else whole[item.path]
                assert piece[item.path].tobytes() == expected.tobytes(), item.path


def test_a_tied_table_is_with_the_first_stage_and_the_last(tmp_path):
    native, _, _ = model(tmp_path, "gpt2", "ForCausalLM")
    reshard(str(native), tmp_path / "split", "1,1,4")
    held = [set(read(tmp_path / "split" / f"rank_{stage}")) for stage in range(4)]
    assert ["embed.tokens.weight" in names for names in held] == [True, False, False, True]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("model_type", ["gpt2", "bloom", "baichuan"])  # packed in three ways
def test_conversion_splits_and_merges_again(tmp_path, model_type, dtype):
    config = config_of(model_type, **SIZES)
    tensors = random_tensors(hf_shapes(config, "ForCausalLM"), dtype)
    named = {"architectures": [FAMILIES[model_type].classes["ForCausalLM"]]}
    source = write(tmp_path / "hf", config, tensors, **named)
    report = convert(source, tmp_path / "split", "hf", "native", mesh=Mesh(1, 2, 2))
    assert "rank_3/model.safetensors" in str(report)
    convert(tmp_path / "split", tmp_path / "back", "native", "hf")
    assert read(tmp_path / "back") == tensors


def test_several_heads_are_placed_together(tmp_path):
    config = config_of("bert", **SIZES)
    shapes = {**hf_shapes(config, "ForMaskedLM"), **hf_shapes(config, "ForSequenceClassification")}
    tensors = random_tensors(shapes)
    source = write(tmp_path / "hf", config, tensors, architectures=["BertForMaskedLM"])
    convert(source, tmp_path / "split", "hf", "native", mesh=Mesh(1, 2, 2))
    convert(tmp_path / "split", tmp_path / "back", "native", "hf")
    assert read(tmp_path / "back") == tensors


def test_a_run_file_says_the_layout_too(tmp_path):
    native, _, _ = model(tmp_path, "gpt2", "ForCausalLM")
    base = CONFIGS / "gpt2" / "run_gpt2.yaml"
    sizes = (
        "  data_parallel: 1\n  model_parallel: 2\n  pipeline_stage: 2\n  micro_batch_num: 2\n  vocab_emb_dp: false\n"
    )
    layers = "parallel:\n  parallel_mode: 1\nmodel:\n  model_config: {num_layers: 4, num_heads: 4, vocab_size: 52}\n"
    (tmp_path / "job.yaml").write_text(
        f"base_config: [{base}]\n{layers}parallel_config:\n{sizes}  stage_layers: [3, 1]\n"
    )
    reshard(str(native), tmp_path / "split", str(tmp_path / "job.yaml"))
    first, last = (read(tmp_path / "split" / f"rank_{rank}") for rank in (0, 2))
    assert {name.split(".")[1] for name in last if name.startswith("layers.")} == {"3"}
    assert first["embed.tokens.weight"][1] == (26, 16)


def test_pieces_are_read_as_the_whole(tmp_path):
    native, _, _ = model(tmp_path, "gpt2", "ForCausalLM")
    step = training(tmp_path, native)
    reshard(str(step), tmp_path / "split", "1,2,2")
    for file in ("model.safetensors", "optimizer.safetensors"):
        whole, pieces = (read_weights(folder / file) for folder in (step, tmp_path / "split"))
        assert {name: item.tobytes() for name, item in whole.items()} == {
            name: item.tobytes() for name, item in pieces.items()
        }
    (tmp_path / "split" / "rank_3" / "optimizer.safetensors").rename(tmp_path / "piece.safetensors")
    piece = read_weights(tmp_path / "piece.safetensors")
    assert {name: piece.shape(name) for name in piece if "." not in name or ".layers.3.mlp" in name} == {
        "global_step": (1,),
        "adam_m.layers.3.mlp.up.weight": (32, 16),
        "adam_m.layers.3.mlp.up.bias": (32,),
        "adam_m.layers.3.mlp.down.weight": (16, 32),
        "adam_m.layers.3.mlp.down.bias": (16,),
        "adam_v.layers.3.mlp.up.weight": (32, 16),
        "adam_v.layers.3.mlp.up.bias": (32,),
        "adam_v.layers.3.mlp.down.weight": (16, 32),
        "adam_v.layers.3.mlp.down.bias": (16,),
    }
    assert read_weights(tmp_path / "split").keys() == read_weights(step).keys()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_goes_through_mindspores_format(tmp_path, dtype):
    native, _, _ = model(tmp_path, "gpt2", "ForCausalLM", dtype)
    reshard(str(native), tmp_path / "ckpt", "1,1,1", "ckpt")
    before, after = read_weights(native), read_weights(tmp_path / "ckpt")
    assert sorted(file.name for file in (tmp_path / "ckpt").iterdir()) == ["config.json", "model.ckpt"]
    assert {name: after.stored(name).kind for name in after} == {name: before.stored(name).kind for name in before}
    assert all(np.array_equal(before[name], after[name], equal_nan=True) for name in before)


def refused(error, said, *arguments):
    with pytest.raises(error, match=said):
        reshard(*arguments)


def test_layouts_that_cannot_be_are_refused_and_nothing_is_written(tmp_path):
    native, _, _ = model(tmp_path, "llama", "ForCausalLM")
    target = tmp_path / "out"
    refused(ConfigError, r"3 does not divide num_heads 4.*accepted: 1, 2, 4", str(native), target, "1,3,1")
    refused(ConfigError, "4 layers do not share out over 3 stages", str(native), target, "1,1,3")
    refused(UsageError, "write data,tensor,stages", str(native), target, "2")
    refused(UsageError, "at least 1", str(native), target, "1,0,1")
    refused(CheckpointError, "convert --from hf", str(tmp_path / "hf"), target, "1,2,1")
    refused(OutputError, "exists; choose another folder", str(native), tmp_path, "1,2,1")
    step = training(tmp_path, native)
    refused(UsageError, "continues from safetensors", str(step), target, "1,1,1", "ckpt")
    (step / "optimizer.safetensors").write_bytes(b"cut off")
    refused(CheckpointError, "optimizer.safetensors: 7 bytes", str(step), target, "1,2,1")
    with pytest.raises(UsageError, match="have our names"):
        convert(tmp_path / "hf", target, "hf", "hf", mesh=Mesh(1, 2, 1))
    assert not target.exists()


def test_the_command_says_what_it_did_or_what_is_wrong(tmp_path, capsys):
    native, _, _ = model(tmp_path, "llama", "ForCausalLM")
    assert cli.main(["reshard", str(native), str(tmp_path / "split"), "--to", "2,2,1"]) == 0
    assert "for 4 devices (data 2, tensor 2, stages 1)" in capsys.readouterr().out
    assert cli.main(["reshard", str(native), str(tmp_path / "out"), "--to", "1,3,1"]) == 2
    assert "parallel_config.model_parallel: 3 does not divide" in capsys.readouterr().err
    sizes = ["--tensor-model-parallel-size=0", "--from=hf", "--to=native"]
    assert cli.main(["convert", str(tmp_path / "hf"), str(tmp_path / "out"), *sizes]) == 2
    assert "each is at least 1" in capsys.readouterr().err


def test_damaged_pieces_are_named(tmp_path):
    native, _, _ = model(tmp_path, "llama", "ForCausalLM")
    reshard(str(native), tmp_path / "split", "1,2,1")
    with pytest.raises(CheckpointError, match="Give the whole folder"):
        read_weights(tmp_path / "split" / "rank_1")
    shutil.copy(tmp_path / "native" / "model.safetensors", tmp_path / "split" / "rank_1")
    with pytest.raises(
        CheckpointError, match=r"rank_1: layers.0.attention.q.weight: F32 \[16, 16\]; its piece is \[8, 16\]"
    ):
        read_weights(tmp_path / "split")
    (tmp_path / "split" / "rank_1" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="rank_1: 1 problem:\n  no model.safetensors or .ckpt"):
        read_weights(tmp_path / "split")
    layout = json.loads((tmp_path / "split" / "layout.json").read_text())
    (tmp_path / "split" / "layout.json").write_text(json.dumps({**layout, "format_version": 2}))
    with pytest.raises(CheckpointError, match="format version 2"):
        read_weights(tmp_path / "split")


@pytest.mark.parametrize(("size", "fits"), [("7B", True), ("13B", False), ("seven", False)])
def test_a_size_by_name_is_compared_with_the_model(tmp_path, size, fits):
    released = {"vocab_size": 32000, "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 32}
    config = config_of("llama", **released, num_hidden_layers=32, intermediate_size=11008)
    source = write(tmp_path / "hf", config, random_tensors({"lm_head.weight": (1,)}))
    with pytest.raises(CheckpointError if fits else UsageError, match="missing" if fits else "6.74B parameters"):
        convert(source, tmp_path / "out", "hf", "native", size=size)


def test_the_head_of_every_family_has_a_place():
    for name, family in FAMILIES.items():
        config = config_of(name, **SIZES)
        for ending in family.heads:
            assert place(Job(config.arch(HEAD_OF_CLASS[ending]), Mesh(1, 2, 2), micro_batches=2))

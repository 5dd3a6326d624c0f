"""What `plan --compile` asks for, and how it compares: all but the compiler itself."""

import json

import pytest

from mindformers.config.check import check_layers
from mindformers.config.source import read_text
from mindformers.errors import UsageError
from mindformers.parallel import compile_command, compile_process, stub_libraries
from mindformers.parallel.command import Wanted, plan_command
from mindformers.parallel.compile_order import LOG
from mindformers.parallel.engine_settings import engine_settings
from tests.unit.parallel_jobs import GROUPED, job

TEXT = """
run_mode: train
use_parallel: true
trainer: {type: text_generation}
model:
  arch: {type: GPT2LMHeadModel}
  model_config: {type: GPT2Config, vocab_size: 96, n_positions: 16, n_embd: 24, n_layer: 2, n_head: 4}
parallel: {parallel_mode: 1}
parallel_config: {data_parallel: 2, model_parallel: 2}
runner_config: {batch_size: 1}
"""


def compile_of(result, monkeypatch, **wanted):
    monkeypatch.setattr(compile_command, "compile_in_process", lambda order: result)
    return plan_command(check_layers([read_text(TEXT, "run.yaml")]), Wanted(compile=True, **wanted))


def result_of(layouts=(), operations=()):
    """What a process would say of a graph that holds everything on every device."""
    shapes = {"embed.tokens.weight": [96, 24], **dict(layouts)}
    told = {
        path: {"devices": [2, 2], "axes": [-1, -1], "slice": shape, "shared_by": ""} for path, shape in shapes.items()
    }
    return {"seconds": {"compiling": 1.5}, "memory": 2**30, "layouts": told, "operations": list(operations)}


def test_layouts_and_communication_that_differ_from_the_plan_are_named(monkeypatch):
    seen = [["all-reduce", [0, 1], 8], ["all-gather", [0, 2], 3]]
    text = compile_of(result_of({"layers.0.attention.q.weight": [24, 24]}, seen), monkeypatch)
    assert (
        "rank 0: layers.0.attention.q.weight: planned [12, 24] split by tensor, -, shared by 1; compiled [24, 24] split"
    ) in text
    assert "rank 0: layers.0.attention.k.weight: planned, and not in the graph" in text
    assert "rank 0: embed.tokens.weight" not in text
    assert [line.split() for line in text.splitlines() if line.startswith("all-reduce  tensor")] == [
        ["all-reduce", "tensor:", "0,", "1", "8", "8"]
    ]
    assert [line.split()[-3:] for line in text.splitlines() if line.startswith("all-gather")] == [["0", "3", "differs"]]


def test_json_tells_the_same(monkeypatch):
    (found,) = json.loads(compile_of(result_of(), monkeypatch, as_json=True))["compiled"]
    assert (found["rank"], found["seconds"], found["memory"], found["as_planned"]) == (0, 1.5, 2**30, False)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"compile": True, "rank": 4}, "--rank 4: give a rank from 0 to 3"),
        ({"compile": True, "rank": 1, "stages": True}, "without --stages"),
        ({"compile": True, "search": True}, "--compile compiles one plan"),
        ({"rank": 1}, "give --compile, too"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(wanted, said):
    with pytest.raises(UsageError, match=said):
        plan_command(check_layers([read_text(TEXT, "run.yaml")]), Wanted(**wanted))


def test_axes_of_a_device_matrix_have_the_names_of_the_mesh():
    case = job(data=4, tensor=2)
    axis = compile_command._axis
    assert [axis([4, 2], number, case) for number in (0, 1, -1)] == ["tensor", "data", None]
    assert axis([4, 1, 2], 1, case) is None
    assert axis([2, 2, 2], 1, case) == "2 devices, every 2th"


def test_why_a_process_failed_is_read_from_its_log(tmp_path):
    reason = "[ERROR] PARALLEL(1,7f,python):2026 [mindspore/ccsrc/operator_info.cc:175] CheckStrategyValue] q: 3 of 4"
    (tmp_path / LOG).write_text(f"noise\n{reason}\nRuntimeError: operator q init failed\n", encoding="utf-8")
    assert compile_process._reason(tmp_path) == "q: 3 of 4"
    (tmp_path / LOG).write_text("noise\nRuntimeError: operator q init failed\n", encoding="utf-8")
    assert compile_process._reason(tmp_path) == "operator q init failed"


def test_a_missing_compiler_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(stub_libraries.shutil, "which", lambda tool: None if tool == "gcc" else tool)
    with pytest.raises(UsageError, match="gcc is not installed; install it"):
        stub_libraries.stub_libraries()
    assert not list(tmp_path.iterdir())


def test_the_engine_is_told_the_mesh_and_the_split_optimizer():
    case = job(GROUPED, data=2, tensor=2, stage=2, shard_level=2, shard_size=1, shard_threshold=8192, chunks=2)
    told = engine_settings(case, 5)
    assert (told["device_num"], told["global_rank"], told["pipeline_stages"]) == (8, 5, 2)
    assert told["parallel_optimizer_config"] == {
        "optimizer_level": "level2",
        "optimizer_weight_shard_size": 1,
        "parallel_optimizer_threshold": 8,
    }
    assert told["pipeline_config"] == {"pipeline_interleave": True, "pipeline_scheduler": "1f1b"}
    assert "pipeline_config" not in engine_settings(job(data=2), 0)

"""`mindformers plan`: text, JSON, the search, and what a user gets wrong."""

import json
import subprocess
import sys

import pytest

from mindformers.cli import main
from mindformers.parallel.rules import dims_of
from tests.conftest import ROOT

LARGE = "configs/gpt2/run_gpt2_13b.yaml"


@pytest.fixture(autouse=True)
def in_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def planned(capsys, *arguments):
    assert main(["plan", *arguments]) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments):
    assert main(["plan", *arguments]) == 2
    return capsys.readouterr().err


def test_the_plan_of_a_large_job_reads_from_mesh_to_verdict(capsys):
    text = planned(capsys, LARGE)
    assert text.startswith("32 devices: data 4 x tensor 2 x stage 4; rank = (stage * 4 + data) * 2 + tensor\n")
    assert "192 samples a step: 24 micro-batches of 2 on each of 4 ways, 1024 tokens a sample" in text
    assert "layers.*.attention.q.weight      40  5120 x 5120   tensor, -  2560 x 5120   640 x 5120    all" in text
    assert "11.1% of a step waits" in text
    assert text.rstrip().endswith("of 27.90 (90% of 31.00) on the fullest device (stage 0)")
    assert max(map(len, text.splitlines())) < 150


def test_json_holds_every_rank_group_and_parameter(capsys):
    tree = json.loads(planned(capsys, LARGE, "--json"))
    assert tree["format"] == 1
    assert len(tree["ranks"]) == tree["mesh"]["devices"] == 32
    assert tree["ranks"][9] == {"stage": 1, "data": 0, "tensor": 1}
    assert tree["groups"]["tensor"][0] == [0, 1]
    assert [len(dims_of(item["path"])) == len(item["slice"]) for item in tree["parameters"]].count(False) == 0
    assert tree["fits"] is True and tree["device_memory"] == 31 * 2**30
    assert [stage["ranks"][0] for stage in tree["stages"]] == [0, 8, 16, 24]
    first = tree["stages"][0]["memory"]
    assert first["total"] == sum(value for key, value in first.items() if key != "total")


def test_more_devices_are_more_ways_of_data(capsys):
    tree = json.loads(planned(capsys, LARGE, "--devices", "1024", "--json"))
    assert tree["mesh"] == {"data": 128, "tensor": 2, "stage": 4, "devices": 1024}
    assert tree["job"]["global_batch"] == 192 * 32
    assert "multiples of 8" in refused(capsys, LARGE, "--devices", "36")


def test_the_samples_of_a_step_can_be_given(capsys):
    assert json.loads(planned(capsys, LARGE, "--global-batch", "64", "--json"))["job"]["micro_batches"] == 8
    assert "multiples of 8" in refused(capsys, LARGE, "--global-batch", "63")
    assert "--devices is 0" in refused(capsys, LARGE, "--devices", "0")
    assert "--hardware CPU: only --search" in refused(capsys, LARGE, "--hardware", "CPU")


def test_memory_decides_the_verdict(capsys):
    assert "Does not fit: 15.73 GiB of 7.20 (90% of 8.00)" in planned(capsys, LARGE, "--memory", "8GB")
    assert "Needs " in planned(capsys, "configs/llama/model_config/llama_7b.yaml")
    assert "--memory many: write a number of GB" in refused(capsys, LARGE, "--memory", "many")


def test_a_wrong_layout_is_an_error_with_its_place_in_plan_and_check(capsys):
    wrong = [LARGE, "--parallel_config.model_parallel=3", "--parallel_config.pipeline_stage", "3"]
    message = refused(capsys, *wrong)
    assert "--options parallel_config.model_parallel: parallel_config.model_parallel: 3 does not divide" in message
    assert "40 layers do not share out over 3 stages; accepted: 1, 2, 4, 5, 8, 10, 20, 40" in message
    assert main(["check", *wrong]) == 2
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("parallel.parallel_mode=0", "parallel.parallel_mode: is 0, data parallel alone; model_parallel 2 and"),
        ("parallel_config.expert_parallel=2", "parallel_config.expert_parallel: is 2; models here are dense"),
        ("moe_config.expert_num=4", "moe_config.expert_num: is 4; models here are dense"),
        ("model.model_config.seq_length=-5", "model.model_config.seq_length: must be at least 1; it is -5"),
        ("model.model_config.seq_length=0", "model.model_config.seq_length: must be at least 1; it is 0"),
        (
            "runner_config.gradient_accumulation_steps=2",
            "gradient_accumulation_steps: is 2, but parallel_config.micro_batch_num 24 already portions the steps",
        ),
        ("context.max_device_memory=lots", "context.max_device_memory: is 'lots'; write a number of GB"),
        ("parallel_config.stage_layers=[10,10,10]", "at least 1 of 40 layers"),
        ("parallel_config.pp_interleave_num=0", "parallel_config.pp_interleave_num: must be at least 1; it is 0"),
        ("parallel_config.data_parallel=0", "parallel_config.data_parallel: must be at least 1; it is 0"),
        ("micro_batch_interleave_num=0", "micro_batch_interleave_num: must be at least 1; it is 0"),
    ],
)
def test_sections_that_do_not_fit_together_are_refused(capsys, option, said):
    assert said in refused(capsys, LARGE, "--options", option)


def test_choices_arrive_in_the_plan(capsys):
    options = [
        "parallel_config.stage_layers=[9,11,11,9]",
        "parallel_config.use_seq_parallel=true",
        "parallel.parallel_optimizer_config.optimizer_level=level2",
        "parallel.parallel_optimizer_config.optimizer_weight_shard_size=2",
        "parallel.pipeline_config.pipeline_scheduler=gpipe",
        "recompute_config.recompute=[1,2,3,4]",
        "recompute_config.select_recompute=true",
        "micro_batch_interleave_num=2",
    ]
    job = json.loads(planned(capsys, LARGE, "--json", "--options", *options))["job"]
    assert (job["stage_layers"], job["splits_sequence"], job["shard_level"], job["shard_size"]) == (
        [9, 11, 11, 9],
        True,
        2,
        2,
    )
    assert (job["schedule"], job["recompute"], job["recomputed_layers"]) == ("gpipe", "selective", [1, 2, 3, 4])
    assert (job["batch"], job["param_bytes"], job["compute_bytes"]) == (4, 2, 2)


@pytest.mark.parametrize(
    ("options", "number"),
    [
        (["parallel_config.pipeline_stage=1", "parallel_config.micro_batch_num=2"], 6),
        (["parallel_config.pipeline_stage=1", "parallel_config.micro_batch_num=1"], 3),
        (["parallel_config.pipeline_stage=2", "parallel_config.micro_batch_num=1"], 3),
    ],
)
def test_accumulated_portions_are_micro_batches(capsys, options, number):
    options = [*options, "runner_config.gradient_accumulation_steps=3"]
    job = json.loads(planned(capsys, LARGE, "--json", "--options", *options))["job"]
    assert job["micro_batches"] == number


def test_a_configuration_without_a_model_has_no_plan(capsys, tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("seed: 1\n", encoding="utf-8")
    assert "a plan needs model.model_config" in refused(capsys, str(file))


def test_a_search_prints_its_reasons_and_the_keys_to_write(capsys):
    text = planned(capsys, LARGE, "--search")  # as many devices as the configuration has
    assert "plans fit; the fastest of each mesh" in text
    assert "parallel_config: {data_parallel: 4, model_parallel: 2, pipeline_stage: 4," in text
    assert "32 devices: data 4 x tensor 2 x stage 4" in text
    assert "nothing fits 1 devices" in refused(capsys, LARGE, "--search", "--devices", "1")


@pytest.mark.parametrize("memory", ["8GB", "12GB", "64GB"])
def test_what_a_search_says_to_write_makes_the_plan_it_shows(capsys, tmp_path, memory):
    options = [
        "parallel_config.stage_layers=[9,11,11,9]",
        "parallel.parallel_optimizer_config.optimizer_weight_shard_size=2",
        "recompute_config.recompute=[1,2,3,4]",
        "recompute_config.parallel_optimizer_comm_recompute=true",
        "micro_batch_interleave_num=2",
    ]
    text = planned(capsys, LARGE, "--search", "--devices", "64", "--memory", memory, "--options", *options)
    lines = text.partition("Write it down:\n")[2].partition("\n\n")[0]
    file = tmp_path / "run.yaml"
    file.write_text(f"base_config: [base.yaml]\n{lines.replace('  ', '')}\n", encoding="utf-8")
    base = "parallel_config: {stage_layers: [9, 11, 11, 9]}\nrecompute_config: {recompute: [1, 2, 3, 4]}\n"
    base += "parallel: {parallel_optimizer_config: {optimizer_weight_shard_size: 2}}\nmicro_batch_interleave_num: 2\n"
    (tmp_path / "base.yaml").write_text(f"base_config: ['{ROOT / LARGE}']\n{base}", encoding="utf-8")
    assert text.endswith(planned(capsys, str(file), "--memory", memory))


def test_a_search_in_json_holds_the_plan_too(capsys):
    tree = json.loads(planned(capsys, LARGE, "--search", "--devices", "32", "--json"))
    assert tree["search"]["best"][0]["mesh"] == {"data": 4, "tensor": 2, "stage": 4}
    assert tree["mesh"]["devices"] == 32


@pytest.mark.parametrize(
    "arguments",
    [
        ["configs/bloom/model_config/bloom_176b.yaml", "--devices", "1024", "--global-batch", "1024", "--json"],
        ["configs/llama/model_config/llama_65b.yaml", "--devices", "1024", "--global-batch", "1024", "--search"]
        + ["--hardware", "910B"],
    ],
    ids=["plan", "search"],
)
def test_a_thousand_devices_need_no_framework(arguments):
    code = (
        f"import sys; from mindformers.cli import main; main({['plan', *arguments]!r}); "
        "sys.exit(any(name in sys.modules for name in ('mindspore', 'torch', 'transformers', 'numpy')))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "1024" in result.stdout

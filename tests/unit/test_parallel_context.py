"""What a plan reckons with and no run carries out is refused when a run starts, and only then."""

import mindspore as ms
import pytest

from mindformers.config.check import check_file, check_layers
from mindformers.config.places import find_config
from mindformers.config.source import read_text
from mindformers.errors import UsageError
from mindformers.parallel.context import refuse_planned_only, start
from tests.conftest import CONFIGS


def run_of(text):
    return check_layers([read_text(text, "run.yaml")]).run


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("parallel_config: {micro_batch_num: 4}", "parallel_config.micro_batch_num is 4, runs take 1"),
        ("micro_batch_interleave_num: 2", "micro_batch_interleave_num is 2, runs take 1"),
        ("recompute_config: {recompute: true}", "recompute_config.recompute is True, runs take False"),
        ("recompute_config: {recompute: [3]}", r"recompute_config.recompute is \[3\], runs take False"),
        ("recompute_config: {select_recompute: true}", "recompute_config.select_recompute is True, runs take False"),
    ],
)
@pytest.mark.parametrize("mode", ["train", "finetune"])
def test_training_refuses_a_choice_that_it_would_leave_out(text, said, mode):
    with pytest.raises(UsageError, match=f"{said}. What runs is data parallel"):
        start(run_of(f"run_mode: {mode}\n{text}\n"))


def test_every_such_value_of_a_large_job_is_named_at_once():
    with pytest.raises(UsageError) as caught:
        start(check_file(CONFIGS / "gpt2" / "run_gpt2_13b.yaml").run)
    keys = ("parallel_mode", "model_parallel", "pipeline_stage", "micro_batch_num", "optimizer_shard", "recompute")
    assert all(f"{key} is " in str(caught.value) for key in keys)
    assert "micro_batch_interleave_num" not in str(caught.value)
    assert "runner_config.gradient_accumulation_steps" in str(caught.value)
    assert "`mindformers plan`" in str(caught.value)


@pytest.mark.parametrize("mode", ["eval", "predict"])
def test_what_saves_memory_in_training_may_stand_in_other_runs(mode):
    refuse_planned_only(run_of(f"run_mode: {mode}\nrecompute_config: {{recompute: true}}\n"))


@pytest.mark.parametrize("mode", ["eval", "predict", "train"])
def test_a_layout_is_refused_in_every_run_of_several_processes(mode):
    text = f"run_mode: {mode}\nparallel: {{parallel_mode: 1}}\nparallel_config: {{model_parallel: 2}}\n"
    refuse_planned_only(run_of(text))
    with pytest.raises(UsageError, match="parallel_mode is 1, runs take 0; parallel_config.model_parallel is 2, runs"):
        start(run_of(f"{text}use_parallel: true\n"))


@pytest.mark.parametrize("key", ["parallel.enable_parallel_optimizer", "parallel_config.optimizer_shard"])
def test_a_split_optimizer_is_refused_in_several_processes_and_means_nothing_in_one(key):
    section, name = key.split(".")
    text = f"run_mode: train\n{section}: {{{name}: true}}\n"
    refuse_planned_only(run_of(text))
    with pytest.raises(UsageError, match=f"{key} is True, runs take False"):
        start(run_of(f"{text}use_parallel: true\n"))


@pytest.mark.parametrize("name", ["qa_bert_tiny", "gpt2_tiny", "t5_tiny_multi30k"])
def test_small_run_files_are_carried_out(name):
    refuse_planned_only(check_file(find_config(name)).run)


@pytest.mark.parametrize(
    ("variables", "said"),
    [({}, "needs a launcher.*mindformers launch CONFIG --ranks N"), ({"RANK_TABLE_FILE": "t"}, "RANK_ID is not")],
)
def test_a_process_that_no_launcher_started_is_told_how(variables, said, monkeypatch):
    for name in ("MS_ROLE", "RANK_TABLE_FILE", "MS_WORKER_NUM", "OMPI_COMM_WORLD_SIZE", "RANK_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    before = ms.get_context("mode")
    try:
        with pytest.raises(UsageError, match=said):
            start(run_of("{use_parallel: true, context: {device_target: CPU}}"))
    finally:
        ms.set_context(mode=before)

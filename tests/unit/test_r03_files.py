"""Configurations of MindFormers r0.3 load unchanged; what is outdated or without effect is said, nothing is guessed."""

from pathlib import Path

import pytest

from mindformers.config.check import check_file

FOLDER = Path(__file__).parent / "r03_files"


def load(name):
    return check_file(FOLDER / f"{name}.yaml")


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.yaml")))
def test_a_file_of_r03_loads(name):
    checked = load(name)
    assert checked.merged.outdated
    assert checked.merged.unused


def test_sizes_under_old_names_arrive():
    options = load("qa").run.model.model_config.options
    arch = options.arch("question_answering")
    assert (arch.hidden_size, arch.num_layers, arch.num_heads, arch.intermediate_size) == (768, 12, 12, 3072)
    decoder = load("gpt2").run.model.model_config.options
    assert (decoder.n_embd, decoder.n_layer, decoder.n_head, decoder.expand_ratio) == (5120, 40, 40, 4)


def test_the_parallel_sections_of_a_large_job_arrive():
    run = load("gpt2").run
    assert (run.parallel_config.data_parallel, run.parallel_config.model_parallel) == (4, 8)
    assert run.parallel.parallel_mode == 1
    assert run.runner_wrapper.options.scale_sense.loss_scale_value == 2.0**32


def test_the_schedule_and_optimizer_of_question_answering_arrive():
    run = load("qa").run
    assert (run.lr_schedule.type, run.lr_schedule.options.learning_rate, run.lr_schedule.options.warmup_ratio) == (
        "linear",
        3e-5,
        0.1,
    )
    assert (run.optimizer.type, run.optimizer.options.weight_decay, run.optimizer.options.eps) == ("adamw", 0.01, 1e-8)
    assert run.runner_config.batch_size == 12

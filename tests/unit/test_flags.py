"""Flags of the command line as configuration layers."""

import argparse

import pytest

from mindformers.config import flags
from mindformers.config.layers import merge
from mindformers.errors import UsageError


def tree_of(*arguments):
    parser = argparse.ArgumentParser()
    flags.add_run_flags(parser)
    kept, free = flags.split_free(list(arguments))
    return merge(flags.layers_for(parser.parse_args(kept), free)).tree


def test_the_published_flags_are_all_there():
    names = {flag.name for flag in flags.FLAGS}
    assert names >= {
        "mode",
        "device_id",
        "device_target",
        "run_mode",
        "dataset_dir",
        "predict_data",
        "load_checkpoint",
        "seed",
        "use_parallel",
        "profile",
        "epochs",
        "batch_size",
        "sink_mode",
        "num_samples",
    }


def test_a_named_flag_sets_its_key():
    assert tree_of("--run_mode", "eval", "--epochs", "3") == {"run_mode": "eval", "runner_config": {"epochs": "3"}}


def test_options_beat_early_flags_and_late_flags_beat_options():
    tree = tree_of("--seed", "1", "--epochs", "5", "--options", "seed=2", "runner_config.epochs=9")
    assert tree == {"seed": "2", "runner_config": {"epochs": "5"}}


def test_free_keys_come_with_equals_or_blank():
    assert tree_of("--optimizer.beta1=0.5", "--optimizer.eps", "1e-6") == {"optimizer": {"beta1": "0.5", "eps": "1e-6"}}


def test_a_switch_may_stand_alone_or_with_a_value():
    assert tree_of("--use_parallel") == {"use_parallel": "True"}
    assert tree_of("--use_parallel", "False") == {"use_parallel": "False"}


def test_a_dataset_folder_serves_training_and_evaluation_and_a_file_one_of_them(tmp_path):
    both = tree_of("--dataset_dir", str(tmp_path))
    assert set(both) == {"train_dataset", "eval_dataset"}
    file = tmp_path / "x.json"
    file.write_text("{}")
    assert set(tree_of("--dataset_dir", str(file))) == {"train_dataset"}
    assert set(tree_of("--dataset_dir", str(file), "--run_mode", "eval")) == {"eval_dataset", "run_mode"}


@pytest.mark.parametrize("text", ["seed", "=1", "a..b=1", "a b=1"])
def test_an_option_of_another_form_is_refused(text):
    with pytest.raises(UsageError, match=r"KEY.SUB=VALUE"):
        flags.option_layer(text)


def test_a_free_key_without_value_is_refused():
    with pytest.raises(UsageError, match="needs a value"):
        flags.split_free(["--a.b", "--c.d=1"])

"""From YAML to a typed run, with every problem reported at once."""

import pytest

from mindformers.config.check import check_file, check_layers
from mindformers.config.explain import explain
from mindformers.config.flags import option_layer
from mindformers.config.source import read_text
from mindformers.errors import ConfigError

MINIMAL = "trainer: {type: question_answering}\n"


def checked(*texts, options=()):
    layers = [read_text(MINIMAL, "base.yaml"), *(read_text(text, f"{i}.yaml") for i, text in enumerate(texts))]
    return check_layers([*layers, *map(option_layer, options)])


def problems(*texts, options=()):
    with pytest.raises(ConfigError) as caught:
        checked(*texts, options=options)
    return [str(problem) for problem in caught.value.problems]


def test_all_problems_are_reported_together_with_file_and_line():
    found = problems(
        "seeds: 1\nrunner_config:\n  epochs: many\noptimizer:\n  type: adamx\n  beta1: 0.5\n"
        "model:\n  model_config:\n    type: BertConfig\n    num_head: 3\n"
    )
    assert len(found) == 4
    assert any(item.startswith("0.yaml:1: seeds: unknown key. Did you mean 'seed'") for item in found)
    assert any(item.startswith("0.yaml:3: runner_config.epochs: input should be a valid integer") for item in found)
    assert any(item.startswith("0.yaml:4: optimizer: unknown optimizer 'adamx'. Did you mean 'adam'") for item in found)
    assert any(
        "0.yaml:10: model.model_config.num_head: unknown key. Did you mean 'num_attention_heads'" in item
        or "0.yaml:10: model.model_config.num_head: unknown key." in item
        for item in found
    )


def test_at_most_ten_problems_are_listed_and_the_rest_is_counted():
    with pytest.raises(ConfigError) as caught:
        checked("".join(f"wrong{i}: 1\n" for i in range(13)))
    assert "13 configuration errors" in str(caught.value)
    assert "and 3 more" in str(caught.value)


@pytest.mark.parametrize(
    ("option", "path", "value"),
    [
        ("use_parallel=True", ("use_parallel",), True),
        ("use_parallel=false", ("use_parallel",), False),
        ("optimizer.weight_decay=1e-5", ("optimizer", "options", "weight_decay"), 1e-5),
        ("optimizer.weight_decay=1", ("optimizer", "options", "weight_decay"), 1.0),
        ("output_dir=123", ("output_dir",), "123"),
        ("output_dir=with blank inside", ("output_dir",), "with blank inside"),
        ("load_checkpoint=True", ("load_checkpoint",), "True"),
        ("runner_config.batch_size=None", ("runner_config", "batch_size"), None),
        ("seed=7", ("seed",), 7),
    ],
)
def test_an_option_gets_the_type_that_its_key_has(option, path, value):
    result = checked(options=[option]).run
    for key in path:
        result = getattr(result, key)
    assert result == value
    assert type(result) is type(value)


def test_an_option_of_the_wrong_type_is_an_error_that_names_the_flag():
    assert problems(options=["seed=1.5"])[0].startswith("--options seed: seed: input should be a valid integer")


def test_a_dropped_value_means_the_default_again():
    assert (
        checked(
            "optimizer: {weight_decay: 0.3}\n", "optimizer: {weight_decay: null}\n"
        ).run.optimizer.options.weight_decay
        == 0.0
    )


def test_outdated_names_load_with_one_line_each():
    result = checked(
        "metrics: {type: SQuADMetric}\ncallbacks:\n  - {type: CheckpointMointor, integrated_save: True}\n"
        "aicc_config: {upload_frequence: 3}\nresume_or_finetune_checkpoint: ''\n"
    )
    assert result.run.metric.type == "SQuADMetric"
    assert result.run.callbacks[0].type == "CheckpointMonitor"
    assert result.run.aicc_config.upload_frequency == 3
    assert len(result.merged.outdated) == 4
    assert any("callbacks[0].integrated_save: has no effect" in line for line in result.merged.unused)


def test_outdated_and_todays_name_of_one_key_follow_the_order_of_layers():
    result = checked(
        "model: {model_config: {type: BertConfig, embedding_size: 64, num_heads: 2}}\n",
        "model: {model_config: {hidden_size: 32}}\n",
    )
    assert result.run.model.model_config.options.hidden_size == 32
    result = checked(
        "model: {model_config: {type: BertConfig, hidden_size: 64, num_attention_heads: 2}}\n",
        "model: {model_config: {embedding_size: 32}}\n",
    )
    assert result.run.model.model_config.options.hidden_size == 32


def test_a_later_type_drops_the_options_it_does_not_know_and_keeps_the_others():
    result = checked(
        "lr_schedule: {type: polynomial, learning_rate: 1.0e-4, power: 2.0}\n", "lr_schedule: {type: linear}\n"
    )
    assert result.run.lr_schedule.type == "linear"
    assert result.run.lr_schedule.options.learning_rate == 1e-4
    assert any("lr_schedule.power: dropped" in line for line in result.merged.unused)


def test_rules_across_sections_name_both_numbers():
    found = problems("model: {model_config: {type: BertConfig, hidden_size: 100, num_attention_heads: 3}}\n")
    assert "100" in found[0]
    assert "3" in found[0]
    found = problems("model: {model_config: {type: BertConfig, seq_length: 600}}\n")
    assert "600" in found[0]
    assert "512" in found[0]


def test_evaluation_data_that_names_no_place_is_where_the_training_data_is():
    train = "train_dataset: {data_loader: {type: TextDataLoader, dataset_dir: texts}}\n"
    evaluation = "eval_dataset: {data_loader: {type: TextDataLoader, part: [0.9, 1.0]}}\n"
    result = checked(train, evaluation)
    assert result.run.eval_dataset.data_loader.options.dataset_dir == "texts"
    assert "0.yaml" in result.merged.origin(("eval_dataset", "data_loader", "dataset_dir"))
    other = checked(train, evaluation.replace("part", "dataset_dir: others, part"))
    assert other.run.eval_dataset.data_loader.options.dataset_dir == "others"
    assert checked(train).run.eval_dataset is None


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown task 'question_answer'. Did you mean 'question_answering'"):
        check_layers([read_text("trainer: {type: question_answer}\n", "f.yaml")])


def test_the_explanation_shows_every_value_with_its_origin():
    text = explain(checked("seed: 3\n", options=["runner_config.epochs=2"]))
    assert any(line.startswith("seed: 3") and line.endswith("# 0.yaml:1") for line in text.splitlines())
    assert any(
        line.strip().startswith("epochs: 2") and line.endswith("# --options runner_config.epochs")
        for line in text.splitlines()
    )
    assert "batch_size" not in text


def test_checking_never_imports_mindspore(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys; from mindformers.cli import main; assert main(['check', 'qa_bert_base_uncased']) == 0; "
        "assert 'mindspore' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_a_missing_file_is_one_message(tmp_path):
    with pytest.raises(ConfigError, match="no such configuration file"):
        check_file(tmp_path / "nothing.yaml")

"""Layers: base files, deep merge, origins, flags on top."""

import pytest

from mindformers.config.flags import option_layer
from mindformers.config.layers import load, merge
from mindformers.config.source import read_text
from mindformers.errors import ConfigError


def merged(*texts):
    return merge([read_text(text, f"{index}.yaml") for index, text in enumerate(texts)])


def test_sections_merge_deep_and_the_later_layer_wins():
    result = merged("a: {b: 1, c: {d: 2, e: 3}}\n", "a: {c: {d: 9}}\n")
    assert result.tree == {"a": {"b": 1, "c": {"d": 9, "e": 3}}}
    assert result.origin(("a", "c", "d")) == "1.yaml:1"
    assert result.origin(("a", "c", "e")) == "0.yaml:1"


def test_null_deletes_and_a_list_replaces():
    result = merged("a: {b: 1, c: 2}\nl: [1, 2, 3]\n", "a: {b: null}\nl: [9]\n")
    assert result.tree == {"a": {"c": 2}, "l": [9]}


def test_base_files_are_relative_to_the_file_that_names_them_and_merge_in_order(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "one.yaml").write_text("a: 1\nb: 1\n")
    (tmp_path / "deep" / "two.yaml").write_text("base_config: [../one.yaml]\nb: 2\nc: 2\n")
    (tmp_path / "run.yaml").write_text("base_config: [deep/two.yaml]\nc: 3\n")
    assert load(tmp_path / "run.yaml").tree == {"a": 1, "b": 2, "c": 3}


def test_files_that_include_each_other_are_an_error(tmp_path):
    (tmp_path / "a.yaml").write_text("base_config: [b.yaml]\n")
    (tmp_path / "b.yaml").write_text("base_config: [a.yaml]\n")
    with pytest.raises(ConfigError, match="include each other"):
        load(tmp_path / "a.yaml")


def test_a_missing_base_file_is_reported_at_its_line(tmp_path):
    (tmp_path / "run.yaml").write_text("seed: 1\nbase_config:\n  - nowhere.yaml\n")
    with pytest.raises(ConfigError, match=r"run.yaml:2: base_config: no such file: .*nowhere.yaml"):
        load(tmp_path / "run.yaml")


def test_a_dataset_repeated_by_alias_is_one_section():
    file = "train_dataset: &t\n  batch_size: 4\n  seed: 7\ntrain_dataset_task: {type: X, dataset_config: *t}\n"
    result = merge(
        [
            read_text(file, "f.yaml"),
            option_layer("train_dataset_task.dataset_config.batch_size=8"),
            option_layer("train_dataset.seed=9"),
        ]
    )
    assert result.tree["train_dataset"] == {"batch_size": "8", "seed": "9"}
    assert result.tree["train_dataset_task"] == {"type": "X"}


def test_one_item_of_a_list_can_be_changed():
    result = merge(
        [
            read_text("callbacks:\n  - {type: A, n: 1}\n  - {type: B}\n", "f.yaml"),
            option_layer("callbacks.0.n=5"),
            option_layer("callbacks[1].m=6"),
        ]
    )
    assert result.tree["callbacks"] == [{"type": "A", "n": "5"}, {"type": "B", "m": "6"}]


def test_a_list_item_that_does_not_exist_is_an_error():
    with pytest.raises(ConfigError, match="has no item 3; it holds 1 item"):
        merge([read_text("callbacks: [{type: A}]\n", "f.yaml"), option_layer("callbacks.3.n=5")])

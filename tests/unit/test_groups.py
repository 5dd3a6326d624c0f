"""Which parameters decay."""

from __future__ import annotations

import pytest

from mindformers.errors import UsageError
from mindformers.optim.groups import ParameterGroup, decay_groups

PATHS = (
    "embed.tokens",
    "norm_embed.gamma",
    "layers.0.attention.q.weight",
    "layers.0.attention.q.bias",
    "layers.1.mlp.up.weight",
    "head.weight",
    "head.bias",
)


def test_norms_and_biases_do_not_decay_and_order_is_kept():
    assert decay_groups(PATHS, 0.01) == (
        ParameterGroup(0.01, ("embed.tokens", "layers.0.attention.q.weight", "layers.1.mlp.up.weight", "head.weight")),
        ParameterGroup(0.0, ("norm_embed.gamma", "layers.0.attention.q.bias", "head.bias")),
    )


def test_the_bias_of_relative_positions_does_not_decay_as_in_hugging_face():
    paths = ("encoder.relative.weight", "encoder.layers.0.attention.q.weight")
    assert [group.paths for group in decay_groups(paths, 0.1) if group.weight_decay] == [paths[1:]]


def test_decay_returns_after_a_parameter_without_decay():
    last = [group for group in decay_groups(PATHS, 0.5) if "head.weight" in group.paths]
    assert last[0].weight_decay == 0.5


def test_own_patterns_replace_the_default():
    groups = {group.weight_decay: group.paths for group in decay_groups(PATHS, 0.1, no_decay=("embed.*",))}
    assert groups[0.0] == ("embed.tokens",)


def test_layers_learn_slower_towards_the_embeddings():
    scales = {
        path: group.learning_rate_scale for group in decay_groups(PATHS, 0.0, layer_decay=0.5) for path in group.paths
    }
    assert scales["head.weight"] == 1.0
    assert scales["layers.1.mlp.up.weight"] == 0.5
    assert scales["layers.0.attention.q.bias"] == 0.25
    assert scales["embed.tokens"] == 0.125


def test_a_pattern_without_effect_is_refused():
    with pytest.raises(UsageError, match=r"'\*gamma_typo'"):
        decay_groups(PATHS, 0.1, no_decay=("*.bias", "*gamma_typo"))


def test_a_path_given_twice_is_refused():
    with pytest.raises(UsageError, match=r"head\.bias"):
        decay_groups((*PATHS, "head.bias"), 0.1)

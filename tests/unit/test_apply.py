"""Layouts arrive on the operators of built models."""

import dataclasses

import pytest

from mindformers.errors import UsageError
from mindformers.models.decoder import DecoderModel
from mindformers.parallel import apply as placing
from mindformers.parallel.apply import apply, strategy_of
from tests.unit.parallel_jobs import DECODER, GROUPED, job


@pytest.mark.parametrize("arch", [DECODER, GROUPED], ids=["plain", "gated"])
def test_products_and_attention_of_every_layer_are_placed(arch):
    model = DecoderModel(arch)
    placed = apply(model, job(arch, data=3, tensor=2))
    matrices = 7 if arch.gated else 6
    assert len(placed) == arch.num_layers * (matrices + 2 * 2)  # attention is there with and without dropout
    layer = model.layers[1]
    assert placed["layers.1.attention.q.product.matmul"] == ((3, 1), (2, 1))
    assert layer.attention.q.product.matmul.in_strategy == ((3, 1), (2, 1))
    assert layer.attention.o.product.matmul.in_strategy == ((3, 2), (1, 2))
    assert layer.mlp.down.product.matmul.in_strategy == ((3, 2), (1, 2))
    assert layer.attention.attend.scores.in_strategy == ((3, 2, 1, 1), (3, 2, 1, 1))


def test_few_heads_of_key_and_value_are_worked_out_by_all_devices_of_a_layer():
    case = job(GROUPED, data=1, tensor=6)
    assert strategy_of("layers.0.attention.k.product.matmul", case) == ((1, 1), (1, 1))
    assert strategy_of("layers.0.attention.q.product.matmul", case) == ((1, 1), (6, 1))


def test_an_operator_without_a_rule_is_left_to_propagation():
    assert strategy_of("layers.0.norm_attn.norm", job(tensor=2)) is None


def test_a_split_parameter_without_an_operator_is_an_error(monkeypatch):
    rules = tuple(rule for rule in placing.OPERATORS if ".down." not in rule[0])
    monkeypatch.setattr(placing, "OPERATORS", rules)
    with pytest.raises(UsageError, match=r"no operator is placed for layers\.0\.mlp\.down\.weight"):
        apply(DecoderModel(dataclasses.replace(DECODER, num_layers=1)), job(tensor=2))

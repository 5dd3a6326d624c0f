"""Layouts arrive on the operators of built models."""

import dataclasses

import pytest

from mindformers.errors import UsageError
from mindformers.models.decoder import DecoderModel
from mindformers.models.encoder_decoder import EncoderDecoderModel
from mindformers.parallel import apply as placing
from mindformers.parallel.apply import apply, output_of, strategy_of
from tests.unit.parallel_jobs import DECODER, GROUPED, TWO_STACKS, job


@pytest.mark.parametrize("arch", [DECODER, GROUPED], ids=["plain", "gated"])
def test_products_and_attention_of_every_layer_are_placed(arch):
    model = DecoderModel(arch)
    placed = apply(model, job(arch, data=3, tensor=2))
    matrices = 7 if arch.gated else 6
    # Attention is there with and without dropout; around the layers stand the table's lookup and the head.
    assert len(placed) == arch.num_layers * (matrices + 2 * 2) + 2
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


def test_split_sequences_cut_samples_only_where_whole_ones_do_not_share_out():
    case = job(data=3, tensor=6, splits_sequence=True)  # two samples of a micro-batch
    assert strategy_of("embed.tokens.gather", case) == ((1, 1), (6, 3))
    assert output_of("layers.0.mlp.down.product.matmul", case) == ((18, 1),)
    assert output_of("layers.0.mlp.up.product.matmul", case) is None
    split = dataclasses.replace(case, splits_vocab=True)
    assert strategy_of("embed.tokens.gather", split) == ((6, 1), (3, 1))


def test_cells_get_their_stage_and_group_and_what_is_recomputed():
    model = DecoderModel(DECODER)
    apply(model, job(stage=2, chunks=2, recompute="full", recomputed_layers=(1, 0)))
    assert [layer.pipeline_stage for layer in model.layers] == [0, 1, 0, 1]
    assert [layer.pipeline_segment for layer in model.layers] == [0, 0, 1, 1]
    assert (model.embed.pipeline_stage, model.norm_out.pipeline_stage, model.head.pipeline_stage) == (0, 1, 1)
    assert model.embed.tokens.weight._pipeline_stage_list == [0, 1]
    assert [layer.get_scope() for layer in model.layers] == ["recompute_", None, None, None]


def test_stacks_of_two_halves_are_not_cut_into_stages():
    with pytest.raises(UsageError, match="EncoderDecoderModel cannot be cut into stages"):
        apply(EncoderDecoderModel(TWO_STACKS), job(TWO_STACKS, stage=2))


def test_an_operator_without_a_rule_is_left_to_propagation():
    assert strategy_of("layers.0.norm_attn.norm", job(tensor=2)) is None


def test_a_split_parameter_without_an_operator_is_an_error(monkeypatch):
    rules = tuple(rule for rule in placing.OPERATORS if ".down." not in rule[0])
    monkeypatch.setattr(placing, "OPERATORS", rules)
    with pytest.raises(UsageError, match=r"no operator is placed for layers\.0\.mlp\.down\.weight"):
        apply(DecoderModel(dataclasses.replace(DECODER, num_layers=1)), job(tensor=2))

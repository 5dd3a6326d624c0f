"""The path table says what the built model has."""

import mindspore as ms
import pytest

from mindformers.arch.paths import count, parameter_table
from mindformers.arch.stacks import EncoderArch
from mindformers.models.encoder import EncoderModel

SIZES = {
    "vocab_size": 40,
    "hidden_size": 8,
    "num_layers": 2,
    "num_heads": 2,
    "intermediate_size": 16,
    "max_positions": 12,
}


@pytest.mark.parametrize("head", ["none", "pooler", "question_answering"])
def test_the_table_has_the_names_shapes_and_order_of_the_built_model(head):
    arch = EncoderArch(**SIZES, head=head)
    built = [(item.name, tuple(item.shape)) for item in EncoderModel(arch).trainable_params()]
    assert built == [(path, spec.shape) for path, spec in parameter_table(arch).items()]


def test_norms_and_biases_do_not_decay_and_everything_else_does():
    table = parameter_table(EncoderArch(**SIZES, head="question_answering"))
    spared = {path for path, spec in table.items() if not spec.decay}
    assert spared == {path for path in table if path.endswith(".bias") or "norm" in path}
    assert "head.span.weight" not in spared
    assert "embed.tokens.weight" not in spared


def test_a_table_counts_scalars():
    arch = EncoderArch(**SIZES)
    embedding = (40 + 12 + 2) * 8 + 2 * 8
    layer = 4 * (8 * 8 + 8) + 2 * 2 * 8 + 2 * 8 * 16 + 16 + 8
    assert count(parameter_table(arch)) == embedding + 2 * layer


def test_the_first_weights_depend_on_the_seed_and_the_path_alone():
    short = dict(EncoderModel(EncoderArch(**SIZES), seed=3).parameters_and_names())
    long = dict(EncoderModel(EncoderArch(**{**SIZES, "num_layers": 3}, head="pooler"), seed=3).parameters_and_names())
    other = dict(EncoderModel(EncoderArch(**SIZES), seed=4).parameters_and_names())
    path = "layers.1.mlp.up.weight"
    assert (short[path].asnumpy() == long[path].asnumpy()).all()
    assert (short[path].asnumpy() != other[path].asnumpy()).any()


def test_the_first_weights_have_the_stated_spread_and_a_zero_padding_row():
    arch = EncoderArch(**{**SIZES, "vocab_size": 5000}, init_std=0.05, pad_token_id=7)
    parameters = dict(EncoderModel(arch).parameters_and_names())
    tokens = parameters["embed.tokens.weight"].asnumpy()
    assert (tokens[7] == 0).all()
    assert abs(tokens.std() - 0.05) < 0.001
    assert (parameters["embed.norm.weight"].asnumpy() == 1).all()
    assert (parameters["layers.0.attention.q.bias"].asnumpy() == 0).all()


def test_the_counter_of_dropout_is_no_trainable_parameter():
    model = EncoderModel(EncoderArch(**SIZES))
    assert [item.name for item in model.untrainable_params()] == ["dropout.state"]
    assert model.dropout.state.dtype == ms.int32

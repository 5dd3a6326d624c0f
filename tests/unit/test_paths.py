"""The path table says what the built model has, on every stack, with every head and option."""

import dataclasses
import math

import mindspore as ms
import numpy as np
import pytest

from mindformers.arch.paths import count, parameter_table
from mindformers.arch.stacks import DecoderArch, EncoderArch, EncoderDecoderArch, Rotary, arch_problem
from mindformers.errors import UsageError
from mindformers.models.decoder import DecoderModel
from mindformers.models.encoder import EncoderModel
from mindformers.models.encoder_decoder import EncoderDecoderModel

SIZES = {
    "vocab_size": 40,
    "hidden_size": 8,
    "num_layers": 2,
    "num_heads": 2,
    "intermediate_size": 16,
    "max_positions": 12,
}
ENCODER = EncoderArch(**SIZES, type_vocab_size=2, embedding_norm=True)
DECODER = DecoderArch(**SIZES, pre_norm=True)
BOTH = EncoderDecoderArch(**SIZES, pre_norm=True, positions="relative", norm="rms_norm", num_decoder_layers=3)
MODELS = {EncoderArch: EncoderModel, DecoderArch: DecoderModel, EncoderDecoderArch: EncoderDecoderModel}
NO_BIASES = {"qkv_bias": False, "out_bias": False, "mlp_bias": False}

CASES = {
    **{
        f"encoder {head}": (ENCODER, {"head": head})
        for head in ("none", "pooler", "question_answering", "token_classification", "masked_lm")
    },
    "encoder pooled classifier": (ENCODER, {"head": "sequence_classification", "num_labels": 3}),
    "encoder dense classifier": (ENCODER, {"head": "sequence_classification", "classifier": "dense", "num_labels": 1}),
    "encoder untied masked_lm": (ENCODER, {"head": "masked_lm", "tied_head": False}),
    "encoder factorised": (ENCODER, {"embedding_size": 4}),
    "encoder factorised masked_lm": (ENCODER, {"embedding_size": 4, "head": "masked_lm", "tied_head": False}),
    "encoder shared": (ENCODER, {"distinct_layers": 1, "embedding_size": 4}),
    "encoder without types and norm": (ENCODER, {"type_vocab_size": 0, "embedding_norm": False}),
    "encoder without biases": (ENCODER, NO_BIASES),
    "encoder gated": (ENCODER, {"gated": True}),
    "encoder of wide heads": (ENCODER, {"size_per_head": 3, "num_kv_heads": 1}),
    **{f"decoder {head}": (DECODER, {"head": head}) for head in ("none", "token_classification", "causal_lm")},
    "decoder classifier": (DECODER, {"head": "sequence_classification", "classifier": "last_token", "num_labels": 5}),
    "decoder untied": (DECODER, {"head": "causal_lm", "tied_head": False}),
    "decoder rotary": (
        DECODER,
        {"positions": "rotary", "norm": "rms_norm", "gated": True, "num_kv_heads": 1, **NO_BIASES},
    ),
    "decoder with an output bias alone": (DECODER, {"qkv_bias": False, "mlp_bias": False, "positions": "rotary"}),
    "decoder alibi": (DECODER, {"positions": "alibi", "embedding_norm": True}),
    **{f"encoder-decoder {head}": (BOTH, {"head": head}) for head in ("none", "seq2seq_lm")},
    "encoder-decoder untied": (BOTH, {"head": "seq2seq_lm", "tied_head": False, "gated": True, **NO_BIASES}),
    "encoder-decoder of wide heads": (BOTH, {"size_per_head": 6, "num_decoder_layers": 1, **NO_BIASES}),
    "encoder-decoder with layer norms": (BOTH, {"norm": "layer_norm"}),
}


def arch_of(name):
    arch, changes = CASES[name]
    return dataclasses.replace(arch, **changes)


def built(arch, **options):
    return MODELS[type(arch)](arch, **options)


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_table_has_the_names_and_shapes_of_the_built_model(name):
    arch = arch_of(name)
    found = {item.name: tuple(item.shape) for item in built(arch, fill=False).trainable_params()}
    assert found == {path: spec.shape for path, spec in parameter_table(arch).items()}


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_parameter_starts_as_the_table_says(name):
    arch = dataclasses.replace(arch_of(name), init_std=0.5)
    model, table = built(arch, seed=1), parameter_table(arch)
    for item in model.trainable_params():
        value, spec = item.asnumpy(), table[item.name]
        if spec.init == "normal":
            assert 0.5 * spec.std < value.std() < 2 * spec.std or value.size < 20, item.name
            assert (value != 0).all(), item.name
        else:
            assert (value == {"zeros": 0, "ones": 1}[spec.init]).all(), item.name


def test_a_model_whose_parameters_are_not_filled_starts_at_zero():
    model = built(dataclasses.replace(BOTH, head="seq2seq_lm"), fill=False)
    assert all((item.asnumpy() == ("norm" in item.name)).all() for item in model.trainable_params())


def test_a_table_counts_scalars():
    embedding = (40 + 12 + 2) * 8 + 2 * 8
    layer = 4 * (8 * 8 + 8) + 2 * 2 * 8 + 2 * 8 * 16 + 16 + 8
    assert count(parameter_table(ENCODER)) == embedding + 2 * layer


def test_a_decoder_with_shared_keys_and_a_gate_counts_by_hand():
    arch = dataclasses.replace(arch_of("decoder rotary"), head="causal_lm", tied_head=False)
    layer = 2 * 8 * 8 + 2 * 4 * 8 + 3 * 8 * 16 + 2 * 8
    assert count(parameter_table(arch)) == 2 * 40 * 8 + 2 * layer + 8


def test_an_encoder_decoder_counts_by_hand():
    arch = arch_of("encoder-decoder of wide heads")
    attention, mlp, norm = 4 * 12 * 8, 2 * 8 * 16, 8
    encoder = 2 * (attention + mlp + 2 * norm) + 32 * 2 + norm
    decoder = 2 * attention + mlp + 3 * norm + 32 * 2 + norm
    assert count(parameter_table(arch)) == 40 * 8 + encoder + decoder


def test_the_first_weights_depend_on_the_seed_and_the_path_alone():
    short = dict(EncoderModel(ENCODER, seed=3).parameters_and_names())
    longer = dataclasses.replace(ENCODER, num_layers=3, head="pooler")
    long = dict(EncoderModel(longer, seed=3).parameters_and_names())
    other = dict(EncoderModel(ENCODER, seed=4).parameters_and_names())
    path = "layers.1.mlp.up.weight"
    assert (short[path].asnumpy() == long[path].asnumpy()).all()
    assert (short[path].asnumpy() != other[path].asnumpy()).any()


def test_the_first_weights_have_the_stated_spread_and_a_row_of_zeros_where_one_is_frozen():
    arch = dataclasses.replace(ENCODER, vocab_size=5000, init_std=0.05, pad_token_id=3, frozen_row=7)
    parameters = dict(EncoderModel(arch).parameters_and_names())
    tokens = parameters["embed.tokens.weight"].asnumpy()
    assert np.flatnonzero((tokens == 0).all(-1)).tolist() == [7]
    assert abs(tokens.std() - 0.05) < 0.001
    assert (parameters["embed.norm.weight"].asnumpy() == 1).all()
    assert (parameters["layers.0.attention.q.bias"].asnumpy() == 0).all()


def test_padding_alone_freezes_no_row():
    arch = dataclasses.replace(DECODER, pad_token_id=7)
    assert (dict(DecoderModel(arch).parameters_and_names())["embed.tokens.weight"].asnumpy()[7] != 0).any()


def spreads(arch):
    """Standard deviations by path, without the number of the layer."""
    table = parameter_table(arch)
    return {path: spec.std for path, spec in table.items() if spec.init == "normal" and ".1." not in path}


def test_matrices_and_tables_start_with_one_spread_by_default():
    arch = dataclasses.replace(ENCODER, init_std=0.03, head="masked_lm", tied_head=False)
    assert set(spreads(arch).values()) == {0.03}


def test_projections_into_the_residual_stream_may_start_smaller():
    found = spreads(dataclasses.replace(DECODER, init_std=0.02, scales_residual_init=True, head="causal_lm"))
    smaller = {path for path, std in found.items() if std != 0.02}
    assert smaller == {"layers.0.attention.o.weight", "layers.0.mlp.down.weight"}
    assert {found[path] for path in smaller} == {0.02 / math.sqrt(2 * 2)}


def test_matrices_may_start_by_their_number_of_inputs():
    arch = dataclasses.replace(
        BOTH, init_std=1.0, fan_in_init=True, size_per_head=6, head="seq2seq_lm", tied_head=False
    )
    found = spreads(arch)
    expected = {"q": (8 * 6) ** -0.5, "k": 8**-0.5, "v": 8**-0.5, "o": 12**-0.5}
    for name, std in expected.items():
        for place in ("encoder.layers.0.attention", "decoder.layers.0.attention", "decoder.layers.0.cross"):
            assert math.isclose(found[f"{place}.{name}.weight"], std)
    assert math.isclose(found["encoder.layers.0.mlp.up.weight"], 8**-0.5)
    assert math.isclose(found["encoder.layers.0.mlp.down.weight"], 16**-0.5)
    assert math.isclose(found["decoder.relative.weight"], 8**-0.5)
    assert found["embed.tokens.weight"] == found["head.weight"] == 1.0


@pytest.mark.parametrize("arch", [ENCODER, DECODER, BOTH], ids=["encoder", "decoder", "encoder-decoder"])
def test_the_counter_of_dropout_is_no_trainable_parameter(arch):
    model = built(arch)
    assert [item.name for item in model.untrainable_params()] == ["dropout.state"]
    assert model.dropout.state.dtype == ms.int32


PROBLEMS = [
    (ENCODER, {"hidden_size": 0}, "hidden_size is 0; it must be at least 1"),
    (ENCODER, {"num_labels": 0}, "num_labels is 0; it must be at least 1"),
    (ENCODER, {"embedding_size": 0}, "table_size is 0; it must be at least 1"),
    (ENCODER, {"num_heads": 3}, "hidden_size 8 is not a multiple of num_heads 3; num_heads may be 1, 2, 4, 8"),
    (DECODER, {"num_heads": 4, "num_kv_heads": 3}, "is not a multiple of num_kv_heads 3; num_kv_heads may be 1, 2, 4"),
    (DECODER, {"num_heads": 8, "positions": "rotary"}, "rotary positions need an even one"),
    (ENCODER, {"distinct_layers": 3}, "3 distinct layers cannot make 2; accepted: 1 to 2"),
    (ENCODER, {"distinct_layers": 0}, "0 distinct layers cannot make 2; accepted: 1 to 2"),
    (BOTH, {"num_decoder_layers": 0}, "num_decoder_layers is 0; it must be at least 1"),
]


@pytest.mark.parametrize(("arch", "changes", "said"), PROBLEMS, ids=[str(changes) for _, changes, _ in PROBLEMS])
def test_sizes_that_do_not_fit_are_refused_with_what_would(arch, changes, said):
    broken = dataclasses.replace(arch, **changes)
    with pytest.raises(UsageError) as caught:
        built(broken)
    assert said in str(caught.value)


def test_heads_of_a_size_of_their_own_need_not_divide_the_hidden_size():
    assert arch_problem(dataclasses.replace(DECODER, num_heads=3, size_per_head=4)) is None


NOT_CARRIED = {
    "rms norm in an encoder": (ENCODER, {"norm": "rms_norm"}, "EncoderArch carries layer_norm"),
    "pre-norm in an encoder": (ENCODER, {"pre_norm": True}, "pre_norm is True"),
    "ALiBi in an encoder": (ENCODER, {"positions": "alibi"}, "EncoderArch carries learned"),
    "relative positions in a decoder": (DECODER, {"positions": "relative"}, "learned or rotary or alibi"),
    "post-norm in a decoder": (DECODER, {"pre_norm": False}, "pre_norm is False"),
    "shared layers in a decoder": (DECODER, {"distinct_layers": 1}, "distinct_layers is 1"),
    "a pooler in a decoder": (DECODER, {"head": "pooler"}, "head is pooler"),
    "narrow tables in a decoder": (DECODER, {"embedding_size": 4}, "embedding_size is 4"),
    "a pooled classifier in a decoder": (DECODER, {"head": "sequence_classification"}, "reads the last_token"),
    "learned positions in an encoder-decoder": (BOTH, {"positions": "learned"}, "carries relative"),
    "a token classifier in an encoder-decoder": (BOTH, {"head": "token_classification"}, "none or seq2seq_lm"),
    "a rate of 1": (ENCODER, {"hidden_dropout": 1.0}, "below 1"),
    "two buckets": (BOTH, {"num_buckets": 2}, "at least 4"),
    "a distance inside the exact buckets": (BOTH, {"max_distance": 16}, "above half their number"),
    "dynamic rotation of two features": (
        DECODER,
        {"positions": "rotary", "size_per_head": 2, "rotary": Rotary(scaling="dynamic", factor=2.0)},
        "at least 4",
    ),
    "offset positions without padding": (ENCODER, {"padding_offsets_positions": True}, "pad_token_id must be given"),
    "a padding row outside the table": (ENCODER, {"frozen_row": 40}, "below vocab_size 40"),
}


@pytest.mark.parametrize("name", NOT_CARRIED)
def test_a_choice_that_the_cells_would_ignore_is_refused(name):
    arch, changes, said = NOT_CARRIED[name]
    assert said in arch_problem(dataclasses.replace(arch, **changes))
    with pytest.raises(UsageError):
        built(dataclasses.replace(arch, **changes))

"""The three stacks as wholes against NumPy in float64: how components are joined, what the options of an arch do."""

import dataclasses

import numpy as np
import pytest
from mindspore import Tensor

from mindformers.arch.stacks import DecoderArch, EncoderArch, EncoderDecoderArch, Rotary
from mindformers.models.decoder import DecoderModel
from mindformers.models.encoder import EncoderModel
from mindformers.models.encoder_decoder import EncoderDecoderModel
from mindformers.nn.alibi import alibi_slopes
from tests.parity import reference
from tests.parity.reference import bucket, check, cross_entropy, distance, fill
from tests.parity.tolerances import LOSS, MODEL

mode, same_numbers = reference.mode, reference.same_numbers

SIZES = {
    "vocab_size": 11,
    "hidden_size": 4,
    "num_layers": 2,
    "num_heads": 2,
    "intermediate_size": 6,
    "max_positions": 9,
}
SIZES["norm_eps"] = 1e-5
IDS = np.array([[3, 4, 5, 6, 7], [8, 9, 10, 2, 1]], np.int32)
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32)
SEEN = MASK.astype(bool)

ENCODERS = {
    "bert": {"type_vocab_size": 2, "embedding_norm": True},
    "albert": {"distinct_layers": 1, "embedding_size": 3, "type_vocab_size": 2, "activation": "gelu_tanh"},
    "half_scores": {"scales_scores": False, "qkv_bias": False, "out_bias": False, "mlp_bias": False},
}


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_an_encoder_is_its_embeddings_and_post_norm_layers(name):
    arch = EncoderArch(**SIZES, **ENCODERS[name])
    model = EncoderModel(arch)
    p = fill(model)
    types = np.array([[0, 0, 1, 1, 1], [0, 1, 1, 1, 1]], np.int32) if arch.type_vocab_size else None
    positions = np.array([[1, 0, 3, 4, 2], [0, 1, 8, 3, 4]], np.int32)
    order = [0, 0] if name == "albert" else [0, 1]
    found = model(Tensor(IDS), Tensor(MASK), None if types is None else Tensor(types), Tensor(positions))
    assert distance(found, reference.encoder(p, arch, IDS, MASK, order, types, positions)) < MODEL
    assert distance(model(Tensor(IDS)), reference.encoder(p, arch, IDS, np.ones_like(MASK), order)) < MODEL


def test_a_pooler_is_a_dense_tanh_of_the_first_token():
    arch = EncoderArch(**SIZES, head="pooler")
    model = EncoderModel(arch)
    p = fill(model)
    hidden, pooled = model(Tensor(IDS), Tensor(MASK))
    expected = reference.encoder(p, arch, IDS, MASK, [0, 1])
    assert distance(hidden, expected) < MODEL
    assert distance(pooled, np.tanh(reference.dense(p, "pooler", expected[:, 0]))) < MODEL


def test_an_encoder_passes_its_head_what_it_reads():
    labels = np.array([1, 0], np.int32)
    arch = EncoderArch(**SIZES, head="sequence_classification", pad_token_id=1)
    model = EncoderModel(arch)
    p = fill(model)
    pooled = np.tanh(reference.dense(p, "pooler", reference.encoder(p, arch, IDS, MASK, [0, 1])[:, 0]))
    loss = cross_entropy(reference.dense(p, "head.classifier", pooled), labels, -100)
    assert distance(model(Tensor(IDS), Tensor(MASK), labels=Tensor(labels)), loss) < LOSS
    arch = EncoderArch(**SIZES, head="masked_lm", head_activation="relu")
    model = EncoderModel(arch)
    p = fill(model)
    features = np.maximum(reference.dense(p, "head.transform", reference.encoder(p, arch, IDS, MASK, [0, 1])), 0)
    features = reference.norm(p, "head.norm", arch, features)
    logits = features @ p["embed.tokens.weight"].T + p["head.bias"]
    assert distance(model(Tensor(IDS), Tensor(MASK)), logits) < MODEL


ORDERS = {
    (1, 1): [0],
    (4, None): [0, 1, 2, 3],
    (4, 1): [0, 0, 0, 0],
    (6, 2): [0, 0, 0, 1, 1, 1],
    (6, 3): [0, 0, 1, 1, 2, 2],
    (6, 6): [0, 1, 2, 3, 4, 5],
    (5, 2): [0, 0, 0, 1, 1],
    (6, 4): [0, 0, 1, 2, 2, 3],
    (12, 4): [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3,
}


@pytest.mark.parametrize(("layers", "distinct"), sorted(ORDERS, key=str))
def test_shared_layers_follow_each_other_in_equal_groups(layers, distinct):
    arch = EncoderArch(**{**SIZES, "num_layers": layers}, distinct_layers=distinct)
    assert list(arch.layer_order) == ORDERS[layers, distinct]


@pytest.mark.parametrize("distinct", [1, 2, 3])
def test_an_encoder_runs_its_shared_layers_in_that_order(distinct):
    arch = EncoderArch(**{**SIZES, "num_layers": 3}, distinct_layers=distinct)
    model = EncoderModel(arch)
    p = fill(model)
    assert len(model.layers) == distinct
    order = {1: [0, 0, 0], 2: [0, 0, 1], 3: [0, 1, 2]}[distinct]
    assert distance(model(Tensor(IDS), Tensor(MASK)), reference.encoder(p, arch, IDS, MASK, order)) < MODEL


def test_a_shared_layer_collects_the_gradient_of_all_its_turns(mode):
    arch = EncoderArch(**{**SIZES, "num_layers": 3, "max_positions": 5}, distinct_layers=1, num_kv_heads=1)
    model = EncoderModel(arch)
    check(model, lambda p, ids, mask: reference.encoder(p, arch, ids, mask, [0, 0, 0]), IDS[1:], MASK[1:])


LLAMA = {
    "norm": "rms_norm",
    "gated": True,
    "activation": "silu",
    "qkv_bias": False,
    "out_bias": False,
    "mlp_bias": False,
}
DECODERS = {
    "gpt2": {"activation": "gelu_tanh"},
    "llama": {**LLAMA, "positions": "rotary", "num_kv_heads": 1},
    "interleaved": {**LLAMA, "positions": "rotary", "rotary": Rotary(theta=40.0, interleaved=True), "hidden_size": 8},
    "bloom": {"positions": "alibi", "embedding_norm": True, "activation": "gelu_tanh"},
    "baichuan": {**LLAMA, "positions": "alibi", "num_heads": 3, "hidden_size": 6},
    "wide_heads": {**LLAMA, "positions": "rotary", "size_per_head": 6, "num_kv_heads": 1},
}


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_a_decoder_is_causal_pre_norm_layers_and_a_norm(name):
    arch = DecoderArch(**{**SIZES, **DECODERS[name]}, pre_norm=True)
    model = DecoderModel(arch)
    p = fill(model)
    slopes = alibi_slopes(arch.num_heads) if arch.positions == "alibi" else None
    found = model(Tensor(IDS), Tensor(MASK))
    assert distance(found, reference.decoder(p, arch, IDS, MASK, slopes)) < MODEL
    changed = IDS.copy()
    changed[:, 3] = 0
    assert (model(Tensor(changed)).asnumpy()[:, :3] == model(Tensor(IDS)).asnumpy()[:, :3]).all()


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_decoder_takes_positions_that_are_given(name):
    arch = DecoderArch(**{**SIZES, **DECODERS[name]}, pre_norm=True)
    model = DecoderModel(arch)
    p, positions = fill(model), np.array([[0, 1, 2, 3, 4], [4, 5, 6, 0, 8]], np.int32)
    found = model(Tensor(IDS), Tensor(MASK), Tensor(positions))
    assert distance(found, reference.decoder(p, arch, IDS, MASK, None, positions)) < MODEL


@pytest.mark.parametrize("name", ["llama", "bloom"])
def test_padding_on_the_left_changes_nothing_where_positions_are_relative(name):
    arch = DecoderArch(**{**SIZES, **DECODERS[name]}, pre_norm=True)
    model = DecoderModel(arch)
    fill(model)
    text, padded = IDS[:1, :3], np.concatenate([IDS[1:, :2], IDS[:1, :3]], 1)
    mask = np.array([[0, 0, 1, 1, 1]], np.int32)
    found = model(Tensor(padded), Tensor(mask)).asnumpy()
    assert np.isfinite(found).all()
    assert np.abs(found[:, 2:] - model(Tensor(text)).asnumpy()).max() < MODEL


@pytest.mark.parametrize(
    ("name", "flags"),
    [("llama", {}), ("baichuan", {"tied_head": False, "normalizes_head": True})],
    ids=["rotary_tied", "alibi_normalized"],
)
def test_a_causal_model_learns_the_next_token(mode, name, flags):
    arch = DecoderArch(**{**SIZES, **DECODERS[name], **flags}, pre_norm=True, head="causal_lm")
    model = DecoderModel(arch)
    p, labels = fill(model), np.where(SEEN, IDS, -100)
    table = p["embed.tokens.weight"] if arch.tied_head else p["head.weight"]
    if arch.normalizes_head:
        table = table / np.linalg.norm(table, axis=-1, keepdims=True)
    slopes = alibi_slopes(arch.num_heads) if arch.positions == "alibi" else None
    logits = reference.decoder(p, arch, IDS, MASK, slopes) @ table.T
    assert distance(model(Tensor(IDS), Tensor(MASK)), logits) < MODEL
    expected = cross_entropy(logits[:, :-1], labels[:, 1:], -100)
    assert distance(model(Tensor(IDS), Tensor(MASK), labels=Tensor(labels)), expected) < LOSS


def test_a_decoder_classifies_by_the_last_token_before_padding():
    arch = DecoderArch(**SIZES, pre_norm=True, head="sequence_classification", classifier="last_token", pad_token_id=0)
    model = DecoderModel(arch)
    p, ids = fill(model), np.where(SEEN, IDS, 0)
    hidden = reference.decoder(p, arch, ids, MASK)[[0, 1], [4, 2]]
    assert distance(model(Tensor(ids), Tensor(MASK)), reference.dense(p, "head.score", hidden)) < MODEL


T5 = EncoderDecoderArch(
    **{**SIZES, **LLAMA, "norm_eps": 1e-6, "max_positions": 16, "num_heads": 2},
    size_per_head=3,
    num_decoder_layers=3,
    positions="relative",
    pre_norm=True,
    scales_scores=False,
    num_buckets=4,
    max_distance=3,
    pad_token_id=0,
    decoder_start_token_id=2,
    head="seq2seq_lm",
    scales_head=True,
)
TARGETS = np.array([[3, 4, 5, 1], [6, 1, -100, -100]], np.int32)


def buckets(length, bidirectional):
    pairs = [[bucket(key - query, bidirectional, 4, 3)[0] for key in range(length)] for query in range(length)]
    return np.array(pairs)


@pytest.mark.parametrize("kind", ["plain", "gated"])
def test_an_encoder_decoder_attends_to_its_encoder_and_adds_relative_positions(kind):
    arch = dataclasses.replace(T5, head="none", gated=kind == "gated", activation="relu")
    model = EncoderDecoderModel(arch)
    p, target_mask = fill(model), np.array([[1, 1, 1], [1, 1, 0]], np.int32)
    targets = IDS[:, :3]
    expected = reference.encoder_decoder(p, arch, IDS, MASK, targets, target_mask, buckets)
    found = model(Tensor(IDS), Tensor(MASK), Tensor(targets), Tensor(target_mask))
    assert distance(found, expected) < MODEL


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_seq2seq_model_reads_its_labels_shifted_behind_the_start_token(tied):
    arch = dataclasses.replace(T5, tied_head=tied, scales_head=tied)
    model = EncoderDecoderModel(arch)
    p, shifted = fill(model), np.array([[2, 3, 4, 5], [2, 6, 1, 0]], np.int32)
    assert model.shifted_right(Tensor(TARGETS)).asnumpy().tolist() == shifted.tolist()
    hidden = reference.encoder_decoder(p, arch, IDS, MASK, shifted, np.ones_like(shifted), buckets)
    logits = hidden @ p["embed.tokens.weight"].T / 2 if tied else hidden @ p["head.weight"].T
    assert distance(model(Tensor(IDS), Tensor(MASK), Tensor(shifted)), logits) < MODEL
    expected = cross_entropy(logits, TARGETS, -100)
    assert distance(model(Tensor(IDS), Tensor(MASK), labels=Tensor(TARGETS)), expected) < LOSS
    assert distance(model(Tensor(IDS), Tensor(MASK), Tensor(shifted), labels=Tensor(TARGETS)), expected) < LOSS


def test_every_parameter_of_an_encoder_decoder_gets_its_gradient_from_both_stacks(mode):
    arch = dataclasses.replace(T5, num_layers=1, num_decoder_layers=1, vocab_size=8, size_per_head=2)
    ids, mask, labels = IDS[:, :3] % 8, MASK[:, 1:4], TARGETS[:, :3]
    shifted = np.array([[2, 3, 4], [2, 6, 1]])

    def formula(p, ids, mask, _, __, labels):
        hidden = reference.encoder_decoder(p, arch, ids, mask, shifted, np.ones_like(shifted), buckets)
        return cross_entropy(hidden @ p["embed.tokens.weight"].T / 2, labels, -100)

    check(EncoderDecoderModel(arch), formula, ids, mask, None, None, labels)


def test_an_encoder_decoder_without_an_input_for_its_decoder_says_so():
    with pytest.raises(ValueError, match="the decoder has no input: give decoder_input_ids, or labels"):
        EncoderDecoderModel(T5)(Tensor(IDS))

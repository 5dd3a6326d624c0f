"""Tables, rotary positions, ALiBi and relative positions against NumPy and plain loops written from the papers."""

import dataclasses

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from mindformers.arch.stacks import EncoderArch, Rotary
from mindformers.nn.alibi import alibi_key_bias, alibi_slopes
from mindformers.nn.embedding import Embedding, Embeddings
from mindformers.nn.relative_bias import RelativeBias, distance_buckets
from mindformers.nn.rope import RotaryAngles, Rotate
from tests.parity import reference
from tests.parity.reference import bucket, check, fill, normal
from tests.parity.tolerances import CELL

mode, same_numbers = reference.mode, reference.same_numbers

ARCH = EncoderArch(
    vocab_size=7, hidden_size=4, num_layers=1, num_heads=2, intermediate_size=8, max_positions=6, norm_eps=1e-5
)
IDS = np.array([[1, 0, 1, 4], [6, 2, 0, 0]], np.int32)


def test_a_frozen_row_of_a_table_gets_no_gradient(mode):
    cell = Embedding(5, 3, padding_id=0)
    ids = np.array([[1, 0, 1, 4]], np.int32)

    def formula(p, ids):
        table = p["weight"].copy()
        table[0] = frozen
        return table[ids]

    values = fill(cell)
    frozen = values["weight"][0].copy()
    check(cell, formula, ids, values=values)


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"type_vocab_size": 2},
        {"embedding_norm": True},
        {"type_vocab_size": 2, "embedding_norm": True, "embedding_size": 3},
        {"positions": "alibi", "embedding_norm": True, "norm": "rms_norm"},
        {"positions": "rotary"},
    ],
    ids=str,
)
def test_the_foot_of_a_stack_sums_its_tables_then_norms_then_projects(flags):
    arch = dataclasses.replace(ARCH, **flags)
    cell = Embeddings(arch)
    cell.set_train(False)
    values = fill(cell)

    def formula(p, ids, types, positions):
        return reference.embed({f"embed.{path}": p[path] for path in p}, arch, ids, types, positions)

    check(cell, formula, IDS, None, None, values=values)
    types = np.array([[0, 1, 1, 0], [1, 1, 0, 0]], np.int32) if arch.type_vocab_size else None
    positions = np.array([[3, 0, 1, 5], [2, 2, 0, 4]], np.int32)
    check(cell, formula, IDS, types, positions, values=values)


ROBERTA = dataclasses.replace(ARCH, max_positions=9, pad_token_id=2, padding_offsets_positions=True, frozen_row=2)


def test_roberta_counts_positions_of_real_tokens_from_behind_the_padding(mode):
    cell, ids = Embeddings(ROBERTA), np.array([[5, 0, 6, 2, 2], [2, 2, 4, 1, 3], [3, 2, 4, 2, 1]], np.int32)
    positions = np.array([[3, 4, 5, 2, 2], [2, 2, 3, 4, 5], [3, 2, 4, 2, 5]])
    cell.set_train(False)
    values = fill(cell)
    tables = {path: values[path].copy() for path in values}

    def formula(p, ids):
        tokens, places = p["tokens.weight"].copy(), p["positions.weight"].copy()
        tokens[2], places[2] = tables["tokens.weight"][2], tables["positions.weight"][2]  # neither is trained
        return tokens[ids] + places[positions]

    check(cell, formula, ids, values=values)


def test_roberta_takes_positions_that_are_given_as_they_are():
    cell, ids = Embeddings(ROBERTA), np.array([[1, 0, 3, 4], [6, 6, 5, 0]], np.int32)
    positions = np.array([[0, 8, 3, 3], [1, 1, 6, 7]], np.int32)
    cell.set_train(False)
    check(cell, lambda p, ids, _, at: p["tokens.weight"][ids] + p["positions.weight"][at], ids, None, positions)


@pytest.mark.parametrize(("arch", "longest"), [(ARCH, 6), (ROBERTA, 6)], ids=["plain", "roberta"])
def test_a_sequence_longer_than_the_table_is_refused_with_both_lengths(arch, longest):
    cell = Embeddings(arch)
    cell(Tensor(np.ones((1, longest), np.int32)))
    with pytest.raises(ValueError, match=f"the sequence has {longest + 1} tokens and the model {longest} positions"):
        cell(Tensor(np.ones((1, longest + 1), np.int32)))


class Turned(nn.Cell):
    """RotaryAngles and Rotate, as attention joins them."""

    def __init__(self, rotary, size):
        super().__init__()
        self.angles, self.rotate = RotaryAngles(rotary, size), Rotate(size, rotary.interleaved)

    def construct(self, x, positions):
        cos, sin = self.angles(positions)
        return self.rotate(x, cos, sin)


POSITIONS = {
    "in_order": np.arange(5, dtype=np.int32)[None],
    "given": np.array([[3, 0, 9, 9, 1], [0, 1, 2, 30, 4]], np.int32),
}


@pytest.mark.parametrize("interleaved", [False, True], ids=["halves", "interleaved"])
@pytest.mark.parametrize("positions", sorted(POSITIONS))
def test_each_pair_is_turned_by_its_own_multiple_of_the_position(mode, positions, interleaved):
    def formula(_, x, at):
        return reference.rotate(x, at, 10000.0, interleaved)

    check(Turned(Rotary(interleaved=interleaved), 6), formula, normal(2, 2, 5, 6), POSITIONS[positions])


@pytest.mark.parametrize("theta", [100.0, 500000.0])
def test_theta_is_the_base_of_the_wavelengths(theta):
    x, at = normal(1, 1, 1, 8), np.array([[9]], np.int32)
    check(Turned(Rotary(theta=theta), 8), lambda _, x, at: reference.rotate(x, at, theta, False), x, at)


def test_a_score_of_turned_vectors_depends_on_their_distance_alone():
    cell, x = Turned(Rotary(), 8), np.broadcast_to(normal(1, 2, 1, 8), (1, 2, 6, 8)).copy()
    turned = cell(Tensor(x), Tensor(np.arange(6, dtype=np.int32)[None])).asnumpy()
    scores = turned[0, 0] @ turned[0, 1].T
    for diagonal in range(-5, 6):
        assert np.ptp(np.diagonal(scores, diagonal)) < CELL


@pytest.mark.parametrize("factor", [2.0, 4.0])
def test_linear_scaling_divides_positions_at_every_length(factor):
    cell = Turned(Rotary(scaling="linear", factor=factor, trained_length=4), 6)
    for at in (np.arange(3, dtype=np.int32)[None], np.arange(9, dtype=np.int32)[None]):
        x = normal(1, 2, at.shape[1], 6)
        check(cell, lambda _, x, at: reference.rotate(x, at / factor, 10000.0, False), x, at, by=())


@pytest.mark.parametrize(("length", "factor"), [(3, 2.0), (8, 2.0), (9, 2.0), (24, 1.0), (24, 4.0)])
def test_dynamic_scaling_raises_theta_with_the_length_beyond_the_trained_one(mode, length, factor):
    size, trained = 6, 8
    cell = Turned(Rotary(scaling="dynamic", factor=factor, trained_length=trained), size)
    theta = 10000.0
    if length > trained:
        theta *= (factor * length / trained - (factor - 1)) ** (size / (size - 2))
    at = np.arange(length, dtype=np.int32)[None]
    formula = lambda _, x, at: reference.rotate(x, at, theta, False)  # noqa: E731
    check(cell, formula, normal(1, 1, length, size), at, by=())


def test_dynamic_scaling_goes_by_the_last_position_of_a_batch_and_not_by_its_tokens():
    cell = Turned(Rotary(scaling="dynamic", factor=2.0, trained_length=4), 8)
    theta = 10000.0 * (2 * 12 / 4 - 1) ** (8 / 6)
    at = np.array([[0, 1], [10, 11]], np.int32)
    check(cell, lambda _, x, at: reference.rotate(x, at, theta, False), normal(2, 1, 2, 8), at, by=())


def test_angles_are_the_same_for_a_type_of_half_the_width():
    x, at = normal(1, 1, 5, 6), POSITIONS["in_order"]
    out = Turned(Rotary(), 6)(Tensor(x.astype(np.float16)), Tensor(at))
    assert out.dtype == ms.float16
    assert np.abs(out.asnumpy() - reference.rotate(x.astype(np.float64), at, 10000.0, False)).max() < 2**-8


def slopes_by_the_rule_of_the_authors(heads):
    """Section 3 for powers of two; other counts by the recursion that the authors released (footnote 6 and code)."""
    power = 1
    while power * 2 <= heads:
        power *= 2
    slopes = [2 ** (-8 * (head + 1) / power) for head in range(power)]
    if power < heads:
        slopes += slopes_by_the_rule_of_the_authors(2 * power)[::2][: heads - power]
    return slopes


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 8, 12, 16, 40, 112])
def test_slopes_of_alibi_are_geometric_and_filled_up_from_the_next_power_of_two(heads):
    slopes = alibi_slopes(heads)
    assert slopes.shape == (heads,)
    assert slopes.dtype == np.float32
    assert np.allclose(slopes, slopes_by_the_rule_of_the_authors(heads), rtol=1e-6, atol=0)
    assert len(set(slopes.tolist())) == heads


def test_eight_heads_have_the_slopes_that_the_paper_prints():
    assert alibi_slopes(8).tolist() == [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]


@pytest.mark.parametrize("heads", [2, 3])
def test_the_key_bias_of_alibi_differs_from_the_distance_by_a_constant_in_each_row(heads):
    bias = alibi_key_bias(heads, 5)
    assert bias.shape == (1, heads, 5, 1)
    distances = -np.arange(5)[:, None] + np.arange(5)[None]
    textbook = alibi_slopes(heads)[:, None, None] * distances
    assert np.ptp(bias[0].swapaxes(1, 2) - textbook, axis=-1).max() < CELL


@pytest.mark.parametrize("bidirectional", [True, False], ids=["both_ways", "causal"])
@pytest.mark.parametrize(("buckets", "longest"), [(32, 128), (32, 64), (16, 100), (8, 20), (6, 9), (64, 512)])
def test_buckets_are_single_distances_then_grow_up_to_the_longest(bidirectional, buckets, longest):
    found = distance_buckets(bidirectional, buckets, longest)
    assert found.shape == (2 * longest + 1,)
    for index, value in enumerate(found.tolist()):
        expected, is_border = bucket(index - longest, bidirectional, buckets, longest)
        # Exactly on a border float32 may round to the bucket before, as in published models.
        assert value == expected or (is_border and value == expected - 1), index - longest
    assert found.min() == 0
    assert found.max() == buckets - 1


def test_the_usual_buckets_begin_where_those_of_published_models_do():
    # Computed with transformers' T5Attention._relative_position_bucket in float32.
    before = distance_buckets(True, 32, 128)[:129][::-1]  # distance 0, -1, ... -128
    assert [int(np.argmax(before == number)) for number in range(16)] == BOTH_WAYS
    after = distance_buckets(True, 32, 128)[128:]
    assert after[0] == 0
    assert [int(np.argmax(after == number)) for number in range(17, 32)] == BOTH_WAYS[1:]
    causal = distance_buckets(False, 32, 128)[:129][::-1]
    assert [int(np.argmax(causal == number)) for number in range(32)] == CAUSAL
    assert (distance_buckets(False, 32, 128)[129:] == 0).all()


BOTH_WAYS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91]
CAUSAL = [*range(17), 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]


@pytest.mark.parametrize("bidirectional", [True, False], ids=["both_ways", "causal"])
def test_a_relative_bias_is_a_row_of_its_table_for_every_pair(mode, bidirectional):
    cell = RelativeBias(2, bidirectional, 6, 9)
    queries, keys = np.array([0, 1, 5, 30], np.int32), np.array([0, 3, 6, 2, 31, 12], np.int32)

    def formula(p, queries, keys):
        out = np.zeros((1, 2, len(queries), len(keys)))
        for i, query in enumerate(queries.tolist()):
            for j, key in enumerate(keys.tolist()):
                out[0, :, i, j] = p["weight"][bucket(key - query, bidirectional, 6, 9)[0]]
        return out

    check(cell, formula, queries, keys)

"""The attention call with its written gradient, and attention with its projections, against NumPy in float64."""

import dataclasses

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from mindformers.arch.stacks import DecoderArch, Rotary
from mindformers.nn import functional
from mindformers.nn.alibi import alibi_key_bias, alibi_slopes
from mindformers.nn.attention import Attend, Attention
from mindformers.nn.rope import RotaryAngles
from tests.parity import reference
from tests.parity.reference import RNG, attend, causal, check, distance, fill, key_bias, normal
from tests.parity.tolerances import CELL

mode, operators, same_numbers = reference.mode, reference.operators, reference.same_numbers

BATCH, HEADS, QUERIES, KEYS, SIZE = 2, 3, 3, 4, 2
MASK = np.array([[1, 1, 1, 0], [1, 1, 0, 0]])
ARCH = DecoderArch(vocab_size=9, hidden_size=8, num_layers=1, num_heads=4, intermediate_size=8, max_positions=8)
SITE, ROWS = 2, 101


def product_inputs():
    return normal(BATCH, HEADS, QUERIES, SIZE), normal(BATCH, HEADS, KEYS, SIZE), normal(BATCH, HEADS, KEYS, SIZE)


def dropout_table(rate):
    return RNG.random((SITE * ROWS + BATCH * HEADS * QUERIES, KEYS)) >= rate


@pytest.mark.parametrize("rate", [0.0, 0.3], ids=["without_dropout", "with_dropout"])
@pytest.mark.parametrize("biases", ["neither", "key", "causal", "both"])
def test_attention_and_its_written_gradient_are_those_of_the_formula(mode, biases, rate):
    mask = MASK if biases in ("key", "both") else np.ones_like(MASK)
    has_order = biases in ("causal", "both")
    table = dropout_table(rate)
    kept = table[SITE * ROWS :].reshape(BATCH, HEADS, QUERIES, KEYS) / (1 - rate) if rate else 1.0
    order = np.where(np.tril(np.ones((QUERIES, KEYS)), KEYS - QUERIES), 0.0, reference.HIDDEN) if has_order else 0.0
    key = functional.attention_bias(Tensor(mask)).asnumpy()
    score = functional.causal_bias(QUERIES, KEYS).asnumpy() if has_order else key
    cell = Attend(0.6, has_order, rate, SITE)

    def formula(_, q, k, v, *__):
        return attend(q, k, v, key_bias(mask) + order, 0.6, kept)

    check(cell, formula, *product_inputs(), key, score, table, by=(0, 1, 2))


@pytest.mark.parametrize("rate", [0.0, 0.3], ids=["without_dropout", "with_dropout"])
@pytest.mark.parametrize("shape", [(1, HEADS), (BATCH, HEADS), (1, 1), (BATCH, 1)], ids=str)
def test_a_trained_score_bias_gets_its_gradient_in_its_own_shape(shape, rate, mode):
    table, key = dropout_table(rate), functional.attention_bias(Tensor(MASK)).asnumpy()
    kept = table[SITE * ROWS :].reshape(BATCH, HEADS, QUERIES, KEYS) / (1 - rate) if rate else 1.0

    def formula(_, q, k, v, __, score, ___):
        return attend(q, k, v, key_bias(MASK) + score, 0.6, kept)

    inputs = *product_inputs(), key, normal(*shape, QUERIES, KEYS), table
    check(Attend(0.6, True, rate, SITE), formula, *inputs, by=(0, 1, 2, 4))


@pytest.mark.parametrize("rows", [1, BATCH])
def test_a_key_bias_may_differ_between_heads(rows):
    bias = normal(rows, HEADS, KEYS, 1)

    def formula(_, q, k, v, key, *__):
        return attend(q, k, v, key.swapaxes(2, 3), 0.6)

    check(Attend(0.6), formula, *product_inputs(), bias, bias, bias, by=(0, 1, 2))


@pytest.mark.parametrize("rate", [0.0, 0.3], ids=["without_dropout", "with_dropout"])
def test_a_row_without_any_key_gives_finite_numbers_and_gradients(mode, rate):
    cell, table = Attend(0.5, True, rate, SITE), Tensor(dropout_table(rate))
    key = functional.attention_bias(Tensor(np.zeros_like(MASK)))
    q, k, v = (Tensor(x) for x in product_inputs())
    order = functional.causal_bias(QUERIES, KEYS)

    def total(*inputs):
        out = cell(*inputs, key, order, table)
        return out.sum(), out

    (_, out), grads = ops.value_and_grad(total, (0, 1, 2), has_aux=True)(q, k, v)
    assert all(np.isfinite(tensor.asnumpy()).all() for tensor in (out, *grads))


def test_masked_keys_count_for_nothing_in_half_precision():
    q, k, v = (Tensor(x.astype(np.float16)) for x in product_inputs())
    key = functional.attention_bias(Tensor(MASK))
    other = v.asnumpy().copy()
    other[0, :, 3], other[1, :, 2:] = 100, 100
    cell = Attend(0.6)
    out = cell(q, k, v, key, key, key)
    assert out.dtype == ms.float16
    assert (out.asnumpy() == cell(q, k, Tensor(other), key, key, key).asnumpy()).all()
    wide = [x.asnumpy().astype(np.float64) for x in (q, k, v)]
    assert np.allclose(out.asnumpy(), attend(*wide, key_bias(MASK), 0.6), atol=2**-8)  # roundings to half precision


def test_later_keys_are_hidden_and_the_last_queries_see_most():
    bias = functional.causal_bias(2, 5).asnumpy()
    assert bias.shape == (1, 1, 2, 5)
    assert (bias[0, 0] == 0).tolist() == [[True, True, True, True, False], [True] * 5]


def test_the_bias_of_masked_keys_stays_finite_when_several_are_added():
    total = 3 * functional.attention_bias(Tensor(np.zeros((1, 2), np.int32))).asnumpy()
    assert np.isfinite(total).all()
    assert (total < -1e37).all()


@pytest.mark.parametrize("heads", [1, 3, 4, 12])
def test_alibi_as_a_key_bias_is_the_penalty_on_distances(heads):
    length = 6
    q, k, v = normal(2, heads, length, 4), normal(2, heads, length, 4), normal(2, heads, length, 4)
    key, order = alibi_key_bias(heads, length), functional.causal_bias(length, length).asnumpy()
    slopes = alibi_slopes(heads)

    def formula(_, q, k, v, *__):
        return attend(q, k, v, reference.alibi(slopes, length) + causal(length))

    by = (0, 1, 2) if heads == 1 else ()
    check(Attend(0.5, True), formula, q, k, v, key, order, key, by=by)


def formula_of(arch, mask, order, positions=None):
    def formula(p, x, source, *_):
        source = x if source is None else source
        return reference.multi_head(p, "", arch, x, source, key_bias(mask) + order, positions)

    return formula


def on_itself(cell):
    """Attention of x to itself as a cell of (x, None, biases ...), so that one gradient holds for both uses of x."""

    class OnItself(ms.nn.Cell):
        def __init__(self):
            super().__init__(auto_prefix=False)
            self.cell = cell

        def construct(self, x, _, key, score, rotation=None):
            return self.cell(x, x, key, score, rotation)

        def parameters_and_names(self, name_prefix="", expand=True):
            return cell.parameters_and_names()

    cell.set_train(False)
    return OnItself()


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("size_per_head", [None, 3])
def test_heads_of_the_query_share_those_of_key_and_value_in_groups_of_neighbours(kv_heads, size_per_head):
    arch = dataclasses.replace(ARCH, num_kv_heads=kv_heads, size_per_head=size_per_head)
    mask = np.array([[1, 1, 1], [1, 1, 0]])
    biases = functional.attention_bias(Tensor(mask)).asnumpy(), functional.causal_bias(3, 3).asnumpy()
    cell = Attention(arch, 0, has_score_bias=True)
    assert cell.k.weight.shape == (kv_heads * (size_per_head or 2), 8)
    check(on_itself(cell), formula_of(arch, mask, causal(3)), normal(2, 3, 8), None, *biases, by=(0,))


@pytest.mark.parametrize(
    "flags", [{}, {"scales_scores": False, "size_per_head": 5}, {"qkv_bias": False}, {"out_bias": False}], ids=str
)
def test_attention_has_the_scale_and_the_biases_of_its_family(mode, flags):
    arch = dataclasses.replace(ARCH, num_heads=2, **flags)
    mask = np.ones((1, 3), np.int32)
    bias = functional.attention_bias(Tensor(mask)).asnumpy()
    cell = Attention(arch, 0)
    paths = [path for path, _ in cell.parameters_and_names()]
    assert ("q.bias" in paths, "k.bias" in paths, "v.bias" in paths) == (arch.qkv_bias,) * 3
    assert ("o.bias" in paths) == arch.out_bias
    check(on_itself(cell), formula_of(arch, mask, 0.0), normal(1, 3, 8), None, bias, bias, by=(0,))


@pytest.mark.parametrize("kv_heads", [2, 4])
def test_attention_to_an_encoder_takes_keys_of_another_length_and_no_rotation(mode, kv_heads):
    arch = dataclasses.replace(ARCH, num_kv_heads=kv_heads, positions="rotary", size_per_head=2)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    cell = Attention(arch, 0, is_cross=True)
    cell.set_train(False)
    bias = functional.attention_bias(Tensor(mask)).asnumpy()
    check(cell, formula_of(arch, mask, 0.0), normal(2, 3, 8), normal(2, 5, 8), bias, by=(0, 1))


@pytest.mark.parametrize("interleaved", [False, True], ids=["halves", "interleaved"])
@pytest.mark.parametrize("kv_heads", [1, 2])
def test_queries_and_keys_are_turned_and_values_are_not(interleaved, kv_heads):
    rotary = Rotary(theta=50.0, interleaved=interleaved)
    arch = dataclasses.replace(ARCH, positions="rotary", rotary=rotary, num_heads=2, num_kv_heads=kv_heads)
    positions = np.array([[0, 1, 2], [4, 1, 7]], np.int32)
    mask = np.array([[1, 1, 1], [0, 1, 1]])
    biases = functional.attention_bias(Tensor(mask)).asnumpy(), functional.causal_bias(3, 3).asnumpy()
    rotation = tuple(tensor.asnumpy() for tensor in RotaryAngles(rotary, 4)(Tensor(positions)))
    cell = Attention(arch, 0, has_score_bias=True)
    p, x = fill(cell), normal(2, 3, 8)
    cell.set_train(False)
    expected = reference.multi_head(p, "", arch, x, x, np.maximum(key_bias(mask) + causal(3), -1e30), positions)
    seen = np.array([[True] * 3, [False, True, True]])  # a query without any key is only finite
    out = cell(Tensor(x), Tensor(x), *map(Tensor, biases), tuple(map(Tensor, rotation))).asnumpy()
    assert np.isfinite(out).all()
    assert np.abs(out - expected)[seen].max() < CELL


@pytest.mark.parametrize("is_cross", [False, True], ids=["to_itself", "to_an_encoder"])
def test_attention_drops_probabilities_in_training_by_the_table_of_its_kind(is_cross):
    arch = dataclasses.replace(ARCH, attention_dropout=0.4)
    cell, x = Attention(arch, 1, is_cross=is_cross), normal(2, 3, 8)
    source = normal(2, 5, 8) if is_cross else x
    p = fill(cell)
    tables = [RNG.random((ROWS + 2 * 4 * 3, source.shape[1])) > 0.4 for _ in range(2)]
    noise = (None, Tensor(tables[0]), Tensor(tables[1]), None, None)
    key = functional.attention_bias(Tensor(np.ones(source.shape[:2], np.int32)))
    cell.set_train(True)
    out = cell(Tensor(x), Tensor(source), key, noise=noise)
    kept = tables[is_cross][ROWS:].reshape(2, 4, 3, -1) / 0.6

    def heads(name, y):
        return reference.dense(p, name, y.astype(np.float64)).reshape(2, -1, 4, 2).transpose(0, 2, 1, 3)

    context = attend(heads("q", x), heads("k", source), heads("v", source), 0.0, None, kept)
    assert distance(out, reference.dense(p, "o", context.transpose(0, 2, 1, 3).reshape(2, 3, 8))) < CELL
    cell.set_train(False)
    assert distance(cell(Tensor(x), Tensor(source), key), reference.multi_head(p, "", arch, x, source, 0.0)) < CELL

"""Dropout in each cell that has it: where it is, what it scales, and that it is off outside training."""

import dataclasses
import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from mindformers.arch.stacks import EncoderArch
from mindformers.models.heads import HEADS
from mindformers.nn.block import CrossBlock, PostNormBlock, PreNormBlock
from mindformers.nn.dropout import AT_EMBEDDINGS, AT_HEAD, Dropout, FreshDropout
from mindformers.nn.embedding import Embeddings
from mindformers.nn.functional import attention_bias
from mindformers.nn.norm import ResidualNorm
from tests.parity import reference
from tests.parity.reference import RNG, check, dense, distance, fill, normal
from tests.parity.tolerances import CELL

mode, operators, same_numbers = reference.mode, reference.operators, reference.same_numbers

ARCH = EncoderArch(
    vocab_size=9,
    hidden_size=6,
    num_layers=2,
    num_heads=2,
    intermediate_size=10,
    max_positions=8,
    norm_eps=1e-5,
    hidden_dropout=0.4,
    embedding_norm=True,
)


def test_dropout_scales_what_stays_also_in_its_gradient(mode):
    cell, table = Dropout(0.25, 1, kind=3), RNG.random((101 + 8, 6)) > 0.25
    noise = (None, None, None, Tensor(table), None)
    cell.set_train(True)
    kept = table[101:].reshape(2, 4, 6) / 0.75
    check(Given(cell, noise), lambda _, x: x * kept, normal(2, 4, 6))


def test_a_residual_norm_drops_the_branch_and_not_the_residual(mode):
    cell, table = ResidualNorm(6, 1e-5, 0.25, 2), RNG.random((202 + 8, 6)) > 0.25
    cell.set_train(True)
    kept = table[202:].reshape(2, 4, 6) / 0.75

    def formula(p, branch, residual):
        return reference.layer_norm(residual + branch * kept, p["weight"], p["bias"], 1e-5)

    check(Given(cell, (Tensor(table), None, None, None, None)), formula, normal(2, 4, 6), normal(2, 4, 6))


class Given(ms.nn.Cell):
    """A cell with the noise that it takes last."""

    def __init__(self, cell, noise):
        super().__init__(auto_prefix=False)
        self.cell, self.noise = cell, noise

    def construct(self, *inputs):
        return self.cell(*inputs, self.noise)

    def parameters_and_names(self, name_prefix="", expand=True):
        return self.cell.parameters_and_names()


@pytest.mark.parametrize("kind", [Dropout, FreshDropout])
def test_dropout_does_nothing_outside_training_or_at_a_rate_of_zero(kind):
    x = Tensor(normal(2, 4, 8))
    for rate, trains in ((0.25, False), (0.0, True)):
        cell = kind(rate, 1)
        cell.set_train(trains)
        assert (cell(x, None).asnumpy() == x.asnumpy()).all()


def fresh_mask(stream, key, shape, rate=0.4):
    cell = FreshDropout(rate, stream)
    cell.set_train(True)
    return cell(Tensor(np.ones(shape, np.float32)), (None, None, None, None, Tensor(key, ms.uint32))).asnumpy()


def test_fresh_dropout_draws_a_mask_of_its_own_from_the_key_and_its_place():
    shape = (3, 40, 50)
    mask = fresh_mask(9, 77, shape)
    assert np.abs(np.unique(mask) - [0, 1 / 0.6]).max() < CELL
    assert abs((mask == 0).mean() - 0.4) < 5 * math.sqrt(0.4 * 0.6 / mask.size)
    assert (mask == fresh_mask(9, 77, shape)).all()
    for other in (fresh_mask(11, 77, shape), fresh_mask(9, 78, shape), fresh_mask(13, 77, shape)):
        assert abs(np.corrcoef(mask.ravel(), other.ravel())[0, 1]) < 5 / math.sqrt(mask.size)
    x = normal(*shape)
    cell = FreshDropout(0.4, 9)
    cell.set_train(True)
    noise = (None, None, None, None, Tensor(77, ms.uint32))
    assert distance(cell(Tensor(x), noise), x * mask.astype(np.float64)) < CELL


KEYED = (None, None, None, None, Tensor(77, ms.uint32))


@pytest.mark.parametrize("flags", [{"embedding_size": 4}, {"hidden_dropout": 0.1}], ids=str)
def test_embeddings_drop_after_their_norm_and_before_their_projection(flags):
    arch = dataclasses.replace(ARCH, embedding_dropout=0.4, **flags)
    cell, ids = Embeddings(arch), np.array([[1, 2, 3], [4, 5, 6]], np.int32)
    cell.set_train(True)
    p = {f"embed.{path}": value for path, value in fill(cell).items()}
    narrow = dataclasses.replace(arch, embedding_size=None)
    expected = reference.embed(p, narrow, ids) * fresh_mask(AT_EMBEDDINGS, 77, (2, 3, arch.table_size))
    if arch.embedding_size:
        expected = dense(p, "embed.project", expected)
    assert distance(cell(Tensor(ids), noise=KEYED), expected) < CELL


def test_embeddings_share_the_table_of_the_hidden_stream_where_rate_and_width_agree():
    arch = dataclasses.replace(ARCH, embedding_dropout=0.4)
    cell, ids, table = Embeddings(arch), np.array([[1, 2, 3]], np.int32), RNG.random((3, 6)) > 0.4
    cell.set_train(True)
    p = {f"embed.{path}": value for path, value in fill(cell).items()}
    noise = (Tensor(table), None, None, None, None)
    assert distance(cell(Tensor(ids), noise=noise), reference.embed(p, arch, ids) * table / 0.6) < CELL


@pytest.mark.parametrize("drops_mlp", [True, False], ids=["both", "attention_alone"])
@pytest.mark.parametrize("kind", [PostNormBlock, PreNormBlock, CrossBlock])
def test_a_layer_drops_from_its_branches_and_not_from_its_residual(kind, drops_mlp):
    arch = dataclasses.replace(ARCH, drops_mlp_output=drops_mlp)
    cell, x, memory = kind(arch, 1), normal(2, 3, 6), normal(2, 4, 6)
    p, table = fill(cell), RNG.random((101 * 6 + 6, 6)) > 0.4
    bias, memory_bias = (attention_bias(Tensor(np.ones(shape, np.int32))) for shape in ((2, 3), (2, 4)))
    noise = (Tensor(table), None, None, None, None)
    cell.set_train(True)

    def kept(site):
        return table[101 * site : 101 * site + 6].reshape(2, 3, 6) / 0.6

    def norm(name, y):
        return reference.norm(p, name, arch, y)

    def attention(name, y, source):
        return reference.multi_head(p, f"{name}.", arch, y, source, 0.0)

    at_mlp = kept(5) if drops_mlp else 1.0  # sites of the second layer: 4 attention, 5 feed-forward, 6 cross
    if kind is PostNormBlock:
        y = norm("norm_attn", x + kept(4) * attention("attention", x, x))
        expected = norm("norm_mlp", y + at_mlp * reference.feed_forward(p, "mlp.", arch, y))
        found = cell(Tensor(x), bias, noise=noise)
    else:
        y = x + kept(4) * attention("attention", norm("norm_attn", x), norm("norm_attn", x))
        if kind is CrossBlock:
            y = y + kept(6) * attention("cross", norm("norm_cross", y), memory)
            found = cell(Tensor(x), bias, None, Tensor(memory), memory_bias, noise)
        else:
            found = cell(Tensor(x), bias, noise=noise)
        expected = y + at_mlp * reference.feed_forward(p, "mlp.", arch, norm("norm_mlp", y))
    assert distance(found, expected) < CELL


@pytest.mark.parametrize("classifier", ["token", "pooled", "dense", "last_token"])
def test_a_classifier_drops_what_it_reads(classifier):
    kind = "token_classification" if classifier == "token" else "sequence_classification"
    reads = "pooled" if classifier == "token" else classifier
    cell = HEADS[kind](dataclasses.replace(ARCH, head=kind, classifier=reads, classifier_dropout=0.4))
    p, hidden, pooled = fill(cell), normal(2, 3, 6), normal(2, 6)
    cell.set_train(True)
    found = cell(Tensor(hidden), Tensor(pooled), None, Tensor(np.ones((2, 3), np.int32)), None, None, None, KEYED)
    row = fresh_mask(AT_HEAD, 77, (2, 6))
    if classifier == "token":
        expected = dense(p, "classifier", hidden * fresh_mask(AT_HEAD, 77, (2, 3, 6)))
    elif classifier == "pooled":
        expected = dense(p, "classifier", pooled * row)
    elif classifier == "dense":
        first = hidden[:, 0] * fresh_mask(AT_HEAD + 2, 77, (2, 6))
        expected = dense(p, "output", np.tanh(dense(p, "dense", first)) * row)
    else:
        expected = dense(p, "score", hidden[:, -1].astype(np.float64))  # GPT-2's has no dropout
    assert distance(found, expected) < CELL

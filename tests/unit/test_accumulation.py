"""Many portions of a batch have the gradient of the whole, however their labels are spread."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from mindformers.errors import UsageError
from mindformers.models.gpt2 import GPT2Config, GPT2LMHeadModel
from mindformers.optim.adamw import AdamW
from mindformers.train.loss_scale import FixedLossScale
from mindformers.train.shares import LabelShares
from mindformers.train.step import LossCell, TrainStep

EQUAL = 1e-6
"""Relative, in float32: sums in another order."""
ROWS, TOKENS = 8, 6
SIZES = {"vocab_size": 20, "n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    ms.set_context(mode=ms.GRAPH_MODE)


def uneven_batch():
    """Return token ids and labels of which the rows have from one to all."""
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 20, (ROWS, TOKENS)).astype(np.int32)
    labels = ids.copy()
    for row in range(ROWS):
        labels[row, 2 + row % 5 :] = -100
    labels[5] = -100
    return ids, labels


def trained(portions, steps=3, loss_scale=None, calls=None):
    ms.set_seed(1)
    model = GPT2LMHeadModel(GPT2Config(**SIZES, **NO_DROPOUT))
    model.set_train(True)
    columns = ("input_ids", "labels")
    shares = LabelShares(columns, {"labels": -100}, portions, shifted=True) if portions else None
    step = TrainStep(LossCell(model, columns), AdamW(model.trainable_params(), 1e-2), 1.0, loss_scale, shares)
    step.set_train()
    batch = [Tensor(column) for column in uneven_batch()]
    results = [[float(value.asnumpy()) for value in step(*batch)[:4]] for _ in range(steps)]
    if calls is not None:
        calls.append(len(step.compile_cache))
    return results, {item.name: item.asnumpy() for item in model.trainable_params()}


@pytest.fixture(scope="module")
def whole():
    return trained(0)


@pytest.mark.parametrize("portions, loss_scale", [(1, None), (2, 128.0), (4, None)])
def test_portions_train_as_one_big_batch_does(whole, portions, loss_scale):
    calls = []
    results, weights = trained(portions, loss_scale=FixedLossScale(loss_scale) if loss_scale else None, calls=calls)
    for index in (0, 3):  # loss and gradient norm
        np.testing.assert_allclose([row[index] for row in results], [row[index] for row in whole[0]], rtol=EQUAL)
    for name, value in weights.items():
        if name.endswith("attention.k.bias"):
            continue  # softmax does not see it: its gradient is rounding error, which Adam scales to full steps
        np.testing.assert_allclose(value, whole[1][name], rtol=0, atol=EQUAL, err_msg=name)
    assert calls == [1]


def test_shares_count_labels_and_ranks():
    _, labels = uneven_batch()
    everywhere, here = LabelShares(("labels",), {"labels": -100}, 2)((Tensor(labels),))
    counts = np.array([(labels[:4] != -100).sum(), (labels[4:] != -100).sum()], np.float32)
    np.testing.assert_allclose(here.asnumpy(), counts / counts.sum(), rtol=1e-6)
    np.testing.assert_allclose(everywhere.asnumpy(), here.asnumpy(), rtol=1e-6)


def test_numbers_that_are_nan_do_not_count():
    numbers = Tensor(np.array([1.0, np.nan, np.nan, np.nan, 2.0, 3.0], np.float32))
    shares = LabelShares(("labels",), {"labels": float("nan")}, 2)
    assert shares.counts((numbers,)).asnumpy().tolist() == [1.0, 2.0]


def test_without_labels_every_portion_counts_alike():
    assert LabelShares(("inputs",), None, 4)((Tensor(np.ones((8, 2))),))[0].asnumpy().tolist() == [0.25] * 4


def test_less_than_one_portion_is_refused():
    with pytest.raises(UsageError, match="gradient_accumulation_steps is 0"):
        LabelShares(("labels",), None, 0)

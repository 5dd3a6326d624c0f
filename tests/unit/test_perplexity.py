"""Perplexity counts every token once, whatever the batches are."""

import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from mindformers.errors import DataError, UsageError
from mindformers.evaluate.perplexity import PerplexityMetric, RowLosses
from mindformers.models.gpt2 import GPT2Config, GPT2LMHeadModel
from tests.parity.tolerances import CELL


def test_every_token_weighs_the_same_and_fillers_nothing():
    metric = PerplexityMetric()
    metric.update(np.array([0, 1]), np.array([6.0, 1.0], np.float32), np.array([3.0, 1.0], np.float32))
    metric.update(Tensor([2, -1]), Tensor([4.0, 99.0]), Tensor([1.0, 50.0]))
    result = metric.eval()
    assert result == {"val_loss": 11 / 5, "perplexity": pytest.approx(math.exp(11 / 5)), "tokens": 5}
    metric.clear()
    with pytest.raises(DataError, match="no token of the evaluation data"):
        metric.eval()


def test_a_loss_without_bound_is_infinitely_perplexed():
    metric = PerplexityMetric()
    metric.update(np.array([0]), np.array([5000.0]), np.array([1.0]))
    assert metric.eval()["perplexity"] == math.inf


def test_inputs_that_are_not_one_number_a_row_are_refused():
    with pytest.raises(DataError, match="rows, sums of losses and numbers of tokens"):
        PerplexityMetric().update(np.array([0]), np.zeros((1, 4, 8)))


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE], ids=["graph", "pynative"])
def test_losses_of_rows_are_those_that_logits_and_labels_give(mode):
    ms.set_context(mode=mode)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=31, n_embd=16, n_layer=2, n_head=2, n_positions=8), seed=3)
    rows = np.random.default_rng(0).integers(0, 31, (3, 9)).astype(np.int32)
    labels = rows.copy()
    labels[1, 4:] = -100
    labels[2, :] = -100
    losses, counts = RowLosses(model)(Tensor(rows[:, :-1]), Tensor(labels))
    logits = model(Tensor(rows[:, :-1])).asnumpy().astype(np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    picked = -np.take_along_axis(log_probs, rows[:, 1:, None].astype(np.int64), 2)[:, :, 0]
    counted = labels[:, 1:] != -100
    np.testing.assert_allclose(losses.asnumpy(), (picked * counted).sum(1), atol=CELL, rtol=CELL)
    assert counts.asnumpy().tolist() == [8.0, 3.0, 0.0]
    apart = RowLosses(model)(Tensor(rows[:, :-1]), Tensor(labels), None, None, Tensor(np.full((3, 8), 7, np.int32)))
    np.testing.assert_allclose(apart[0].asnumpy(), losses.asnumpy(), atol=CELL, rtol=CELL)
    loss = model(Tensor(rows[:, :-1]), labels=Tensor(labels)).asnumpy()
    assert loss == pytest.approx(losses.asnumpy().sum() / 11, rel=CELL)


def test_a_model_without_row_losses_says_what_it_lacks():
    with pytest.raises(UsageError, match=r"Dense cannot be scored by perplexity: it has no method row_losses"):
        RowLosses(nn.Dense(2, 2))

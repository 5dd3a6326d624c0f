"""The loss of a vocabulary against float64: several parts of it, ignored rows, both types, a second backward pass."""

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import Tensor

from mindformers.kernels.loss import VocabularyLoss
from tests.kernels.reference import check, normal

IGNORED = -100


def formula(has_bias):
    def losses(x, table, bias, labels):
        logits = x @ table.T + (bias if has_bias else 0.0)
        return torch.nn.functional.cross_entropy(
            logits, torch.tensor(labels).long(), ignore_index=IGNORED, reduction="none"
        )

    return losses


@pytest.mark.parametrize("dtype", [ms.float32, ms.bfloat16], ids=str)
@pytest.mark.parametrize("table_type", [ms.float32, ms.bfloat16], ids=str)
@pytest.mark.parametrize("rows, size, words", [(1, 8, 5), (33, 24, 9001), (40, 130, 300)])
@pytest.mark.parametrize("has_bias", [True, False], ids=["bias", "no_bias"])
def test_losses_and_gradients_are_those_of_float64(dtype, table_type, rows, size, words, has_bias):
    labels = np.random.default_rng(0).integers(0, words, rows).astype(np.int32)
    labels[1::3] = IGNORED
    table = normal(words, size, scale=size**-0.5, dtype=table_type), normal(words, dtype=table_type)
    inputs = normal(rows, size), *table, Tensor(labels)
    check(VocabularyLoss(IGNORED, has_bias, dtype), formula(has_bias), inputs, dtype)


def test_a_second_backward_pass_gives_the_same():
    loss = VocabularyLoss(IGNORED, False)
    x, table, labels = normal(6, 16), normal(50, 16), Tensor(np.arange(6, dtype=np.int32))
    out, grad = loss(x, table, x, labels), (normal(6), normal(6))
    first, second = (loss.bprop(x, table, x, labels, out, grad) for _ in range(2))
    assert all((one.asnumpy() == other.asnumpy()).all() for one, other in zip(first[:2], second[:2]))


def test_a_label_outside_the_vocabulary_is_an_error():
    with pytest.raises(RuntimeError):
        VocabularyLoss(IGNORED, False)(normal(2, 4), normal(5, 4), normal(1), Tensor(np.array([1, 5], np.int32)))[
            0
        ].asnumpy()

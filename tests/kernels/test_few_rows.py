"""Products of few rows against float64: odd sizes, both types of weights, and rows that do not depend on each other."""

import mindspore as ms
import numpy as np
import pytest

from mindformers.kernels.feed_forward import FeedForward
from mindformers.kernels.library import NOTHING
from mindformers.kernels.linear import Linear, LinearTriple
from tests.kernels.reference import BOUNDS, NO_WORDS, normal, wide


@pytest.mark.parametrize("rows", [1, 3, 4, 7, 16, 17])
@pytest.mark.parametrize("weight_type", [ms.float32, ms.bfloat16, ms.int8], ids=str)
@pytest.mark.parametrize("in_size", [1, 15, 64, 131])
def test_rows_times_weights_are_those_of_float64(rows, weight_type, in_size):
    weights = tuple(normal(out, in_size, dtype=weight_type) for out in (1, 70, 33))
    bias_type = ms.float32 if weight_type == ms.int8 else weight_type
    biases = tuple(normal(weight.shape[0], dtype=bias_type) for weight in weights)
    x = normal(rows, in_size)
    found = wide(LinearTriple(True, ms.float32)(x, *weights, *biases))
    expected = wide(x) @ np.concatenate([wide(weight) for weight in weights]).T
    expected += np.concatenate([wide(bias) for bias in biases])
    assert np.abs(found - expected).max() < BOUNDS[ms.float32] * np.abs(expected).max()


def test_a_row_has_the_same_digits_among_any_number_of_rows():
    x, weight = normal(16, 200), normal(50, 200)
    product = Linear(False, ms.float32)
    whole = product(x, weight, NOTHING).asnumpy()
    for rows in (1, 2, 5, 11):
        assert (product(x[:rows], weight, NOTHING).asnumpy() == whole[:rows]).all()


def test_narrow_weights_of_a_feed_forward_are_read_as_they_lie():
    x, weights = normal(2, 3, 24), (normal(40, 24), normal(40, 24), normal(24, 40))
    narrow = [weight.astype(ms.bfloat16) for weight in weights]
    widened = [weight.astype(ms.float32) for weight in narrow]
    kernel = FeedForward("silu", True, False, 0.0, 0)
    found = [kernel(x, *given, *[NOTHING] * 3, NO_WORDS, NO_WORDS)[0] for given in (narrow, widened)]
    assert np.abs(wide(found[0]) - wide(found[1])).max() < BOUNDS[ms.float32] * np.abs(wide(found[1])).max()

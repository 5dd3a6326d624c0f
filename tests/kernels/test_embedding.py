"""Rows of a table and its gradient against float64, in both types of a table."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from mindformers.kernels import library
from mindformers.kernels.embedding import Embedding
from tests.kernels.reference import check, normal, wide


@pytest.mark.parametrize("dtype", [ms.float32, ms.bfloat16], ids=str)
@pytest.mark.parametrize("words, size, shape", [(1, 1, (1,)), (300, 33, (4, 70)), (64, 16, (2, 3, 5)), (65, 8, (0,))])
def test_rows_and_the_gradient_of_their_table_are_those_of_float64(dtype, words, size, shape):
    table = normal(words, size, dtype=dtype)
    ids = Tensor(np.random.default_rng(3).integers(0, words, shape).astype(np.int32))
    check(Embedding(size), lambda table, ids: table[ids], (table, ids), ms.float32)


def test_rows_of_int8_are_scaled():
    table, ids = normal(50, 33, dtype=ms.int8), Tensor(np.array([[4, 49], [0, 4]], np.int32))
    assert np.abs(Embedding(33)(table, ids).asnumpy() - wide(table)[ids.asnumpy()]).max() < 1e-6


def test_a_frozen_row_is_read_and_has_no_gradient():
    cell, table, ids = Embedding(3, frozen=2), normal(4, 3), Tensor(np.array([2, 1, 2], np.int32))
    assert (cell(table, ids).asnumpy() == table.asnumpy()[[2, 1, 2]]).all()
    gradient = cell.bprop(table, ids, None, normal(3, 3))[0].asnumpy()
    assert not gradient[[0, 2, 3]].any() and gradient[1].all()


def test_an_id_outside_the_table_is_named():
    with pytest.raises(RuntimeError):
        Embedding(4)(normal(10, 4), Tensor(np.array([3, 10], np.int32))).asnumpy()
    assert "id 10 is no row of a table of 10" in library.find().last_error()

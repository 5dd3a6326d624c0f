"""Masks of a placed model follow from the key of each row alone, so micro-batches and devices see the same ones."""

import mindspore as ms
import numpy as np
from mindspore import Tensor

from mindformers.arch.stacks import StackArch
from mindformers.nn.dropout import HIDDEN, SCORES, DropoutNoise, PlacedMask, shifted

SHAPE = (4, 2, 24, 40)


def mask(keys, kind=SCORES, site=1, shape=SHAPE):
    like = Tensor(np.zeros((len(keys), *shape[1:]), np.float32))
    return PlacedMask(0.25, kind, site)(Tensor(np.array(keys, np.int32)), like).asnumpy()


def keys_of(noise):
    return noise.row_keys(SHAPE[0]).asnumpy()


def test_a_row_keeps_its_mask_in_any_batch():
    keys = [12345677, -99, 2**31 - 1, 7]
    whole = mask(keys)
    assert np.array_equal(np.concatenate([mask(keys[:2]), mask(keys[2:])]), whole)
    assert abs(whole.mean() - 0.75) < 0.03


def test_rows_sites_and_kinds_have_masks_of_their_own():
    keys = [12345677, -99, 2**31 - 1, 7]
    whole = mask(keys)
    others = [whole[::-1], mask(keys, site=2), mask(keys, kind=HIDDEN)]
    shares = [float((whole == other).mean()) for other in others]
    assert all(abs(share - 0.625) < 0.05 for share in shares), shares  # 0.75^2 + 0.25^2


def test_every_step_has_keys_of_its_own_that_follow_from_seed_and_number():
    arch = StackArch(hidden_size=24, num_heads=4, num_layers=2, intermediate_size=48, vocab_size=8, max_positions=8)
    noise = DropoutNoise(arch, 2, seed=3)
    first, second = keys_of(noise), keys_of(noise)
    assert (first % 2 != 0).all() and len({*first, *second}) == 2 * SHAPE[0]
    assert noise.state.asnumpy().tolist() == [3, 2]
    noise.state.set_data(Tensor([3, 1], ms.int32))
    assert np.array_equal(keys_of(noise), second)
    moved = shifted(Tensor(first), 1).asnumpy()
    assert (moved % 2 != 0).all() and not set(moved) & set(first)

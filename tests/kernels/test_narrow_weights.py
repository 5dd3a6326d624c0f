"""Weights in bfloat16, which kernels read as they lie, against the same numbers in float32."""

import mindspore as ms
import numpy as np
import pytest

from mindformers import GPT2Config, GPT2LMHeadModel
from mindformers.kernels import library

SIZES = {"vocab_size": 97, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("narrow") / "weights"
    GPT2LMHeadModel(GPT2Config(**SIZES, param_init_type="bfloat16"), seed=3).save_pretrained(folder)
    return [GPT2LMHeadModel.from_pretrained(folder, dtype=dtype) for dtype in ("float32", "bfloat16")]


def test_tokens_that_are_written_have_the_same_probabilities(both):
    ids = np.random.default_rng(0).integers(0, 97, (2, 9)).astype(np.int32)
    options = {"max_new_tokens": 6, "do_sample": False, "detokenize": False, "return_output_log_probs": True}
    library.find().uses()
    wide, narrow = (model.generate(ids, **options) for model in both)
    assert library.find().uses()["layers"][0] > 0
    assert (wide[0] == narrow[0]).all()
    np.testing.assert_allclose(narrow[1], wide[1], atol=2e-5)


def test_weights_stay_narrow(both):
    assert {item.dtype for item in both[1].trainable_params()} == {ms.bfloat16}

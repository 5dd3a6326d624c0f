"""Models whose matrices are rows of int8, against the same numbers in float32."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from mindformers import AutoModelForCausalLM, BaichuanConfig, BaichuanForCausalLM, GPT2Config, GPT2LMHeadModel
from mindformers.errors import UsageError
from mindformers.kernels import library
from mindformers.nn.quantize import rows_of_int8
from tests.kernels.reference import normal, wide

GPT2 = GPT2LMHeadModel, GPT2Config(vocab_size=97, n_positions=32, n_embd=32, n_layer=2, n_head=2)
BAICHUAN2 = (
    BaichuanForCausalLM,
    BaichuanConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        normalized_head=True,
    ),
)
OPTIONS = {"max_new_tokens": 6, "do_sample": False, "detokenize": False, "return_output_log_probs": True}


@pytest.fixture(scope="module", params=[GPT2, BAICHUAN2], ids=["tied", "head_of_units"])
def folder(request, tmp_path_factory):
    kind, config = request.param
    place = tmp_path_factory.mktemp("eight") / "weights"
    kind(config, seed=3).save_pretrained(place)
    return place


def test_a_row_is_its_bytes_times_its_scale():
    matrix = normal(40, 33)
    matrix[7] = 0.0
    rows = rows_of_int8(matrix.asnumpy())
    assert rows.shape == (40, 37) and rows.dtype == np.int8
    assert np.abs(rows[:, :33].astype(int)).max() == 127
    largest = np.abs(matrix.asnumpy()).max(1, keepdims=True)
    assert (np.abs(wide(Tensor(rows)) - wide(matrix)) <= largest / 254 * (1 + 1e-5)).all()


def test_tokens_have_the_probabilities_of_the_numbers_that_the_rows_stand_for(folder):
    eight = AutoModelForCausalLM.from_pretrained(folder, dtype="int8")
    same = AutoModelForCausalLM.from_pretrained(folder)
    same.head.normalizes = eight.head.normalizes  # rows of length 1 were rounded, which they need not have afterwards
    rounded = {item.name: item for item in eight.get_parameters()}
    assert sum(item.dtype == ms.int8 for item in rounded.values()) > 8
    for item in same.get_parameters():
        item.set_data(Tensor(wide(rounded[item.name]).astype(np.float32)) if item.name in rounded else item)
    ids = np.random.default_rng(0).integers(0, 97, (2, 9)).astype(np.int32)
    library.find().uses()
    found, expected = (model.generate(ids, **OPTIONS) for model in (eight, same))
    assert library.find().uses()["layers"][0] > 0
    assert (found[0] == expected[0]).all()
    np.testing.assert_allclose(found[1], expected[1], atol=2e-5)


def test_nothing_is_trained_and_nothing_is_saved(folder, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="int8")
    assert not model.trainable_params()
    with pytest.raises(UsageError, match="rounded to int8"):
        model.save_pretrained(tmp_path / "copy")


def test_without_kernels_it_is_refused(folder, monkeypatch):
    monkeypatch.setattr(library, "find", lambda: None)
    with pytest.raises(UsageError, match="weights of int8 are read by the kernels of the CPU alone"):
        AutoModelForCausalLM.from_pretrained(folder, dtype="int8")
